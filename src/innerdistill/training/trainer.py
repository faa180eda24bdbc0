"""DistillationTrainer: transformers' Trainer with the losses of one stage of a schedule."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from torch import Tensor, nn
from transformers import PreTrainedModel, Trainer, TrainerCallback, TrainerControl, TrainingArguments

from innerdistill.data.arrow import read_numbers
from innerdistill.data.batches import LengthGroupedSampler, split_off_index
from innerdistill.data.windows import EXAMPLE, QUERY
from innerdistill.losses.loss import LossInputs, collect_needs, measure
from innerdistill.models.capture import INPUT_NAMES, Internals, capture_then, train_first_layers
from innerdistill.support.files import explain_full_disk
from innerdistill.support.processes import is_first_process
from innerdistill.support.user_code import HOW_TO_RESUME, UserCodeError
from innerdistill.training.callbacks import EpochEnd, Saver
from innerdistill.training.checkpoints import WEIGHTS, write_broken_step, write_weights
from innerdistill.training.embedding_rows import EmbeddingRows, hold_embedding_rows
from innerdistill.training.loss_sums import BrokenLossError, LossSums
from innerdistill.training.recompute import keep_highest_layer, stop_recomputing
from innerdistill.training.setup import TrainingSetup
from innerdistill.training.stage import StageRecord
from innerdistill.training.targets import Targets
from innerdistill.training.user_callbacks import UserCallbacks, select_callbacks

FEWEST_STEPS = 30  # steps of a stage from which thirds of its loss are compared; in fewer the loss is too noisy


class DistillationTrainer(Trainer):
    """Trains a student on the losses of one stage.

    Only the layers that the losses reach are trained. Without a loss on the logits, the layers above are not run.
    """

    # `compute_loss` divides by the examples of the whole step, so the Trainer must not divide by micro-batches again.
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
            args: arguments of the Trainer, with the length of the stage.
            setup: data, losses, options and callbacks. If teacher outputs are cached, `train` also has the column
                `index`: the position of each example in the cache.
            record: record of the stage; filled while the stage runs.
            teacher: teacher outputs, or the prepared model itself; None if no loss of the stage reads the teacher.
            first_step: optimiser steps that the run took before this stage; they determine the order of the examples.
            saver: callback that requests checkpoints; None leaves checkpoints to `args`.
            callbacks: further callbacks of transformers, called before those of `setup`.

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
        own_callbacks = select_callbacks(setup.callbacks, stage)
        self.user_callbacks = UserCallbacks(own_callbacks, stage, can_evaluate=setup.selection is not None)
        train_first_layers(student, None if self.needs.student_logits else max(self.pairs))
        try:
            super().__init__(
                model=student,
                args=args,
                train_dataset=setup.train,
                eval_dataset=setup.selection,
                data_collator=split_off_index(setup.collate),  # on the CPU: reading them from a GPU would wait for it
                callbacks=[
                    *callbacks,
                    *([self.user_callbacks] if own_callbacks else []),  # before the saver, which sees what they request
                    EpochEnd(self.end_epoch),
                    *([] if saver is None else [saver]),
                ],
            )
        except ValueError:  # a callback may fail in its first event
            train_first_layers(student, None)
            raise
        if self.targets is not None:
            self.targets.move_to(args.device)
        self.embedding_rows: EmbeddingRows | None = None

    def train(self, resume_from_checkpoint: str | bool | None = None, **kwargs: Any) -> Any:
        """Run the stage and fill its record.

        Args:
            resume_from_checkpoint: folder of a checkpoint of this stage; `record` has the values of that checkpoint.
            **kwargs: further arguments of Trainer.train.

        Returns:
            Output of Trainer.train.

        Raises:
            ValueError: a loss became NaN or infinite; names the stage, the step and a file with the step's examples. A
                function of the user's failed.
        """
        self._start_time = time.perf_counter() - self.record.seconds
        self._start_cpu_time = time.process_time() - self.record.cpu_seconds
        try:
            if isinstance(resume_from_checkpoint, str):
                self.sums.load(Path(resume_from_checkpoint), self.args.device)
                if not is_first_process():  # the first process holds the sums of all
                    self.sums.clear()
            result = super().train(resume_from_checkpoint, **kwargs)
            if not self._sum_weights().isfinite().all():  # after the last update no loss is computed
                what = "the student's weights are no longer finite numbers"
                raise BrokenLossError(self.stage.name, self.state.global_step, what=what)
        except UserCodeError as error:
            where = f"stage {self.stage.name!r}, step {self.state.global_step}"
            raise ValueError(f"{where}: {error} {HOW_TO_RESUME.format('function')}") from error
        except BrokenLossError as broken:
            rows = self.train_dataset[self._get_train_sampler().rows_of(broken.step)]
            path = write_broken_step(Path(self.args.output_dir), broken.step, rows)
            raise ValueError(f"{broken} The examples of that step are in {path}.") from None
        finally:
            train_first_layers(self.model, None)
            stop_recomputing(self.model)
            if self.embedding_rows is not None:
                self.embedding_rows.release()
            # 16-bit training wraps the model's forward; the next stage and evaluation need it unwrapped.
            self.accelerator.unwrap_model(self.model, keep_fp32_wrapper=False)
            self.model.__dict__.pop("_is_accelerate_prepared", None)  # otherwise the next stage would not wrap it
        self._update_record()
        self.record.ended = self.record.ended or ("steps done" if self.stage.steps else "epochs done")
        return result

    def create_optimizer(self, model: Any = None) -> Any:
        """Build the optimiser. On a CPU it holds only the word embeddings that occur in the data.

        Args:
            model: model that is trained; None means the Trainer's own.

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
        """Compute the weighted sum of the stage's losses, averaged over the examples of the whole optimiser step.

        Args:
            model: student, perhaps wrapped for distributed training.
            inputs: padded batch (B, L), and the positions of its examples in the cache as a NumPy array.
            return_outputs: whether to return every loss by name too.
            num_items_in_batch: number of examples in the step, over accumulation and processes; None means this batch.

        Returns:
            The loss, or the loss and every loss by name (B,).
        """
        needs = self.needs
        model_inputs = {name: inputs[name] for name in INPUT_NAMES if name in inputs}
        shared = LossInputs(
            inputs["attention_mask"].bool(),
            inputs["labels"],
            self.setup.temperature,
            word_mask=inputs.get("word_mask"),
            groups=inputs.get("groups"),
            parts=inputs.get("parts"),
        )

        def compute_losses(student: Internals) -> dict[str, Tensor]:
            teacher = Internals()
            if self.targets is not None:
                teacher = self.targets(model_inputs, inputs.get("index"), needs)
            return measure(self.losses, self.pairs, teacher, student, shared)

        losses = capture_then(
            model, model_inputs, compute_losses, layers=needs.student_layers, logits=needs.student_logits
        )
        total = sum(self.stage.losses[name.partition("/")[0]] * values for name, values in losses.items())
        assert isinstance(total, Tensor)
        self.sums.add({**losses, "loss": total}, step=self.state.global_step + 1, steps=self.state.max_steps)
        # Mean over the whole step: DDP averages gradients over processes, hence the factor `world_size`.
        count = len(total) if num_items_in_batch is None else num_items_in_batch
        loss = total.sum() * (1 if num_items_in_batch is None else self.args.world_size) / count
        return (loss, losses) if return_outputs else loss

    def get_batch_samples(self, epoch_iterator: Any, num_batches: int, device: Any) -> tuple[list[Any], Tensor]:
        """Get the micro-batches of one optimiser step, and its number of examples over all processes.

        Args:
            epoch_iterator: iterator of the data loader.
            num_batches: number of accumulation steps.
            device: device of the returned number.

        Returns:
            The micro-batches and the number of examples.
        """
        batches, _ = super().get_batch_samples(epoch_iterator, num_batches, device)
        rates = [group["lr"] for group in self.optimizer.param_groups]
        self.record.learning_rate = max(self.record.learning_rate, *map(float, rates))
        count = torch.tensor(sum(len(batch["input_ids"]) for batch in batches), device=device)
        return batches, self.accelerator.gather(count).sum()

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """Score the student on the selection split; the scores are written to the record of the epoch too.

        Returns:
            Scores by name, each with the prefix `eval_`.
        """
        assert self.setup.score is not None and self.eval_dataset is not None
        if self.embedding_rows is not None:  # a callback may ask for scores inside an epoch
            self.embedding_rows.settle()
        scores = dict(self.setup.score(self.model, self.eval_dataset))
        wanted = self.args.metric_for_best_model
        if wanted is not None and wanted not in scores:
            raise ValueError(f"metric: {wanted!r} is not among the scores of `score`, {sorted(scores)}.")
        if self._has_ended_epoch():
            self.record.epochs[-1]["scores"] = scores
        metrics = {f"eval_{name}": value for name, value in scores.items()}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log values, and stop the training if a loss is no longer a finite number.

        Args:
            logs: values by name.
            start_time: time in seconds when the training began, from which the Trainer computes its speed.

        Raises:
            ValueError: a loss became NaN or infinite; names the stage and the step.
        """
        self.sums.check()
        super().log(logs, start_time)

    def _init_training_state(
        self, max_steps: int, steps_per_epoch: int, epochs: int, checkpoint: Any, trial: Any
    ) -> tuple[int, int]:
        trained = super()._init_training_state(max_steps, steps_per_epoch, epochs, checkpoint, trial)
        self._first_weight_sums = self._sum_weights()  # here a checkpoint has been loaded
        keep_highest_layer(self.model, None if self.needs.student_logits else max(1, *self.needs.student_layers))
        best = Path(self.args.output_dir, f"checkpoint-{self.state.best_global_step}")
        if best.is_dir():  # the run's folder may have been moved since
            self.state.best_model_checkpoint = str(best)
        stored = self.state.stateful_callbacks.get(type(self.user_callbacks).__name__)
        if stored is not None:
            self.user_callbacks.restore(stored)
        # After the last step of a stage that ends inside an epoch, the Trainer would take one step more.
        is_over = self.state.global_step >= max_steps or (checkpoint is not None and bool(self.record.ended))
        return (epochs, 0) if is_over else trained

    def _maybe_log_save_evaluate(self, *args: Any, **kwargs: Any) -> None:
        """Log, evaluate and save what is due: after the last step of an epoch once, when its means are in the record.

        The Trainer calls this after the step and after the epoch. What a callback requests in that step waits for the
        epoch's end: a checkpoint without it could not be resumed.
        """
        is_epoch_over = float(self.state.epoch).is_integer() or self.control.should_training_stop
        if not is_epoch_over or self._has_ended_epoch():
            super()._maybe_log_save_evaluate(*args, **kwargs)

    def _determine_best_metric(self, metrics: dict[str, float], trial: Any) -> bool:
        is_best = super()._determine_best_metric(metrics, trial)
        if is_best and self.args.load_best_model_at_end:
            self.control.should_save = True  # a callback may ask for scores inside an epoch
        return is_best

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        self.sums.check()  # a run cannot resume from broken weights
        folder = Path(self.args.output_dir)
        with explain_full_disk(folder):
            super()._save_checkpoint(model, trial)
        if self.saver is not None:
            self._update_record()
            sums = self.sums.combine_processes(self.sum_over_processes)
            self.saver.seal(folder / f"checkpoint-{self.state.global_step}", self.record, sums)

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        """Write the weights of a checkpoint."""
        assert output_dir is not None and isinstance(self.model, PreTrainedModel)
        self.model.config.save_pretrained(output_dir)
        write_weights(self.model, Path(output_dir, WEIGHTS))

    def end_epoch(self, state: Any, control: Any) -> None:
        """Write the mean losses of the epoch into the record, and end the stage if its threshold is reached.

        Args:
            state: TrainerState of transformers.
            control: TrainerControl of transformers, which ends the stage.
        """
        if self.embedding_rows is not None:
            self.embedding_rows.settle()
        losses = self.sums.pop_means(self.sum_over_processes)
        if state.max_steps >= FEWEST_STEPS:
            self.record.thirds = self.sums.thirds
        self.record.epochs.append({"epoch": state.epoch, "steps": state.global_step, "losses": losses})
        is_log_due = control.should_log  # the next line would reset it
        self.log({f"epoch/{name}": value for name, value in losses.items()})
        control.should_log = is_log_due
        threshold = self.stage.threshold
        is_full_epoch = abs(state.epoch - round(state.epoch)) < 1e-6
        if threshold is not None and is_full_epoch:
            cosine = losses[f"{self.stage.cosine}/{max(self.pairs)}"]
            if cosine < threshold:
                self.record.ended = f"threshold: cosine {cosine:.4f} below {threshold:g}"
                control.should_training_stop = True

    def _has_ended_epoch(self) -> bool:
        """Whether the record has an epoch that ends with the latest step."""
        return bool(self.record.epochs) and self.record.epochs[-1]["steps"] == self.state.global_step

    def sum_over_processes(self, value: Tensor) -> Tensor:
        """Sum a value over all processes.

        Args:
            value: value of this process.

        Returns:
            The sum.
        """
        return torch.as_tensor(self.accelerator.reduce(value, "sum"))

    def _clip_grad_norm(self, model: nn.Module, max_norm: float | None = None) -> Tensor:
        max_norm = self.args.max_grad_norm if max_norm is None else max_norm
        if self.embedding_rows is None:
            return self.accelerator.clip_grad_norm_(model.parameters(), max_norm)
        return self.embedding_rows.clip_gradients(model.parameters(), max_norm, self.accelerator)

    def _get_grad_norm(self, model: nn.Module, grad_norm: Any = None) -> Any:
        if grad_norm is None:
            grad_norm = self._clip_grad_norm(model, float("inf"))
        return super()._get_grad_norm(model, grad_norm)

    def _sum_weights(self) -> Tensor:
        """Sum of every weight tensor, to see whether training changes it."""
        return torch.stack([weight.detach().float().sum() for weight in self.model.parameters()])

    def _update_record(self) -> None:
        self.record.learned |= not torch.equal(self._first_weight_sums, self._sum_weights())
        self.record.seconds = time.perf_counter() - self._start_time
        self.record.cpu_seconds = time.process_time() - self._start_cpu_time
        self.record.steps = self.state.global_step
        is_cut_short = self.control.should_training_stop and self.state.global_step < self.state.max_steps
        if is_cut_short and self.user_callbacks.stopper and not self.record.ended:
            self.record.ended = f"stopped by {self.user_callbacks.stopper} after step {self.state.global_step}"

    def _get_train_sampler(self, train_dataset: Dataset | None = None) -> LengthGroupedSampler:
        examples = train_dataset or self.train_dataset
        together = next((name for name in (QUERY, EXAMPLE) if name in examples.column_names), None)
        return LengthGroupedSampler(
            read_numbers(examples, "length"),
            batch_size=self.args.train_batch_size * self.args.gradient_accumulation_steps * self.args.world_size,
            seed=self.setup.seed,
            first_step=self.first_step,
            group=self.setup.group_by_length,
            queries=None if together is None else read_numbers(examples, together),
        )
