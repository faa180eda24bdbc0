"""The absolute difference of activations as an internal loss."""

from torch import Tensor

from innerdistill import Loss


def hidden_l1(teacher_hidden: Tensor, student_hidden: Tensor, token_mask: Tensor) -> Tensor:
    """Absolute difference of the activations of all tokens: the mean over real tokens and dimensions.

    Args:
        teacher_hidden: activations after the teacher's layer. (B, L, hidden)
        student_hidden: activations after the mapped student layer. (B, L, hidden)
        token_mask: True for real tokens. (B, L)

    Returns:
        0 or more. (B,)

    >>> import torch
    >>> teacher, student = torch.tensor([[[1.0, 0.0], [9.0, 9.0]]]), torch.tensor([[[3.0, 4.0], [0.0, 0.0]]])
    >>> hidden_l1(teacher, student, torch.tensor([[True, False]]))  # (2 + 4) / 2 for the one real token
    tensor([3.])
    """
    distances = (teacher_hidden - student_hidden).abs().mean(-1)
    return (distances * token_mask).sum(-1) / token_mask.sum(-1)


HIDDEN_L1 = Loss(hidden_l1, needs=("hidden", "token_mask"))
