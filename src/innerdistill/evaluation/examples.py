"""Examples for people to look at: attention of teacher and student, and where they disagree most."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from datasets import Dataset
from numpy.typing import NDArray
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from innerdistill.data.arrow import read_numbers
from innerdistill.data.batches import Collator
from innerdistill.data.splits import list_text_columns
from innerdistill.evaluation.layer_distances import replace_infinity
from innerdistill.evaluation.prediction_type import Scoring
from innerdistill.models.capture import INPUT_NAMES, capture

READABLE = 18  # tokens that can be labelled in a small figure
ATTENTION_EXAMPLES = 4
DISAGREEMENTS = 8


@torch.no_grad()
def collect_attention(
    teacher: PreTrainedModel,
    student: PreTrainedModel,
    dataset: Dataset,
    collate: Collator,
    tokenizer: PreTrainedTokenizerBase,
    *,
    pairs: Mapping[int, int],
) -> list[dict[str, Any]]:
    """Collect attention maps of all heads of all mapped layers on the longest examples that are still readable.

    The examples depend on the data only, so that several runs show the same ones.

    Args:
        teacher: teacher prepared by `prepare`.
        student: student prepared by `prepare`.
        dataset: tokenised split.
        collate: turns examples into a padded batch.
        tokenizer: tokenizer that gives the tokens their texts.
        pairs: teacher layer by student layer.

    Returns:
        For each example row, tokens and layers. By student layer: teacher_layer; kl in nats per row of the map, by head
        (None where it is infinite); teacher and student, nested lists (heads, tokens, tokens).
    """
    lengths = read_numbers(dataset, "length")
    # Readable examples first, the longest of them; if there are none, the shortest.
    order = np.lexsort((np.where(lengths <= READABLE, -lengths, lengths), lengths > READABLE))
    teacher.eval()
    student.eval()
    examples = []
    for index in order[:ATTENTION_EXAMPLES].tolist():
        batch = collate([dataset[index]])
        inputs = {name: batch[name].to(student.device) for name in INPUT_NAMES if name in batch}
        count = min(int(lengths[index]), 2 * READABLE)
        theirs = capture(teacher, inputs, layers=dict.fromkeys(pairs.values(), ("attention",)), logits=False)
        ours = capture(student, inputs, layers=dict.fromkeys(pairs, ("attention",)), logits=False)
        layers = {
            str(k): {
                "teacher_layer": m,
                "kl": _measure_divergences(theirs.layers[m].attention, ours.layers[k].attention),
                "teacher": _list_maps(theirs.layers[m].attention, count),
                "student": _list_maps(ours.layers[k].attention, count),
            }
            for k, m in pairs.items()
        }
        tokens = tokenizer.convert_ids_to_tokens(inputs["input_ids"][0, :count].tolist())
        examples.append({"row": int(dataset[index]["row"]), "tokens": tokens, "layers": layers})
    return examples


def find_disagreements(
    texts: pa.Table, columns: Mapping[str, NDArray[Any]], *, scoring: Scoring
) -> list[dict[str, Any]]:
    """Find the examples on which student and teacher disagree, the furthest apart first.

    Args:
        texts: split as text, in the order of `columns`.
        columns: row and label (N,), logits of teacher and student (N, C).
        scoring: names and what the outputs mean.

    Returns:
        For each example its row, texts, label (None where there is none), and the answers of teacher and student.
    """
    outputs, names = scoring.predictions, scoring.names
    if outputs.find_changed is not None:
        return outputs.find_changed(texts, columns, count=DISAGREEMENTS)
    teacher, student, first = columns["teacher"], columns["student"], texts["text1"]
    differs, distances = outputs.measure_distances(teacher, student)
    candidates, known = np.where(differs)[0], outputs.has_label(columns["label"])
    furthest = candidates[np.argsort(-distances[candidates], kind="stable")][:DISAGREEMENTS]
    return [
        {
            "row": int(columns["row"][index]),
            "texts": [texts[name][index].as_py() for name in list_text_columns(texts)],
            "label": outputs.show_label(columns["label"][index], names, first[index].as_py()) if known[index] else None,
            "teacher": outputs.show_answer(teacher[index], names, first[index].as_py()),
            "student": outputs.show_answer(student[index], names, first[index].as_py()),
        }
        for index in furthest.tolist()
    ]


def _measure_divergences(teacher: Any, student: Any) -> list[float | None]:
    theirs, ours = (attention.log_probabilities()[0].double() for attention in (teacher, student))
    terms = torch.where(theirs.exp() > 0, theirs.exp() * (theirs - ours), 0)
    return [replace_infinity(round(float(value), 5)) for value in terms.sum((1, 2)) / terms.shape[1]]


def _list_maps(attention: Any, count: int) -> Any:
    return attention.probabilities()[0, :, :count, :count].cpu().numpy().round(4).tolist()
