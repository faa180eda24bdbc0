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
from workload import LEARNING_RATE, Workload, batches, collate, models, stages

from innerdistill.distillation import targets as targets_module
from innerdistill.distillation import trainer as trainer_module
from innerdistill.distillation.arguments import training_arguments
from innerdistill.distillation.losses import LOSSES, Loss, attention_kl
from innerdistill.distillation.schedules import Stage
from innerdistill.distillation.stages import distill_models
from innerdistill.distillation.targets import Targets, choose_parts, keep_targets, make_store
from innerdistill.distillation.trainer import DistillationTrainer
from innerdistill.models.internals import capture, probe
from innerdistill.models.layer_map import uniform_layers

MODEL_INPUTS = ("input_ids", "attention_mask")


class Setting:
    """One workload on one device with one pair of models' sizes."""

    def __init__(self, workload: Workload, *, model: str, dropout: bool, device: str) -> None:
        """Make the examples; models are made by each contestant for itself."""
        self.workload, self.model, self.dropout, self.device = workload, model, dropout, torch.device(device)
        teacher, student = self.models("sdpa")
        self.data = workload.examples(teacher.config.vocab_size)
        depth = student.config.num_hidden_layers
        self.pairs = dict(enumerate(uniform_layers(depth, teacher.config.num_hidden_layers), start=1))
        self.all_layers = Stage("all layers", stages(self.pairs)[-2].losses, self.pairs, epochs=1, is_internal=True)

    def models(self, stock: str | None):
        """Teacher and student on the device."""
        made = models(self.model, positions=self.workload.padded_to, dropout=self.dropout, stock=stock)
        return tuple(model.to(self.device) for model in made)

    def batches(self, *, padded: bool, epoch: int = 0) -> list[dict]:
        """An epoch of batches on the device: shuffled and padded to a fixed length, or grouped by length."""
        pad_to = self.workload.padded_to if padded else None
        found = batches(self.workload, self.data, pad_to=pad_to, grouped=not padded, epoch=epoch)
        return [{name: value.to(self.device) for name, value in batch.items()} for batch in found]


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


def era_loss(teacher_output, student_output, pairs: dict[int, int], mask: torch.Tensor) -> torch.Tensor:
    """KL of the attention maps that the models hand out, and cosine of [CLS], as one would have written them then."""
    total, rows = 0.0, mask[:, None, :, None]
    for k, m in pairs.items():
        ours, theirs = student_output.attentions[k - 1], teacher_output.attentions[m - 1]
        kl = theirs * ((theirs + 1e-8).log() - (ours + 1e-8).log())
        total += (kl * rows).sum() / (rows.sum() * ours.shape[1])
        cls = (output.hidden_states[i][:, 0] for output, i in ((student_output, k), (teacher_output, m)))
        total += 1 - F.cosine_similarity(*cls, dim=-1).mean()
    return total


class Era:
    """A plain loop as the paper's time wrote it: padded, eager attention, teacher and all layers in every step."""

    def __init__(self, setting: Setting, *, padded: bool = True) -> None:
        """Make the models."""
        self.setting, self.padded = setting, padded
        self.teacher, self.student = setting.models("eager")
        self.student.train()
        self.optimizer = torch.optim.AdamW(self.student.parameters(), lr=LEARNING_RATE, foreach=False)

    def __call__(self, batch: dict, stage: Stage) -> None:
        """One step."""
        inputs = {name: batch[name] for name in MODEL_INPUTS} | {
            "output_attentions": True,
            "output_hidden_states": True,
        }
        with torch.no_grad():
            theirs = self.teacher(**inputs)
        ours = self.student(**inputs)
        if stage.pairs:
            loss = era_loss(theirs, ours, dict(stage.pairs), batch["attention_mask"])
        else:
            loss = F.kl_div(ours.logits.log_softmax(-1), theirs.logits.softmax(-1), reduction="batchmean")
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.student.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        loss.item()

    def steps(self) -> Callable[[], None]:
        """Steps of the stage with all layers."""
        source = cycle(self.setting.batches(padded=self.padded))
        return lambda: self(next(source), self.setting.all_layers)

    def job(self) -> None:
        """The whole SID job."""
        epoch = 0
        for stage in stages(self.setting.pairs):
            for _ in range(int(stage.epochs)):
                for batch in self.setting.batches(padded=self.padded, epoch=epoch):
                    self(batch, stage)
                epoch += 1


class TextBrewer:
    """TextBrewer's GeneralDistiller. Its losses differ: MSE of attention and cosine of all tokens' hidden states."""

    def __init__(self, setting: Setting, *, padded: bool = True) -> None:
        """Make the models."""
        self.setting, self.padded = setting, padded
        self.teacher, self.student = setting.models("eager")
        self.folder = tempfile.mkdtemp()

    def distiller(self, stage: Stage):
        """A distiller for one stage; its matches name the hidden states, of which number 0 are the embeddings."""
        from textbrewer import DistillationConfig, GeneralDistiller, TrainingConfig  # noqa: PLC0415

        def adaptor(batch: dict, output) -> dict:
            found = {"hidden": output.hidden_states, "attention": output.attentions}
            found["inputs_mask"] = batch["attention_mask"]
            return found if stage.pairs else found | {"logits": output.logits}

        matches = []
        for k, m in stage.pairs.items():
            matches.append(
                {"layer_T": m - 1, "layer_S": k - 1, "feature": "attention", "loss": "attention_mse", "weight": 1}
            )
            matches.append({"layer_T": m, "layer_S": k, "feature": "hidden", "loss": "cos", "weight": 1})
        training = TrainingConfig(
            device=self.setting.device, output_dir=self.folder, log_dir=self.folder, ckpt_frequency=1
        )
        return GeneralDistiller(
            training, DistillationConfig(temperature=1, intermediate_matches=matches, hard_label_weight=0),
            self.teacher, self.student, adaptor, adaptor,
        )  # fmt: skip

    def run(self, distiller, data, epochs: int) -> None:
        """Its own training loop."""
        optimizer = torch.optim.AdamW(self.student.parameters(), lr=LEARNING_RATE)
        with distiller:
            distiller.train(
                optimizer, data, num_epochs=epochs, max_grad_norm=1.0, output_attentions=True, output_hidden_states=True
            )

    def steps(self) -> Callable[[], None]:
        """Steps of the stage with all layers, inside its loop over one batch."""
        distiller = self.distiller(self.setting.all_layers)
        source = cycle(self.setting.batches(padded=self.padded))
        optimizer = torch.optim.AdamW(self.student.parameters(), lr=LEARNING_RATE)
        self.student.train()
        options = {"output_attentions": True, "output_hidden_states": True}

        def step() -> None:
            batch = {name: value for name, value in next(source).items() if name in MODEL_INPUTS}
            loss, _ = distiller.train_on_batch(batch, options)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.student.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()

        return step

    def job(self) -> None:
        """The whole SID job, one distiller per stage."""
        for stage in stages(self.setting.pairs):
            found = self.setting.batches(padded=self.padded)
            data = [{name: batch[name] for name in MODEL_INPUTS} for batch in found]
            self.run(self.distiller(stage), data, int(stage.epochs))


def _maps(teacher, student, inputs) -> torch.Tensor:
    return attention_kl(teacher.attention.log_probabilities(), student.attention.log_probabilities(), inputs.token_mask)


class Ours:
    """innerdistill's own trainer, with single techniques switched off."""

    def __init__(
        self, setting: Setting, *, kept: bool = False, bf16: bool = False, maps: bool = False, all_tokens: bool = False
    ) -> None:
        """Make the models.

        Args:
            setting: of the benchmark.
            kept: read the teacher's targets from disk.
            bf16: student, and teacher where it runs, in 16 bits.
            maps: compute the attention loss from whole maps.
            all_tokens: compute the highest layer for all tokens.
        """
        self.setting, self.kept, self.bf16, self.all_tokens = setting, kept, bf16, all_tokens
        self.losses = {**LOSSES, "attention_kl": Loss(_maps, needs=("attention",))} if maps else LOSSES
        self.teacher, self.student = setting.models(None)
        self.folder = Path(tempfile.mkdtemp())
        self.options = {
            "per_device_train_batch_size": setting.workload.batch_size,
            "learning_rate": LEARNING_RATE,
            "bf16": bf16,
            "use_cpu": setting.device.type == "cpu",
        }

    def targets(self) -> Targets:
        """Of the teacher; kept ones are computed here, which is part of a job."""
        store = None
        if self.kept:
            store = make_store(self.teacher, self.setting.data, probe(self.teacher), folder=self.folder)
            parts = choose_parts(store, stages(self.setting.pairs), LOSSES, keep_all=True, max_bytes=0)
            keep_targets(self.teacher, store, parts, self.setting.data, collate())
        return Targets(self.teacher, store=store, bfloat16=self.bf16)

    @contextmanager
    def switched(self) -> Iterator[None]:
        """With the techniques that are off."""
        with ExitStack() as context:
            for module in (trainer_module, targets_module) if self.all_tokens else ():
                context.enter_context(patch.object(module, "capture", partial(capture, all_tokens=True)))
            yield

    def steps(self, pairs: dict[int, int] | None = None) -> Callable[[], None]:
        """Steps of the stage with all layers, or of another one."""
        stage = Stage("step", self.setting.all_layers.losses, pairs or self.setting.pairs, epochs=1)
        arguments = training_arguments(self.folder, stage, self.options, seed=1, evaluate=False)
        trainer = DistillationTrainer(
            self.student, arguments, stage=stage, train=self.setting.data, data_collator=collate(),
            teacher=self.targets(), losses=self.losses,
        )  # fmt: skip
        trainer.current_gradient_accumulation_steps = 1
        model, optimizer = trainer.accelerator.prepare(self.student, trainer.create_optimizer())
        source = cycle(self.setting.batches(padded=False))
        count = torch.tensor(self.setting.workload.batch_size)

        def step() -> None:
            with self.switched():
                trainer.training_step(model, next(source), count)
            trainer.accelerator.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()

        return step

    def job(self) -> None:
        """The whole SID job, the store included."""
        with self.switched():
            data = self.setting.data.remove_columns("index")
            distill_models(
                self.targets(), self.student, stages=stages(self.setting.pairs), train=data, collate=collate(),
                folder=self.folder, trainer=self.options, losses=self.losses,
            )  # fmt: skip


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
    "ours, kept": lambda setting: Ours(setting, kept=True).steps(),
    "ours, kept, bf16": lambda setting: Ours(setting, kept=True, bf16=True).steps(),
    "ours, kept, first stage": lambda setting: Ours(setting, kept=True).steps({1: setting.pairs[1]}),
}
JOBS: dict[str, Callable[[Setting], Callable[[], None]]] = {
    "loop of the paper's time, padded": lambda setting: Era(setting).job,
    "TextBrewer, padded": lambda setting: TextBrewer(setting).job,
    "TextBrewer, grouped batches": lambda setting: TextBrewer(setting, padded=False).job,
    "ours, live": lambda setting: Ours(setting).job,
    "ours, kept": lambda setting: Ours(setting, kept=True).job,
    "ours, kept, bf16": lambda setting: Ours(setting, kept=True, bf16=True).job,
}
