"""Who takes part in the speed benchmark: each gives one training step, and some a whole job."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import cycle
from pathlib import Path
from unittest.mock import patch

import torch
import torch.nn.functional as F
from datasets import Dataset
from peers import Era, TextBrewer
from whole_maps import whole_maps
from workload import LEARNING_RATE, MODEL_INPUTS, PARTS, Setting, collate, stages

from innerdistill.losses.loss import Loss
from innerdistill.losses.registry import LOSSES
from innerdistill.models import clean_attention as attention_module
from innerdistill.models.capture import capture, capture_then
from innerdistill.models.dropout import Dropout
from innerdistill.models.probe import probe
from innerdistill.training import targets as targets_module
from innerdistill.training import trainer as trainer_module
from innerdistill.training.arguments import make_training_arguments
from innerdistill.training.run_stages import distill_models
from innerdistill.training.setup import TrainingSetup
from innerdistill.training.stage import Stage, StageRecord
from innerdistill.training.targets import Targets, choose_parts, fill_store, make_target_store
from innerdistill.training.trainer import DistillationTrainer


def ideal(setting: Setting) -> Callable[[], None]:
    """The reference: a teacher forward and a step of plain fine-tuning, both SDPA, on our batches."""
    return _plain(setting, with_teacher=True)


def ideal_with_our_attention(setting: Setting) -> Callable[[], None]:
    """The same with our attention, for a model whose own is eager."""
    return _plain(setting, with_teacher=True, stock=None)


def fine_tuning(setting: Setting) -> Callable[[], None]:
    """A step of plain fine-tuning alone."""
    return _plain(setting, with_teacher=False)


def _plain(setting: Setting, *, with_teacher: bool, stock: str | None = "sdpa") -> Callable[[], None]:
    teacher, student = setting.models(stock)
    student.train()
    optimizer = torch.optim.AdamW(student.parameters(), lr=LEARNING_RATE, fused=True)
    source = cycle(setting.batches(padded=False))

    def step() -> None:
        batch = next(source)
        inputs = {name: batch[name] for name in MODEL_INPUTS}
        if with_teacher:
            with torch.no_grad():
                teacher(**inputs)
        F.cross_entropy(student(**inputs).logits, batch["labels"]).backward()
        torch.nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    return step


class Ours:
    """innerdistill's own trainer, with single techniques switched off."""

    def __init__(
        self,
        setting: Setting,
        *,
        cached: bool = False,
        bf16: bool = False,
        maps: bool = False,
        all_tokens: bool = False,
        all_words: bool = False,
        torch_dropout: bool = False,
    ) -> None:
        """Make the models.

        Args:
            setting: of the benchmark.
            cached: read the teacher outputs from disk.
            bf16: student, and teacher where it runs, in 16 bits.
            maps: compute the attention loss from whole maps.
            all_tokens: compute the highest layer for all tokens.
            all_words: the optimiser holds all words, as torch's own does.
            torch_dropout: dropout is torch's own, in SDPA too.
        """
        self.setting, self.cached, self.bf16 = setting, cached, bf16
        self.all_tokens, self.all_words, self.torch_dropout = all_tokens, all_words, torch_dropout
        self.losses = (
            {**LOSSES, "attention_kl": Loss(whole_maps, needs=("attention", "token_mask"))} if maps else LOSSES
        )
        self.teacher, self.student = setting.models(None)
        self.files = tempfile.TemporaryDirectory()  # gone with this object
        self.folder = Path(self.files.name)
        self.options = {
            "per_device_train_batch_size": setting.workload.batch_size,
            "learning_rate": LEARNING_RATE,
            "bf16": bf16,
            "use_cpu": setting.device.type == "cpu",
        }

    def targets(self) -> Targets:
        """The teacher outputs. Cached ones are computed here, which is part of a job."""
        store = None
        if self.cached:
            store = make_target_store(self.teacher, self.setting.data, probe(self.teacher), folder=self.folder)
            parts = choose_parts(store, stages(self.setting.pairs), losses=LOSSES, cache_all=True, max_bytes=0)
            fill_store(self.teacher, store, parts, self.setting.data, collate())
        return Targets(self.teacher, store=store, bfloat16=self.bf16)

    def setup(self, train: Dataset) -> TrainingSetup:
        """Data, losses and options of the training."""
        return TrainingSetup(train=train, collate=collate(), trainer=self.options, losses=self.losses)

    @contextmanager
    def switched(self) -> Iterator[None]:
        """With the techniques that are off."""
        with ExitStack() as context:
            for module, function in (
                ((trainer_module, capture_then), (targets_module, capture)) if self.all_tokens else ()
            ):
                context.enter_context(patch.object(module, function.__name__, partial(function, all_tokens=True)))
            if self.all_words:
                context.enter_context(patch.object(trainer_module, "hold_embedding_rows", lambda *_: None))
            if self.torch_dropout:
                context.enter_context(patch.object(Dropout, "forward", torch.nn.Dropout.forward))
                context.enter_context(patch.object(attention_module, "_maps_are_faster", lambda *_, **__: False))
            yield

    def steps(self, pairs: dict[int, int] | None = None) -> Callable[[], None]:
        """Steps of the stage with all layers, or of another one."""
        stage = Stage("step", self.setting.all_layers.losses, pairs or self.setting.pairs, epochs=1)
        arguments = make_training_arguments(self.folder, stage, self.options, seed=1, evaluate=False)
        trainer = DistillationTrainer(
            self.student, arguments, setup=self.setup(self.setting.data), record=StageRecord(stage),
            teacher=self.targets(),
        )  # fmt: skip
        trainer.current_gradient_accumulation_steps = 1
        trainer.state.max_steps = PARTS
        with self.switched():
            model, optimizer = trainer.accelerator.prepare(self.student, trainer.create_optimizer())
        source = cycle(self.setting.batches(padded=False))
        count = torch.tensor(self.setting.workload.batch_size)

        def step() -> None:
            with self.switched():
                trainer.training_step(model, next(source), count)
            trainer._clip_grad_norm(model)
            optimizer.step()
            optimizer.zero_grad()

        return step

    def job(self) -> None:
        """The whole SID job, the store included."""
        with self.switched():
            setup = self.setup(self.setting.data.remove_columns("index"))
            distill_models(
                self.targets(), self.student, stages=stages(self.setting.pairs), setup=setup, folder=self.folder
            )


STEPS: dict[str, Callable[[Setting], Callable[[], None]]] = {
    "ideal": ideal,
    "ideal, our attention": ideal_with_our_attention,
    "fine-tuning alone": fine_tuning,
    "loop of the paper's time, padded": lambda setting: Era(setting).steps(),
    "the same loop, grouped batches": lambda setting: Era(setting, padded=False).steps(),
    "TextBrewer, padded": lambda setting: TextBrewer(setting).steps(),
    "TextBrewer, grouped batches": lambda setting: TextBrewer(setting, padded=False).steps(),
    "ours, maps, all tokens": lambda setting: Ours(setting, maps=True, all_tokens=True).steps(),
    "ours, all tokens": lambda setting: Ours(setting, all_tokens=True).steps(),
    "ours, live": lambda setting: Ours(setting).steps(),
    "ours, live, bf16": lambda setting: Ours(setting, bf16=True).steps(),
    "ours, cached": lambda setting: Ours(setting, cached=True).steps(),
    "ours, cached, all words": lambda setting: Ours(setting, cached=True, all_words=True).steps(),
    "ours, cached, torch's dropout": lambda setting: Ours(setting, cached=True, torch_dropout=True).steps(),
    "ours, cached, bf16": lambda setting: Ours(setting, cached=True, bf16=True).steps(),
    "ours, cached, bf16, torch's dropout": lambda setting: Ours(
        setting, cached=True, bf16=True, torch_dropout=True
    ).steps(),
    "ours, cached, first stage": lambda setting: Ours(setting, cached=True).steps({1: setting.pairs[1]}),
    "ours, first stage, all words": lambda setting: Ours(setting, cached=True, all_words=True).steps(
        {1: setting.pairs[1]}
    ),
}
JOBS: dict[str, Callable[[Setting], Callable[[], None]]] = {
    "loop of the paper's time, padded": lambda setting: Era(setting).job,
    "TextBrewer, padded": lambda setting: TextBrewer(setting).job,
    "TextBrewer, grouped batches": lambda setting: TextBrewer(setting, padded=False).job,
    "ours, live": lambda setting: Ours(setting).job,
    "ours, cached": lambda setting: Ours(setting, cached=True).job,
    "ours, cached, bf16": lambda setting: Ours(setting, cached=True, bf16=True).job,
}
