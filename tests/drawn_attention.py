"""Random attention and masks, for the tests of the losses."""

import torch
from hypothesis import strategies as st

from innerdistill.models.attention import Attention


def random_attention(generator, examples, heads, tokens, mask):
    query, key, value = torch.randn(3, examples, heads, tokens, 4, generator=generator, dtype=torch.float64)
    return Attention(query, key, 0.5, mask[:, None, None, :], value)


@st.composite
def masks(draw):
    tokens = draw(st.integers(1, 9))
    lengths = draw(st.lists(st.integers(1, tokens), min_size=1, max_size=3))
    return torch.arange(tokens)[None, :] < torch.tensor(lengths)[:, None], lengths
