"""The attention KL without maps against the plain formula: value, gradients, every kind of mask, any block."""

from dataclasses import astuple

import pytest
import torch
from drawn_attention import slow_attention_kl
from hypothesis import given, settings
from hypothesis import strategies as st

from innerdistill.losses import blocked_kl, fused_kl, paper
from innerdistill.losses.blocked_kl import blocked_attention_kl
from innerdistill.losses.fused_kl import fused_attention_kl
from innerdistill.losses.paper import attention_kl
from innerdistill.models.attention import Attention, AttentionMaps

# Keys beyond the last token score minus infinity on both sides. The kernel drops their difference, of which NumPy, which
# runs it without a GPU, warns.
pytestmark = pytest.mark.filterwarnings("ignore:invalid value encountered in subtract:RuntimeWarning:triton")
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
LEAST = torch.finfo(torch.float64).min


def make_mask(kind, token_mask, heads, generator):
    """A mask as the model families hand it over."""
    examples, tokens = token_mask.shape
    keys = token_mask[:, None, None]
    near = (torch.arange(tokens)[:, None] - torch.arange(tokens)).abs() <= 2
    bias = torch.randn(1, heads, tokens, tokens, generator=generator, dtype=torch.float64)
    return {
        "none": None,
        "boolean": keys,
        "window": keys & near,  # a padded row may see no key
        "additive": torch.zeros(examples, 1, 1, tokens, dtype=torch.float64).masked_fill(~keys, LEAST),
        "bias": bias,
        "bias and padding": bias + torch.zeros_like(keys, dtype=torch.float64).masked_fill(~keys, LEAST),
    }[kind]


KINDS = ["none", "boolean", "window", "additive", "bias", "bias and padding"]


def case(kind, lengths, heads=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    token_mask = torch.arange(max(lengths))[None] < torch.tensor(lengths)[:, None]
    shape = (len(lengths), heads, max(lengths), 3)
    draws = [torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(4)]
    masks = [make_mask(kind, token_mask, heads, generator) for _ in range(2)]
    return Attention(draws[0], draws[1], 0.7, masks[0]), Attention(draws[2], draws[3], 0.6, masks[1]), token_mask


def gradients(loss, student):
    parts = [student.query, student.key] + ([student.mask] if student.mask is not None else [])
    leaves = [part.clone().requires_grad_(part.is_floating_point()) for part in parts]
    found = loss(Attention(leaves[0], leaves[1], student.scaling, leaves[2] if len(leaves) > 2 else None))
    factors = torch.arange(1.0, len(found) + 1, dtype=found.dtype)  # another one for every example
    return found, torch.autograd.grad((found * factors).sum(), [leaf for leaf in leaves if leaf.requires_grad])


@settings(max_examples=80, deadline=None)
@given(
    st.sampled_from(KINDS), st.lists(st.integers(1, 9), min_size=1, max_size=4), st.integers(1, 200), st.integers(0, 99)
)
def test_value_and_gradients_are_those_of_the_plain_formula(kind, lengths, block, seed):
    teacher, student, token_mask = case(kind, lengths, seed=seed)
    if kind == "none":
        token_mask = torch.ones_like(token_mask)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocked_kl, "CPU_BLOCK", block)
        found, slopes = gradients(lambda s: blocked_attention_kl(teacher, s, token_mask), student)
    wanted, true_slopes = gradients(lambda s: slow_attention_kl(teacher, s, token_mask), student)
    assert torch.allclose(found, wanted, atol=1e-14)
    for slope, true_slope in zip(slopes, true_slopes, strict=True):
        assert torch.allclose(slope, true_slope, atol=1e-14)


@pytest.mark.parametrize("kind", ["boolean", "bias"])
def test_gradcheck(kind, monkeypatch):
    monkeypatch.setattr(blocked_kl, "CPU_BLOCK", 20)
    teacher, student, token_mask = case(kind, [4, 2])
    inputs = [student.query.requires_grad_(), student.key.requires_grad_()]
    inputs += [student.mask.requires_grad_()] if kind == "bias" else []

    def loss(query, key, mask=student.mask):
        return blocked_attention_kl(teacher, Attention(query, key, 0.6, mask), token_mask)

    assert torch.autograd.gradcheck(loss, inputs)


def test_cached_maps_give_the_same_loss_within_16_bits():
    teacher, student, token_mask = case("boolean", [9, 5, 1])
    maps = (teacher.probabilities() * token_mask[:, None, :, None]).half()
    wanted, true_slopes = gradients(lambda s: blocked_attention_kl(teacher, s, token_mask), student)
    found, slopes = gradients(
        lambda s: blocked_attention_kl(AttentionMaps.of(maps, token_mask), s, token_mask), student
    )
    assert torch.allclose(found, wanted, atol=2e-5)
    for slope, true_slope in zip(slopes, true_slopes, strict=True):
        assert torch.allclose(slope, true_slope, atol=1e-4)


def test_no_gradients_are_made_where_none_are_wanted():
    teacher, student, token_mask = case("bias", [5, 3])
    assert not blocked_attention_kl(teacher, student, token_mask).requires_grad
    student.key.requires_grad_()
    blocked_attention_kl(teacher, student, token_mask).sum().backward()
    assert student.key.grad is not None and student.query.grad is None and student.mask.grad is None


def test_what_is_kept_for_the_backward_pass_is_linear_in_the_length():
    kept = []
    for tokens in (64, 128):
        teacher, student, token_mask = case("boolean", [tokens])
        student.query.requires_grad_(), student.key.requires_grad_()
        loss = blocked_attention_kl(teacher, student, token_mask)
        kept.append(sum(tensor.numel() for tensor in loss.grad_fn.saved_tensors if tensor is not None))
    assert kept[1] <= 2 * kept[0]


def single(attention):
    """The same in 32 bits, as the kernel reads it."""
    mask = attention.mask
    if mask is not None and mask.is_floating_point():
        mask = mask.clamp(min=torch.finfo(torch.float32).min).float()
    return Attention(attention.query.float(), attention.key.float(), attention.scaling, mask)


@pytest.mark.parametrize("lengths", [[1], [4, 2, 9], [70, 33]])
@pytest.mark.parametrize("kind", KINDS)
def test_the_kernel_gives_value_and_gradients_of_the_plain_formula(kind, lengths):
    teacher, student, token_mask = case(kind, lengths)
    if kind == "none":
        token_mask = torch.ones_like(token_mask)
    wanted, true_slopes = gradients(lambda s: slow_attention_kl(teacher, s, token_mask), student)
    found, slopes = kernel_gradients(teacher, student, token_mask)
    assert torch.allclose(found, wanted, atol=1e-6)
    for slope, true_slope in zip(slopes, true_slopes, strict=False):
        assert torch.allclose(slope, true_slope, atol=1e-6)


def kernel_gradients(teacher, student, token_mask):
    """As `gradients`, of the kernel, where this machine runs it, back in 64 bits."""
    teacher, student = (
        Attention(*(part.to(DEVICE) if isinstance(part, torch.Tensor) else part for part in astuple(single(attention))))
        for attention in (teacher, student)
    )
    leaves = [student.query.requires_grad_(), student.key.requires_grad_()]
    found = fused_attention_kl(teacher, student, token_mask.to(DEVICE))
    factors = torch.arange(1.0, len(found) + 1, device=DEVICE)
    slopes = torch.autograd.grad((found * factors).sum(), leaves)
    return found.detach().double().cpu(), [slope.double().cpu() for slope in slopes]


def test_the_kernel_finds_nothing_between_equal_attentions():
    _, student, token_mask = case("boolean", [70, 33])
    found, slopes = kernel_gradients(student, student, token_mask)
    assert not found.any()
    assert all(slope.abs().max() < 1e-6 for slope in slopes)


@pytest.mark.skipif(DEVICE != "cuda", reason="what the kernel is chosen for is on a GPU")
@pytest.mark.parametrize("kind", ["boolean", "bias"])
def test_a_gpu_takes_the_kernel_where_it_can(kind, monkeypatch):
    taken = []
    monkeypatch.setattr(fused_kl, "fused_attention_kl", lambda *_: taken.append("kernel"))
    monkeypatch.setattr(paper, "blocked_attention_kl", lambda *_: taken.append("blocks"))
    teacher, student, token_mask = case(kind, [9, 4])
    teacher, student = (
        Attention(*(part.to(DEVICE) if isinstance(part, torch.Tensor) else part for part in astuple(single(attention))))
        for attention in (teacher, student)
    )
    attention_kl(teacher, student, token_mask.to(DEVICE))
    if student.mask.is_floating_point():
        student.mask.requires_grad_()
    attention_kl(teacher, student, token_mask.to(DEVICE))
    assert taken == ["kernel", "kernel" if kind == "boolean" else "blocks"]
