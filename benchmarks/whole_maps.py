"""The attention loss as plain PyTorch computes it, from whole maps: what `losses/blocked_kl.py` is compared with."""

import torch

from innerdistill.models.attention import Attention


def whole_maps(teacher: Attention, student: Attention, token_mask: torch.Tensor) -> torch.Tensor:
    """The mean over heads of (1/L) sum_i sum_j A_T log(A_T / A_S), of shape (B,)."""
    teacher_log_probs, student_log_probs = teacher.log_probabilities(), student.log_probabilities()
    teacher_probs = teacher_log_probs.exp()
    visible = (teacher_probs > 0) & token_mask[:, None, :, None]
    terms = torch.where(visible, teacher_probs * (teacher_log_probs - student_log_probs), 0)
    return terms.sum((1, 2, 3)) / (terms.shape[1] * token_mask.sum(1))
