"""LossSums: what the losses of an epoch add up to, without a step that waits for the accelerator."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

FILE = "sums.safetensors"
THIRDS = {"first third": 0, "last third": 2}


class BrokenLossError(ValueError):
    """A loss, or what came of it, became NaN or infinite.

    Attributes:
        step: of the stage, 1-based.
    """

    def __init__(self, stage: str, step: int, *, what: str = "the loss is no longer a finite number") -> None:
        """Say what happened.

        Args:
            stage: its name.
            step: of the stage.
            what: became no number.
        """
        super().__init__(
            f"stage {stage!r}, step {step}: {what}. Lower the learning rate "
            "(trainer.learning_rate or internal_trainer.learning_rate) or check the data and the teacher."
        )
        self.step = step


class LossSums:
    """Sums over the examples since the last epoch ended. They stay on the device until somebody asks."""

    def __init__(self, stage: str) -> None:
        """Begin with nothing.

        Args:
            stage: its name, for messages.
        """
        self.stage, self.sums = stage, dict[str, Tensor]()
        self.thirds: list[float] = []

    def add(self, losses: Mapping[str, Tensor], *, step: int, steps: int) -> None:
        """Add a batch.

        Args:
            losses: one value per example by name, `loss` among them. (B,)
            step: of the stage, 1-based.
            steps: of the whole stage.
        """
        for name, values in losses.items():
            value = values.detach().sum(dtype=torch.float32)  # of 16 bits, a count would stop at some thousands
            self.sums[name] = self.sums[name] + value if name in self.sums else value
        total = self.sums["loss"]
        known = self.sums.get("broken", torch.zeros_like(total))  # the first step whose loss was no number
        self.sums["broken"] = torch.where(total.isfinite() | (known > 0), known, torch.full_like(known, step))
        self.sums["examples"] = self.sums.get("examples", torch.zeros_like(known)) + len(losses["loss"])
        loss = losses["loss"].detach().float()
        for name, third in THIRDS.items():
            part = loss if (step - 1) * 3 // steps == third else loss[:0]
            self.sums[name] = self.sums.get(name, torch.zeros_like(known)) + part.sum()
            self.sums[f"{name} examples"] = self.sums.get(f"{name} examples", torch.zeros_like(known)) + len(part)

    def means(self, sum_over_processes: Callable[[Tensor], Tensor]) -> dict[str, float]:
        """Mean of every loss over the examples, and begin again.

        `thirds` then holds the mean loss in the first and in the last third of the stage, if both lie in this epoch.

        Args:
            sum_over_processes: adds up a value over all processes.

        Returns:
            Means by name.

        Raises:
            BrokenLossError: as `check`.
        """
        self.check()
        sums = {name: value.item() for name, value in self.together(sum_over_processes).sums.items()}
        self.sums = {}
        examples, _ = sums.pop("examples"), sums.pop("broken")
        thirds = [(sums.pop(name), sums.pop(f"{name} examples")) for name in THIRDS]
        self.thirds = [value / count for value, count in thirds] if all(count for _, count in thirds) else []
        return {name: value / examples for name, value in sums.items()}

    def together(self, sum_over_processes: Callable[[Tensor], Tensor]) -> LossSums:
        """The sums of all processes.

        Args:
            sum_over_processes: adds up a value over all processes.

        Returns:
            New sums.
        """
        found = LossSums(self.stage)
        found.sums = {name: sum_over_processes(value) for name, value in self.sums.items()}
        return found

    def clear(self) -> None:
        """Set everything to 0."""
        self.sums = {name: torch.zeros_like(value) for name, value in self.sums.items()}

    def check(self) -> None:
        """Stop if a loss is no number any more.

        Raises:
            BrokenLossError: a loss became NaN or infinite.
        """
        broken = int(self.sums["broken"]) if "broken" in self.sums else 0
        if broken:
            raise BrokenLossError(self.stage, broken)

    def save(self, folder: Path) -> None:
        """Write them into a checkpoint.

        Args:
            folder: of the checkpoint.
        """
        save_file({name: value.reshape(1) for name, value in self.sums.items()}, folder / FILE)

    def load(self, folder: Path, device: torch.device) -> None:
        """Go on with those of a checkpoint.

        Args:
            folder: of the checkpoint.
            device: where they go.
        """
        self.sums = {name: value.reshape(()).to(device) for name, value in load_file(folder / FILE).items()}
