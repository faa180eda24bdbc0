"""DistillationTrainer: one stage of a schedule on transformers' Trainer."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from torch import Tensor, nn
from transformers import PreTrainedModel, Trainer, TrainerCallback, TrainerControl, TrainingArguments

from innerdistill.data.arrow import read_numbers
from innerdistill.data.batches import INPUT_NAMES, LengthGroupedSampler, split_off_index
from innerdistill.losses.loss import LossInputs, collect_needs, measure
from innerdistill.models.capture import Internals, capture_then, train_first_layers
from innerdistill.support.files import explain_full_disk
from innerdistill.support.processes import is_first_process
from innerdistill.training.callbacks import EpochEnd, Saver
from innerdistill.training.checkpoints import write_broken_step
from innerdistill.training.embedding_rows import EmbeddingRows, hold_embedding_rows
from innerdistill.training.loss_sums import BrokenLossError, LossSums
from innerdistill.training.setup import TrainingSetup
from innerdistill.training.stage import StageRecord
from innerdistill.training.targets import Targets

FEWEST_STEPS = 30  # of a stage of one epoch whose loss is looked at: in fewer it goes up and down

logger = logging.getLogger(__name__)


class DistillationTrainer(Trainer):
    """Trains a student on the losses of one stage.

    Only the layers that the stage's losses can reach are trained; with no output loss, only they are run.
    """

    # Each micro-batch is divided by the examples of the whole step, so accumulation must not divide again.
    loss_is_scaled_for_ga = True
    control: TrainerControl

    def __init__(
        self,
        student: PreTrainedModel,
        args: TrainingArguments,
        *,
        setup: TrainingSetup,
        record: StageRecord,
        teacher: Targets | PreTrainedModel | None = None,
        first_step: int = 0,
        saver: Saver | None = None,
        callbacks: Iterable[TrainerCallback] = (),
    ) -> None:
        """Set up one stage.

        Args:
            student: model prepared by `prepare`; trained in place.
            args: arguments of the Trainer; the length in epochs or steps is the stage's.
            setup: data, losses and options. If teacher outputs are cached, `train` also has the column `index`: the
                position of each example in the cache.
            record: record of the stage; gets what happens.
            teacher: teacher outputs, or the prepared model itself; None if no loss of the stage reads the teacher.
            first_step: optimiser steps that the run took before this stage; they decide the order of the examples.
            saver: callback that writes checkpoints; None leaves that to `args`.
            callbacks: further callbacks of transformers.

        Raises:
            ValueError: a loss needs a teacher and there is none.
        """
        self.setup, self.record, self.stage = setup, record, (stage := record.stage)
        self.losses = {name: setup.losses[name] for name in stage.losses}
        self.pairs, self.needs = dict(stage.pairs), collect_needs(stage.losses, stage.pairs, setup.losses)
        self.targets = Targets(teacher) if isinstance(teacher, PreTrainedModel) else teacher
        if self.targets is None and self.needs.teacher:
            raise ValueError(f"stage {stage.name!r} needs a teacher.")
        self.first_step, self.saver, self.sums = first_step, saver, LossSums(stage.name)
        train_first_layers(student, None if self.needs.student_logits else max(self.pairs))
        super().__init__(
            model=student,
            args=args,
            train_dataset=setup.train,
            eval_dataset=setup.selection,
            data_collator=split_off_index(setup.collate),  # reading them back from a GPU would wait for it
            callbacks=[*callbacks, EpochEnd(self.end_epoch), *([] if saver is None else [saver])],
        )
        if self.targets is not None:
            self.targets.teacher.to(args.device)
        self.embedding_rows: EmbeddingRows | None = None

    def train(self, resume_from_checkpoint: str | bool | None = None, **kwargs: Any) -> Any:
        """Run the stage; `record` then says what happened.

        Args:
            resume_from_checkpoint: one of this stage; `record` says what happened until then.
            **kwargs: as Trainer.train.

        Returns:
            As Trainer.train.

        Raises:
            ValueError: a loss became NaN or infinite; names stage and step, and a file with the step's examples.
        """
        self._began = time.perf_counter() - self.record.seconds, time.process_time() - self.record.cpu_seconds
        try:
            if isinstance(resume_from_checkpoint, str):
                self.sums.load(Path(resume_from_checkpoint), self.args.device)
                if not is_first_process():  # whose are those of all
                    self.sums.clear()
            result = super().train(resume_from_checkpoint, **kwargs)
            if not self._weights().isfinite().all():  # the last update's, whose loss nobody computes any more
                what = "the student's weights are no longer finite numbers"
                raise BrokenLossError(self.stage.name, self.state.global_step, what=what)
        except BrokenLossError as broken:
            rows = self.train_dataset[self._get_train_sampler().rows_of(broken.step)]
            path = write_broken_step(Path(self.args.output_dir), broken.step, rows)
            raise ValueError(f"{broken} The examples of that step are in {path}.") from None
        finally:
            train_first_layers(self.model, None)
            if self.embedding_rows is not None:
                self.embedding_rows.release()
            # 16-bit training wraps the model's forward; the next stage and evaluation want the model as it was.
            self.accelerator.unwrap_model(self.model, keep_fp32_wrapper=False)
            self.model.__dict__.pop("_is_accelerate_prepared", None)  # or the next stage would not be wrapped again
        self._count()
        if (sentence := self.record.find_warning()) is not None:
            logger.warning("%s", sentence)
        self.record.ended = self.record.ended or ("steps done" if self.stage.steps else "epochs done")
        return result

    def create_optimizer(self, model: Any = None) -> Any:
        """Make the optimiser; of the word embeddings it holds the words that occur.

        Args:
            model: as in Trainer.

        Returns:
            The optimiser.
        """
        optimizer = super().create_optimizer(model)
        if self.embedding_rows is None and self.args.world_size == 1:  # processes exchange whole gradients
            self.embedding_rows = hold_embedding_rows(self.model, optimizer, self.train_dataset, self.data_collator)
        return optimizer

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """Weighted sum of the stage's losses, averaged over the examples of the whole optimiser step.

        Args:
            model: the student, perhaps wrapped for distributed training.
            inputs: a padded batch (B, L), and the positions of its examples in the store as a NumPy array.
            return_outputs: as in Trainer.
            num_items_in_batch: examples in the step, over accumulation and processes; None means this batch.

        Returns:
            The loss, or (loss, every loss by name (B,)).
        """
        model_inputs = {name: inputs[name] for name in INPUT_NAMES if name in inputs}
        setup = self.setup
        shared = LossInputs(inputs["attention_mask"].bool(), inputs["labels"], setup.temperature)

        needs = self.needs

        def losses(student: Internals) -> dict[str, Tensor]:
            teacher = Internals() if self.targets is None else self.targets(model_inputs, inputs.get("index"), needs)
            return measure(self.losses, self.pairs, teacher, student, shared)

        parts = capture_then(model, model_inputs, losses, layers=needs.student_layers, logits=needs.student_logits)
        total = sum(self.stage.losses[name.partition("/")[0]] * part for name, part in parts.items())
        assert isinstance(total, Tensor)
        self.sums.add({**parts, "loss": total}, step=self.state.global_step + 1, steps=self.state.max_steps)
        # The mean over the global step: DDP averages gradients over processes, hence the factor.
        count = len(total) if num_items_in_batch is None else num_items_in_batch
        loss = total.sum() * (1 if num_items_in_batch is None else self.args.world_size) / count
        return (loss, parts) if return_outputs else loss

    def get_batch_samples(self, epoch_iterator: Any, num_batches: int, device: Any) -> tuple[list[Any], Tensor]:
        """Micro-batches of one optimiser step, and the number of examples in it over all processes.

        Args:
            epoch_iterator: of the data loader.
            num_batches: accumulation steps.
            device: where the number is put.

        Returns:
            The micro-batches and the number of examples.
        """
        batches, _ = super().get_batch_samples(epoch_iterator, num_batches, device)
        count = torch.tensor(sum(len(batch["input_ids"]) for batch in batches), device=device)
        return batches, self.accelerator.gather(count).sum()

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """Scores on the selection split; they also go into the record of the epoch.

        Returns:
            Scores by name, each with the prefix `eval_`.
        """
        assert self.setup.score is not None and self.eval_dataset is not None
        scores = dict(self.setup.score(self.model, self.eval_dataset))
        if self.record.epochs:
            self.record.epochs[-1]["scores"] = scores
        self.log(metrics := {f"eval_{name}": value for name, value in scores.items()})
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log, and stop if a loss is no number any more.

        Args:
            logs: values by name.
            start_time: as in Trainer.

        Raises:
            ValueError: a loss became NaN or infinite; names the stage and the step.
        """
        self.sums.check()
        super().log(logs, start_time)

    def _init_training_state(self, max_steps: int, steps_per_epoch: int, epochs: int, *args: Any) -> tuple[int, int]:
        trained = super()._init_training_state(max_steps, steps_per_epoch, epochs, *args)
        self._before = self._weights()  # those of a checkpoint are there by now
        best = Path(self.args.output_dir, f"checkpoint-{self.state.best_global_step}")
        if best.is_dir():  # the run's folder may have been moved
            self.state.best_model_checkpoint = str(best)
        # After the last step inside a pass nothing is left; the Trainer's loop would take one more.
        return (epochs, 0) if self.state.global_step >= max_steps else trained

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        self.sums.check()  # nobody could go on from there
        folder = Path(self.args.output_dir)
        with explain_full_disk(folder):
            super()._save_checkpoint(model, trial)
        if self.saver is not None:
            self._count()
            sums = self.sums.together(self.sum_over_processes)
            self.saver.seal(folder / f"checkpoint-{self.state.global_step}", self.record, sums)

    def end_epoch(self, state: Any, control: Any) -> None:
        """Write the epoch into the record, and end the stage if it is below its threshold.

        Args:
            state: TrainerState of transformers.
            control: TrainerControl of transformers; told to stop below the threshold.
        """
        if self.embedding_rows is not None:
            self.embedding_rows.settle()
        losses = self.sums.means(self.sum_over_processes)
        if state.max_steps >= FEWEST_STEPS:
            self.record.thirds = self.sums.thirds
        self.record.epochs.append({"epoch": state.epoch, "steps": state.global_step, "losses": losses})
        self.log({f"epoch/{name}": value for name, value in losses.items()})
        threshold = self.stage.threshold
        is_full_epoch = abs(state.epoch - round(state.epoch)) < 1e-6
        if threshold is not None and is_full_epoch:
            cosine = losses[f"cls_cosine/{max(self.pairs)}"]
            if cosine < threshold:
                self.record.ended = f"threshold: cosine {cosine:.4f} below {threshold:g}"
                control.should_training_stop = True

    def sum_over_processes(self, value: Tensor) -> Tensor:
        """The sum of a value over all processes.

        Args:
            value: of this process.

        Returns:
            The sum.
        """
        return torch.as_tensor(self.accelerator.reduce(value, "sum"))

    def _clip_grad_norm(self, model: nn.Module, most: float | None = None) -> Tensor:
        most = self.args.max_grad_norm if most is None else most
        if self.embedding_rows is None:
            return self.accelerator.clip_grad_norm_(model.parameters(), most)
        return self.embedding_rows.clip(model.parameters(), most, self.accelerator)

    def _get_grad_norm(self, model: nn.Module, grad_norm: Any = None) -> Any:
        return super()._get_grad_norm(
            model, self._clip_grad_norm(model, float("inf")) if grad_norm is None else grad_norm
        )

    def _weights(self) -> Tensor:
        """A number for every tensor, to see whether it changes."""
        return torch.stack([part.detach().float().sum() for part in self.model.parameters()])

    def _count(self) -> None:
        """Bring the record up to date."""
        self.record.learned |= not torch.equal(self._before, self._weights())
        self.record.seconds = time.perf_counter() - self._began[0]
        self.record.cpu_seconds = time.process_time() - self._began[1]
        self.record.steps = self.state.global_step

    def _get_train_sampler(self, train_dataset: Dataset | None = None) -> LengthGroupedSampler:
        return LengthGroupedSampler(
            read_numbers(train_dataset or self.train_dataset, "length"),
            batch_size=self.args.train_batch_size * self.args.gradient_accumulation_steps * self.args.world_size,
            seed=self.setup.seed,
            first_step=self.first_step,
            group=self.setup.group_by_length,
        )
