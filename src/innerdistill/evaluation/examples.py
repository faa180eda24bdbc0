"""Examples for people to look at: attention of teacher and student, and where they disagree most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from datasets import Dataset
from numpy.typing import NDArray
from scipy.special import log_softmax
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from innerdistill.data.arrow import numbers
from innerdistill.data.batches import INPUT_NAMES, Collator
from innerdistill.data.splits import text_columns
from innerdistill.evaluation.layer_distances import finite
from innerdistill.evaluation.scoring import has_label
from innerdistill.models.capture import capture

READABLE = 18  # tokens that can be labelled in a small figure
ATTENTION_EXAMPLES = 4
DISAGREEMENTS = 8


@torch.no_grad()
def attention_examples(
    teacher: PreTrainedModel,
    student: PreTrainedModel,
    dataset: Dataset,
    collate: Collator,
    tokenizer: PreTrainedTokenizerBase,
    *,
    pairs: Mapping[int, int],
) -> list[dict[str, Any]]:
    """Attention of all heads of all mapped layers on the longest examples that are still readable.

    The examples depend on the data only, so that several runs show the same ones.

    Args:
        teacher: prepared by `prepare`.
        student: prepared by `prepare`.
        dataset: a tokenised split.
        collate: examples -> padded batch.
        tokenizer: for the tokens' texts.
        pairs: teacher layer by student layer.

    Returns:
        For each row, tokens, and per student layer teacher_layer, kl (nats per row, by head, of the whole example; None
        where it is infinite), teacher and student: nested lists (heads, tokens, tokens).
    """
    lengths = numbers(dataset, "length")
    # Readable ones first, the longest of them; where there is none, the shortest.
    order = np.lexsort((np.where(lengths <= READABLE, -lengths, lengths), lengths > READABLE))
    teacher.eval()
    student.eval()
    found = []
    for index in order[:ATTENTION_EXAMPLES].tolist():
        batch = collate([dataset[index]])
        inputs = {name: batch[name].to(student.device) for name in INPUT_NAMES if name in batch}
        shown = min(int(lengths[index]), 2 * READABLE)
        theirs = capture(teacher, inputs, layers=dict.fromkeys(pairs.values(), ("attention",)), logits=False)
        ours = capture(student, inputs, layers=dict.fromkeys(pairs, ("attention",)), logits=False)
        layers = {
            str(k): {
                "teacher_layer": m,
                "kl": _divergences(theirs.layers[m].attention, ours.layers[k].attention),
                "teacher": _maps(theirs.layers[m].attention, shown),
                "student": _maps(ours.layers[k].attention, shown),
            }
            for k, m in pairs.items()
        }
        tokens = tokenizer.convert_ids_to_tokens(inputs["input_ids"][0, :shown].tolist())
        found.append({"row": int(dataset[index]["row"]), "tokens": tokens, "layers": layers})
    return found


def disagreements(
    texts: pa.Table, columns: Mapping[str, NDArray[Any]], *, names: Sequence[str] | None
) -> list[dict[str, Any]]:
    """Rows on which the student answers otherwise than its teacher, the furthest apart first.

    Apart: KL of the student's probabilities from the teacher's; for a regression, the difference of the scores.

    Args:
        texts: the split as text, in the order of `columns`.
        columns: label (N,), logits of teacher and student (N, C).
        names: class names by id; None for a regression.

    Returns:
        For each row, texts, label (None where there is none), and the answers of teacher and student: name and
        probability, or the score.
    """
    teacher, student = columns["teacher"], columns["student"]
    if names is None:
        apart = np.abs(teacher - student)[:, 0]
        candidates = np.where(apart > 0)[0]
    else:
        t, s = log_softmax(teacher, axis=1), log_softmax(student, axis=1)
        apart = (np.exp(t) * (t - s)).sum(1)
        candidates = np.where(teacher.argmax(1) != student.argmax(1))[0]
    known = has_label(columns["label"], names)

    def answer(logits: NDArray[Any]) -> dict[str, Any]:
        if names is None:
            return {"answer": round(float(logits[0]), 3)}
        best = int(logits.argmax())
        return {"answer": names[best], "probability": round(float(np.exp(log_softmax(logits)[best])), 3)}

    found = []
    for index in candidates[np.argsort(-apart[candidates], kind="stable")][:DISAGREEMENTS].tolist():
        label = columns["label"][index]
        found.append(
            {
                "row": int(columns["row"][index]),
                "texts": [texts[name][index].as_py() for name in text_columns(texts)],
                "label": (float(label) if names is None else names[int(label)]) if known[index] else None,
                "teacher": answer(teacher[index]),
                "student": answer(student[index]),
            }
        )
    return found


def _divergences(teacher: Any, student: Any) -> list[float | None]:
    theirs, ours = (attention.log_probabilities()[0].double() for attention in (teacher, student))
    terms = torch.where(theirs.exp() > 0, theirs.exp() * (theirs - ours), 0)
    return [finite(round(float(value), 5)) for value in terms.sum((1, 2)) / terms.shape[1]]


def _maps(attention: Any, shown: int) -> Any:
    return attention.probabilities()[0, :, :shown, :shown].cpu().numpy().round(4).tolist()
