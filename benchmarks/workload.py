"""The same models, examples and stages for every contestant of the speed benchmark."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedModel

from innerdistill.data.batches import LengthGroupedSampler, split_off_index
from innerdistill.models.layer_map import uniform_layers
from innerdistill.models.pretrained import load_base
from innerdistill.models.probe import probe
from innerdistill.models.student import build_student
from innerdistill.problem_types.single_label_classification import SINGLE_LABEL_CLASSIFICATION
from innerdistill.training.stage import Stage

# Tokens per training example at the 0, 10, ... 100 % quantiles, measured on GLUE with the demo's tokenizer; cut at 128,
# the length to which scripts of the paper's time pad.
QUANTILES = {
    "cola": [4, 7, 8, 9, 10, 10, 11, 12, 14, 17, 47],
    "mrpc": [19, 36, 41, 45, 50, 53, 57, 61, 64, 70, 103],
    "rte": [13, 33, 40, 45, 50, 56, 62, 72, 103, 128, 128],
}
INTERNAL = {"attention_kl": 1.0, "cls_cosine": 1.0}
LEARNING_RATE = 5e-5
PARTS = 4  # batches of an epoch of single steps
MODEL_INPUTS = ("input_ids", "attention_mask")


@dataclass(frozen=True)
class Workload:
    """What is trained on.

    Attributes:
        name: cola, mrpc, rte, or a number of tokens that every example has.
        rows: number of examples.
        batch_size: examples per step.
    """

    name: str
    rows: int
    batch_size: int

    @property
    def padded_to(self) -> int:
        """Tokens to which a script that does not look at the lengths pads."""
        return 128 if self.name in QUANTILES else int(self.name)

    def examples(self, vocabulary: int) -> Dataset:
        """Random tokens with the lengths of real texts."""
        draw = np.random.default_rng(0)
        if self.name in QUANTILES:
            lengths = np.interp(draw.random(self.rows), np.linspace(0, 1, 11), QUANTILES[self.name]).astype(int)
        else:
            lengths = np.full(self.rows, int(self.name))
        ids = [draw.integers(vocabulary // 30, vocabulary, length).tolist() for length in lengths]
        columns = {"input_ids": ids, "attention_mask": [[1] * length for length in lengths]}
        labels = draw.integers(0, 2, self.rows)
        return Dataset.from_dict({**columns, "labels": labels, "length": lengths, "index": range(self.rows)})


def stages(pairs: dict[int, int], *, epochs: int = 3) -> list[Stage]:
    """SID: `epochs` per layer and as many of classification."""
    stacks = [dict(list(pairs.items())[:n]) for n in range(1, len(pairs) + 1)]
    internal = [Stage(f"layers 1-{len(s)}", INTERNAL, s, epochs=epochs, is_internal=True) for s in stacks]
    return [*internal, Stage("classification", {"soft_labels": 1.0}, {}, epochs=epochs)]


def models(name: str, *, positions: int, dropout: bool, stock: str | None = None) -> tuple[PreTrainedModel, ...]:
    """Teacher and a student of half its layers.

    Args:
        name: folder of a base model.
        positions: tokens that must fit; where the model has no such table, a random one of its size takes its place.
        dropout: whether the student drops anything.
        stock: attention of transformers (eager, sdpa); None prepares both models for capture.

    Returns:
        Teacher and student.
    """
    config = AutoConfig.from_pretrained(name)
    if positions > config.max_position_embeddings:
        config.max_position_embeddings = positions
        teacher = AutoModelForSequenceClassification.from_config(config).eval()
    else:
        teacher = load_base(name, SINGLE_LABEL_CLASSIFICATION.head, names=("no", "yes"))
    student = build_student(teacher, teacher.config.num_hidden_layers // 2)
    if not dropout:
        for module in student.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
    for model in (teacher, student):
        if stock is None:
            probe(model)
        else:
            model.set_attn_implementation("eager" if config.model_type == "mpnet" else stock)  # it has no other
    return teacher, student


def collate(pad_to: int | None = None):
    """Pads a list of examples to the longest of them, or to a fixed length."""

    def pad(rows: list[dict]) -> dict[str, torch.Tensor]:
        longest = pad_to or max(len(row["input_ids"]) for row in rows)
        batch = {
            name: torch.tensor([row[name] + [0] * (longest - len(row[name])) for row in rows])
            for name in ("input_ids", "attention_mask")
        }
        labels = torch.tensor([row["labels"] for row in rows])
        return batch | {"labels": labels}

    return pad


def batches(workload: Workload, data: Dataset, *, pad_to: int | None, grouped: bool, epoch: int = 0) -> list[dict]:
    """One epoch, batched as our trainer does or shuffled and padded as a script of the paper's time does."""
    sampler = LengthGroupedSampler(data["length"], batch_size=workload.batch_size, seed=1, group=grouped)
    sampler.set_epoch(epoch)
    order, size, pad = list(sampler), workload.batch_size, split_off_index(collate(pad_to))
    return [pad([data[index] for index in order[i : i + size]]) for i in range(0, len(order), size)]


class Setting:
    """One workload on one device with one pair of models' sizes."""

    def __init__(
        self, workload: Workload, *, model: str, dropout: bool, device: str, vocabulary: int | None = None
    ) -> None:
        """Make the examples; models are made by each contestant for itself."""
        self.workload, self.model, self.dropout, self.device = workload, model, dropout, torch.device(device)
        self.vocabulary = vocabulary
        teacher, student = self.models("sdpa")
        self.data = workload.examples(teacher.config.vocab_size)
        known = AutoConfig.from_pretrained(model).max_position_embeddings
        self.model_name = Path(model).name + (", synthetic" if workload.padded_to > known else "")
        self.model_name += "" if vocabulary is None else f", {vocabulary} words"
        depth = student.config.num_hidden_layers
        self.pairs = dict(enumerate(uniform_layers(depth, teacher.config.num_hidden_layers), start=1))
        self.all_layers = Stage("all layers", stages(self.pairs)[-2].losses, self.pairs, epochs=1, is_internal=True)

    def models(self, stock: str | None):
        """Teacher and student on the device."""
        made = models(self.model, positions=self.workload.padded_to, dropout=self.dropout, stock=stock)
        if self.vocabulary is not None:
            for model in made:
                model.resize_token_embeddings(self.vocabulary, mean_resizing=False)
        return tuple(model.to(self.device) for model in made)

    def batches(self, *, padded: bool, epoch: int = 0) -> list[dict]:
        """An epoch of batches on the device: shuffled and padded to a fixed length, or grouped by length."""
        pad_to = self.workload.padded_to if padded else None
        found = batches(self.workload, self.data, pad_to=pad_to, grouped=not padded, epoch=epoch)
        return [{k: v.to(self.device) if k != "index" else v for k, v in batch.items()} for batch in found]
