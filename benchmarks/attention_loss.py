"""The attention KL alone on a GPU: whole maps, blocks, and the kernel, with their errors.

    python benchmarks/attention_loss.py 64 128 512 1024 2048 4096 8192

Forward and backward pass over 16,384 tokens of 12 heads of 32 or 64 numbers, on random queries and keys; median of many
runs between two events on the device. Errors are relative, in the Euclidean norm, against whole maps in 64 bits, at two
texts of two heads with a tenth of padding. SDPA's own forward and backward pass stands beside them: what a layer's
attention costs anyway. Rows are appended to benchmarks/results.csv.
"""

import argparse
from collections.abc import Callable

import torch
import torch.nn.functional as F
import triton.testing
from speed import append
from whole_maps import whole_maps

from innerdistill.losses.blocked_kl import blocked_attention_kl
from innerdistill.losses.fused_kl import fused_attention_kl
from innerdistill.models.attention import Attention

TOKENS = 16_384
HEADS = 12


LOSSES = {"whole maps": whole_maps, "blocks": blocked_attention_kl, "kernel": fused_attention_kl}


def main() -> None:
    """Measure, print, append rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("lengths", nargs="+", type=int)
    options = parser.parse_args()
    options.device, options.model, options.no_dropout = "cuda", "random", True
    rows = []
    for width, dtype in ((32, torch.float32), (64, torch.float32), (64, torch.bfloat16)):
        for length in options.lengths:
            rows += measure(length, width, dtype)
    append(rows, options)


def draw(examples: int, heads: int, length: int, width: int, dtype: torch.dtype, *, real: float = 1.0) -> tuple:
    """Teacher, student and token mask, as a model hands them over: heads inside tokens."""
    token_mask = torch.arange(length, device="cuda").expand(examples, -1) < max(1, int(real * length))
    mask = token_mask[:, None, None] if real < 1 else None
    parts = [torch.randn(examples, length, heads, width, device="cuda").to(dtype).transpose(1, 2) for _ in "1234"]
    # The scores of a trained model spread more than those of independent random vectors.
    teacher = Attention(parts[0], parts[1], 2 * width**-0.5, mask)
    student = Attention(parts[2].requires_grad_(), parts[3].requires_grad_(), 2 * width**-0.5, mask)
    return teacher, student, token_mask


def measure(length: int, width: int, dtype: torch.dtype) -> list[dict]:
    """One length and head: times, memory and errors.

    Args:
        length: tokens per text.
        width: of a head.
        dtype: of queries and keys.

    Returns:
        Rows for the file of results.
    """
    examples = max(1, TOKENS // length)
    case = draw(examples, HEADS, length, width, dtype)
    workload = f"{length}, {HEADS} heads of {width}, {str(dtype).removeprefix('torch.')}"
    print(f"\n{workload}, {examples} texts")
    rows = [{"contestant": "SDPA, forward and backward", **clock(attention(case))}]
    for name, loss in LOSSES.items():
        try:
            rows.append({"contestant": name, **clock(lambda loss=loss: loss(*case).sum()), **errors(loss, case)})
        except torch.cuda.OutOfMemoryError:
            print(f"{name:28}does not fit")
        torch.cuda.empty_cache()
    fastest = min(row["seconds"] for row in rows[1:])
    for row in rows:
        error = f"   errors {row['error']:.1e} {row['gradient_error']:.1e}" if "error" in row else ""
        print(f"{row['contestant']:28}{1e3 * row['seconds']:9.3f} ms{row['peak_megabytes']:9.0f} MB{error}", flush=True)
        row |= {"what": "loss", "workload": workload, "batch_size": examples}
        row["ratio"] = round(row["seconds"] / fastest, 3)
    return rows


def attention(case: tuple) -> Callable[[], torch.Tensor]:
    """What the layer's own attention costs."""
    student = case[1]
    value = torch.randn_like(student.key)
    return lambda: F.scaled_dot_product_attention(student.query, student.key, value).float().sum()


def clock(loss: Callable[[], torch.Tensor]) -> dict:
    """Median seconds of forward and backward pass, and what they take of memory at once."""

    def step() -> None:
        loss().backward()

    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    step()
    torch.cuda.synchronize()
    megabytes = (torch.cuda.max_memory_allocated() - before) / 1e6
    milliseconds, low, high = triton.testing.do_bench(step, warmup=20, rep=100, quantiles=[0.5, 0.1, 0.9])
    spread = round((high - low) / milliseconds, 3)
    return {"seconds": round(milliseconds / 1e3, 7), "spread": spread, "peak_megabytes": round(megabytes)}


def errors(loss: Callable, case: tuple) -> dict:
    """Relative errors of value and gradients against whole maps in 64 bits."""
    shape = case[1].query.shape
    teacher, student, token_mask = draw(2, 2, min(shape[2], 4096), shape[3], case[1].query.dtype, real=0.9)
    exact = [
        Attention(a.query.detach().double(), a.key.detach().double(), a.scaling, a.mask) for a in (teacher, student)
    ]
    found, wanted = [], []
    for result, (t, s), function in ((found, (teacher, student), loss), (wanted, exact, whole_maps)):
        leaves = [s.query.requires_grad_(), s.key.requires_grad_()]
        value = function(t, s, token_mask)
        result += [value.detach().double(), *torch.autograd.grad(value.sum(), leaves)]
    apart = [((f.double() - w).norm() / w.norm()).item() for f, w in zip(found, wanted, strict=True)]
    return {"error": float(f"{apart[0]:.2g}"), "gradient_error": float(f"{max(apart[1:]):.2g}")}


if __name__ == "__main__":
    main()
