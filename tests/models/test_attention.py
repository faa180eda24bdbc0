"""Attention: scores and distributions."""

import torch

from innerdistill.models.attention import Attention


def test_a_16_bit_model_gets_32_bit_scores():
    """Scores of this size lose their differences in bfloat16, and overflow in float16."""
    query = torch.tensor([[[[200.0, 1.0]], [[300.0, 1.0]]]])
    key = torch.tensor([[[[200.0, 0.0], [200.0, 1.0]], [[300.0, 0.0], [300.0, 1.0]]]])
    wanted = Attention(query, key, 1.0, None).log_probabilities()
    assert wanted[0, 0, 0, 1] - wanted[0, 0, 0, 0] == 1
    for kind in (torch.bfloat16, torch.float16):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            log_probs = Attention(query.to(kind), key.to(kind), 1.0, None).log_probabilities()
        assert log_probs.dtype == torch.float32 and torch.equal(log_probs, wanted)
