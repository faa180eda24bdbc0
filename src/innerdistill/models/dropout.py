"""Dropout on a CPU, from 16 random bits for each value.

On a CPU torch draws a double for every value, one after the other, whatever the number of threads. In training on short
texts that takes longer than attention itself. Here one draw of 64 bits decides on four values.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

STEPS = 2**16


def dropout(values: Tensor, probability: float) -> Tensor:
    """Set values to 0 at random, each by itself, and scale the others so that the expectation stays.

    y = x · m / (1 - p), m = 0 with probability p, else 1; on a CPU p is rounded to 1/65,536. The random numbers
    come from torch's generator, so `torch.manual_seed` sets them; they differ from those of torch's own dropout.

    Args:
        values: any shape.
        probability: p, from 0 to 1.

    Returns:
        The same shape, with gradients if they are enabled.
    """
    threshold = round(probability * STEPS)
    if values.device.type != "cpu" or not 0 < threshold < STEPS:
        return F.dropout(values, probability)
    count = values.numel()
    draws = torch.empty((count + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
    bits = draws.view(torch.int16)[:count].view(values.shape)
    survives = (bits >= threshold - STEPS // 2).to(values.dtype)
    return values * survives.mul_(STEPS / (STEPS - threshold))


class Dropout(nn.Dropout):
    """torch's module with `dropout` in it."""

    def forward(self, values: Tensor) -> Tensor:
        """As in torch.

        Args:
            values: any shape.

        Returns:
            In training values with some set to 0, else the values.
        """
        return dropout(values, self.p) if self.training else values


def replace_dropout(model: nn.Module) -> None:
    """Give a model this dropout in the place of torch's.

    Args:
        model: changed in place.
    """
    for module in model.modules():
        if type(module) is nn.Dropout:
            module.__class__ = Dropout


def remove_dropout(model: nn.Module) -> None:
    """Let a model drop nothing in training. Its configuration, and so its saved files, stay as they are.

    Args:
        model: changed in place.
    """
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        for name, value in list(vars(module).items()):
            if "dropout" in name and isinstance(value, float):  # of attention, in families that call a function
                setattr(module, name, 0.0)
