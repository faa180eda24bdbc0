"""The others in the speed benchmark: a loop as the paper's time wrote it, and TextBrewer."""

import tempfile
from collections.abc import Callable
from itertools import cycle

import torch
import torch.nn.functional as F
from workload import LEARNING_RATE, MODEL_INPUTS, Setting, stages

from innerdistill.training.stage import Stage


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
        self.files = tempfile.TemporaryDirectory()  # gone with this object

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
            device=self.setting.device, output_dir=self.files.name, log_dir=self.files.name, ckpt_frequency=1
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
