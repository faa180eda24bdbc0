"""The cosine loss of DistilBERT as an internal loss."""

import torch.nn.functional as F
from torch import Tensor

from innerdistill import Loss


def token_cosine(teacher_hidden: Tensor, student_hidden: Tensor, token_mask: Tensor) -> Tensor:
    """Cosine distance of the activations of all tokens, the mean over real tokens.

    Args:
        teacher_hidden: activations after the teacher's layer. (B, L, hidden)
        student_hidden: activations after the mapped student layer. (B, L, hidden)
        token_mask: True for real tokens. (B, L)

    Returns:
        From 0 (same direction) to 2 (opposite). (B,)

    >>> import torch
    >>> teacher, student = torch.tensor([[[1.0, 0.0], [9.0, 9.0]]]), torch.tensor([[[3.0, 4.0], [0.0, 0.0]]])
    >>> token_cosine(teacher, student, torch.tensor([[True, False]]))  # 1 - 3/5 for the one real token
    tensor([0.4000])
    """
    distances = 1 - F.cosine_similarity(teacher_hidden, student_hidden, dim=-1)
    return (distances * token_mask).sum(-1) / token_mask.sum(-1)


TOKEN_COSINE = Loss(token_cosine, needs=("hidden", "token_mask"))
