"""Random attention and masks, and the slow reference of the attention loss, for the tests of the losses."""

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


def distribution(attention, example, head, row):
    """Softmax of scaling * query key + mask, for one token of one head."""
    scores = attention.scaling * attention.key[example, head] @ attention.query[example, head, row]
    if attention.mask is not None:
        mask = attention.mask.expand(*attention.query.shape[:3], -1)[example, head, row]
        scores = scores.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else scores + mask
    return scores.softmax(-1)


def slow_attention_kl(teacher, student, token_mask):
    """The paper's equation, row by row: (1/L) sum_i sum_j A_T log(A_T / A_S), averaged over heads."""
    heads, values = student.query.shape[1], []
    for example, real in enumerate(token_mask):
        total = 0.0
        for head in range(heads):
            for row in range(int(real.sum())):
                ours, theirs = (distribution(a, example, head, row) for a in (student, teacher))
                visible = theirs > 0
                total += (theirs[visible] * (theirs[visible].log() - ours[visible].log())).sum()
        values.append(total / (heads * real.sum()))
    return torch.stack(values)
