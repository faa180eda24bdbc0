"""The attention maps of teacher and student on one example, for people to look at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from innerdistill.data.batches import INPUT_NAMES, Collator
from innerdistill.models.internals import capture

READABLE = 18  # tokens that can be labelled in a small figure


@torch.no_grad()
def attention_example(
    teacher: PreTrainedModel,
    student: PreTrainedModel,
    dataset: Dataset,
    collate: Collator,
    tokenizer: PreTrainedTokenizerBase,
    *,
    pairs: Mapping[int, int],
) -> dict[str, Any]:
    """Attention of all heads of all mapped layers on the longest example that is still readable.

    The example depends on the data only, so that several runs show the same one.

    Args:
        teacher: prepared by `prepare`.
        student: prepared by `prepare`.
        dataset: a tokenised split.
        collate: examples -> padded batch.
        tokenizer: for the tokens' texts.
        pairs: teacher layer by student layer.

    Returns:
        row, tokens, and per student layer teacher_layer, teacher and student: nested lists (heads, tokens, tokens).
    """
    lengths = np.asarray(dataset["length"])
    fitting = np.where(lengths <= READABLE)[0]
    index = int(fitting[lengths[fitting].argmax()]) if len(fitting) else int(lengths.argmin())
    batch = collate([dataset[index]])
    inputs = {name: batch[name].to(student.device) for name in INPUT_NAMES if name in batch}
    shown = min(int(lengths[index]), 2 * READABLE)
    theirs = capture(teacher.eval(), inputs, layers=dict.fromkeys(pairs.values(), ("attention",)), logits=False)
    ours = capture(student.eval(), inputs, layers=dict.fromkeys(pairs, ("attention",)), logits=False)

    def maps(internals: Any, layer: int) -> Any:
        probabilities = internals.layers[layer].attention.probabilities()[0, :, :shown, :shown]
        return probabilities.cpu().numpy().round(4).tolist()

    return {
        "row": int(dataset[index]["row"]),
        "tokens": tokenizer.convert_ids_to_tokens(inputs["input_ids"][0, :shown].tolist()),
        "layers": {
            str(k): {"teacher_layer": m, "teacher": maps(theirs, m), "student": maps(ours, k)} for k, m in pairs.items()
        },
    }
