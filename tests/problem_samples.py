"""SAMPLES: examples of each problem type, which the contracts are tried on. A new type needs an entry here too."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch

from innerdistill.data.labels import UNLABELLED
from innerdistill.data.ragged import make_ragged
from innerdistill.data.tasks import Task
from innerdistill.data.words import join_words, pack_words

LABELS = ["2", "0", None, "1", "2", "0", "1", "1"]  # fit every type: names of classes, types of entities, or scores
LONG, SHORT = "word1 " * 30, "word2"


@dataclass(frozen=True)
class Sample:
    """Examples of a problem type, as the rooms have them. The defaults are those of a type whose texts are plain.

    Attributes:
        make_perfect: (encoded labels, none missing; class names) -> logits of a model that is always right.
        name_in_config: what `problem_type` of a configuration says; None where transformers has no name for the type.
        row: text columns of a row.
        shown_text: the first of them as people see it.
        make_value: (label) -> value of the label column that means it.
        show: (label) -> the label as people see it beside the text.
        draw: (generator, examples, outputs) -> logits.
        make_batch: (encoded labels, logits) -> labels and logits of one batch, as tensors, and what else losses read.
        columns: columns of a table for `encode_texts`: an example that is longer than 12 tokens, and a short one.
        lengths: tokens of the first and of the last row that they become, with 12 at most.
        truncated: whether each of these rows is truncated.
        outputs: what a configuration says of the outputs of a model, where no new head decides it.
    """

    make_perfect: Callable
    name_in_config: str | None = None
    row: dict = field(default_factory=lambda: {"text": "one two"})
    shown_text: str = "one two"
    make_value: Callable = lambda label: label
    show: Callable = lambda label: label
    draw: Callable = lambda generator, examples, outputs: generator.normal(size=(examples, outputs)).astype(np.float32)
    make_batch: Callable = lambda encoded, logits: (torch.from_numpy(encoded), torch.from_numpy(logits), {})
    columns: dict = field(default_factory=lambda: {"text1": [LONG, SHORT], "labels": [0, 0]})
    lengths: tuple = (12, 3)
    truncated: tuple = (True, False)
    outputs: dict = field(default_factory=dict)

    @property
    def task(self):
        """Task that names the columns."""
        return Task(tuple(self.row))

    def make_block(self, values):
        """Columns of rows with these values in the label column."""
        return {**{name: [value] * len(values) for name, value in self.row.items()}, self.task.label: values}


def draw_tag_logits(generator, examples, outputs):
    return make_ragged(generator.normal(size=(examples, 2, outputs)).astype(np.float32))


def make_tag_batch(encoded, logits):
    """One word for each token."""
    labels = [tags if len(tags) else np.full(2, UNLABELLED) for tags in encoded]
    masks = {"word_mask": torch.ones(len(labels), 2).bool()}
    return torch.tensor(np.stack(labels)), torch.tensor(np.stack(list(logits))), masks


def make_perfect_pairs(scores, _):
    """Pairs of embeddings whose cosine is half of the score."""
    cosines = scores / 2
    first = np.tile([1.0, 0.0], (len(scores), 1))
    return np.stack([first, np.stack([cosines, np.sqrt(1 - cosines**2)], axis=1)], axis=1)


def draw_pairs(generator, examples, outputs):
    return generator.normal(size=(examples, 2, outputs)).astype(np.float32)


def draw_rankings(generator, examples, outputs):
    return make_ragged(generator.normal(size=(examples, 2, outputs)).astype(np.float32))


def make_ranking_batch(encoded, logits):
    """The first documents of all queries, as if they were of one query."""
    relevances = [of_query[0] if len(of_query) else np.nan for of_query in encoded]
    firsts = np.stack([of_query[0] for of_query in logits])
    return torch.tensor(relevances), torch.tensor(firsts), {"groups": torch.zeros(len(encoded), dtype=torch.int64)}


SAMPLES = {
    "single_label_classification": Sample(
        lambda labels, names: np.eye(len(names))[labels], name_in_config="single_label_classification"
    ),
    "regression": Sample(
        lambda labels, _: labels[:, None], name_in_config="regression", show=lambda label: str(float(label))
    ),
    "multi_label_classification": Sample(lambda labels, _: 2 * labels - 1, name_in_config="multi_label_classification"),
    "token_classification": Sample(
        lambda labels, names: make_ragged(np.eye(len(names))[tags] for tags in labels),
        row={"text": ["one", "two"]},
        make_value=lambda label: [f"B-{label}", "O"],
        show=lambda label: f"one ({label})",
        draw=draw_tag_logits,
        make_batch=make_tag_batch,
        columns={
            "text1": [pack_words(join_words(text.split())) for text in (LONG, SHORT)],
            "labels": [[0] * 30, [0]],
            "row": [1, 2],
        },
        truncated=(False,) * 5,
    ),
    "sentence_similarity": Sample(
        make_perfect_pairs,
        row={"text": "one two", "other": "three"},
        show=lambda label: str(float(label)),
        draw=draw_pairs,
        make_batch=lambda encoded, logits: (torch.from_numpy(encoded), torch.from_numpy(logits[:, 0].copy()), {}),
        columns={"text1": [LONG], "text2": [SHORT], "labels": [0.0], "row": [1]},
        outputs={"num_labels": 6, "sentence_encoder": True},
    ),
    "text_ranking": Sample(
        lambda relevances, _: make_ragged(of_query[:, None] for of_query in relevances),
        row={"text": "one two", "document": ["three", "four"]},
        make_value=lambda label: [f"{label}.5" if label.isdecimal() else label, 0],
        show=lambda label: f"1: {label}.5, 2: 0.0",
        draw=draw_rankings,
        make_batch=make_ranking_batch,
        columns={
            "text1": ['"word1"', '"word2"'],
            "text2": [json.dumps(["word1", LONG]), json.dumps([SHORT])],
            "labels": [[1.0, 0.0], []],
            "row": [1, 2],
        },
        lengths=(5, 5),
        truncated=(False, True, False),
    ),
}
