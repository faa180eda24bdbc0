"""LossSums: running sums of the losses of an epoch. They stay on the device, so that no step waits for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

FILE = "sums.safetensors"
THIRDS = {"first third": 0, "last third": 2}


class BrokenLossError(ValueError):
    """A loss or a weight became NaN or infinite.

    Attributes:
        step: number of the step in its stage, 1-based.
    """

    def __init__(self, stage: str, step: int, *, what: str = "the loss is no longer a finite number") -> None:
        """Write the message.

        Args:
            stage: name of the stage.
            step: number of the step in the stage, 1-based.
            what: clause that says which value became NaN or infinite.
        """
        super().__init__(
            f"stage {stage!r}, step {step}: {what}. Lower the learning rate "
            "(trainer.learning_rate or internal_trainer.learning_rate) or check the data and the teacher."
        )
        self.step = step


class LossSums:
    """Sums of every loss over the examples since the last epoch ended.

    Attributes:
        stage: name of the stage, for messages.
        sums: sums and counts of examples by name, each a tensor without dimensions.
        thirds: mean loss in the first and in the last third of the stage; empty unless both lie in the last epoch.
    """

    def __init__(self, stage: str) -> None:
        """Begin with no sums.

        Args:
            stage: name of the stage, for messages.
        """
        self.stage, self.sums = stage, dict[str, Tensor]()
        self.thirds: list[float] = []

    def add(self, losses: Mapping[str, Tensor], *, step: int, steps: int) -> None:
        """Add the losses of a batch.

        Args:
            losses: one value per example by name, `loss` among them. (B,)
            step: number of the step in the stage, 1-based.
            steps: number of steps that the stage takes.
        """
        for name, values in losses.items():
            # In float32: a bfloat16 sum soon rounds new values away.
            self._add(name, values.detach().sum(dtype=torch.float32))
        total = self.sums["loss"]
        first_broken = self.sums.get("broken", torch.zeros_like(total))  # step with the first NaN or infinity, or 0
        is_unchanged = total.isfinite() | (first_broken > 0)
        self.sums["broken"] = torch.where(is_unchanged, first_broken, torch.full_like(first_broken, step))
        self._add("examples", torch.full_like(total, len(losses["loss"])))
        loss = losses["loss"].detach().float()
        for name, third in THIRDS.items():
            loss_in_third = loss if (step - 1) * 3 // steps == third else loss[:0]
            self._add(name, loss_in_third.sum())
            self._add(f"{name} examples", torch.full_like(total, len(loss_in_third)))

    def _add(self, name: str, value: Tensor) -> None:
        self.sums[name] = self.sums[name] + value if name in self.sums else value

    def pop_means(self, sum_over_processes: Callable[[Tensor], Tensor]) -> dict[str, float]:
        """Compute the mean of every loss over the examples, update `thirds`, and start again with no sums.

        Args:
            sum_over_processes: function that adds up a tensor over all processes.

        Returns:
            Means by name of the loss.

        Raises:
            BrokenLossError: a loss became NaN or infinite.
        """
        self.check()
        sums = {}
        for name, value in self.combine_processes(sum_over_processes).sums.items():
            sums[name] = value.item()
        self.sums = {}
        examples, _ = sums.pop("examples"), sums.pop("broken")
        thirds = []
        for name in THIRDS:
            sum_of_third, examples_of_third = sums.pop(name), sums.pop(f"{name} examples")
            if examples_of_third:
                thirds.append(sum_of_third / examples_of_third)
        self.thirds = thirds if len(thirds) == len(THIRDS) else []
        return {name: value / examples for name, value in sums.items()}

    def combine_processes(self, sum_over_processes: Callable[[Tensor], Tensor]) -> LossSums:
        """Add up the sums of all processes.

        Args:
            sum_over_processes: function that adds up a tensor over all processes.

        Returns:
            New sums; the own ones stay as they are.
        """
        combined = LossSums(self.stage)
        for name, value in self.sums.items():
            combined.sums[name] = sum_over_processes(value)
        return combined

    def clear(self) -> None:
        """Set every sum to 0."""
        for name, value in self.sums.items():
            self.sums[name] = torch.zeros_like(value)

    def check(self) -> None:
        """Stop the training if a loss is no longer a finite number.

        Raises:
            BrokenLossError: a loss became NaN or infinite.
        """
        first_broken = int(self.sums["broken"]) if "broken" in self.sums else 0
        if first_broken:
            raise BrokenLossError(self.stage, first_broken)

    def save(self, folder: Path) -> None:
        """Write the sums into a checkpoint.

        Args:
            folder: folder of the checkpoint.
        """
        save_file({name: value.reshape(1) for name, value in self.sums.items()}, folder / FILE)

    def load(self, folder: Path, device: torch.device) -> None:
        """Read the sums from a checkpoint.

        Args:
            folder: folder of the checkpoint.
            device: device that the sums are moved to.
        """
        self.sums = {}
        for name, value in load_file(folder / FILE).items():
            self.sums[name] = value.reshape(()).to(device)
