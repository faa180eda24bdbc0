"""Contrastive loss of sentence encoders: texts that belong together against the other texts of the batch.

Shapes: B texts, D dimensions of an embedding. `parts` has three numbers for each text: that of its example, its place
there, and a number that equal texts have in common. Place 0 is the anchor, 1 the positive text, 2 a negative one.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from innerdistill.models.attention import at_least_float32

SCALE = 20.0  # as in sentence-transformers


def multiple_negatives(student_logits: Tensor, parts: Tensor, scale: float = SCALE) -> Tensor:
    """Cross-entropy of the softmax over the texts of a batch against the positive text of each anchor.

    L = -log softmax_c(scale * cos(a, c))[p], for the anchor a of an example, its positive text p, and as c all positive
    and negative texts of the batch. Each text counts once. Texts that equal p or a are left out, and those that are
    positive texts of an equal anchor elsewhere in the batch.
    Source: Henderson et al. 2017, with the cosines and the scale of sentence-transformers.

    The value depends on the other texts of the batch. So the batch size changes it, and so do accumulation and the
    number of processes: each small batch is compared for itself.

    Args:
        student_logits: embeddings of the student. (B, D)
        parts: numbers of example, place and text. (B, 3)
        scale: what cosines are multiplied by.

    Returns:
        0 or more, the same for all texts of an example; 0 for one without anchor or positive text in the batch. (B,)

    >>> anchors, positives = torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    >>> parts = torch.tensor([[0, 0, 1], [1, 0, 2], [0, 1, 3], [1, 1, 4]])
    >>> multiple_negatives(torch.cat([anchors, positives]), parts, scale=1.0)  # -log(e / (e + 1))
    tensor([0.3133, 0.3133, 0.3133, 0.3133])
    """
    examples, places, texts = parts.unbind(1)
    same_example, same_text = examples[:, None] == examples, texts[:, None] == texts
    positive = same_example & (places == 1)  # (B, B): the positive text of each text's example
    directions = F.normalize(at_least_float32(student_logits), dim=-1)
    scores = (scale * directions @ directions.T).masked_fill(~_mark_compared(same_text, positive, places), -torch.inf)
    # A text without a positive one has no compared text perhaps; it gets 0 before the logarithm, not NaN behind it.
    is_whole = (places == 0) & positive.any(1)
    log_shares = scores.where(is_whole[:, None], torch.zeros_like(scores)).log_softmax(-1)
    of_anchors = -log_shares.masked_fill(~(positive & is_whole[:, None]), 0).sum(-1)
    return (same_example & (places == 0)).to(of_anchors.dtype) @ of_anchors


def _mark_compared(same_text: Tensor, positive: Tensor, places: Tensor) -> Tensor:
    """Which texts each text is compared with if it is an anchor, (B, B)."""
    count = len(places)
    candidates = places > 0
    earlier = torch.ones(count, count, dtype=torch.bool, device=places.device).tril(-1)
    is_first = ~(same_text & earlier & candidates).any(1)  # of equal candidates
    # Texts that are positive for an equal anchor: anchors with the same text, their positive texts, and equal texts.
    known = _chain(_chain(same_text & (places == 0), positive), same_text)
    return candidates & (positive | (is_first & ~known & ~same_text))


def _chain(first: Tensor, second: Tensor) -> Tensor:
    """True for pairs (i, k) with a j for which (i, j) and (j, k) are true."""
    return (first.float() @ second.float()) > 0
