"""Where to go when memory is short: fewer windows at once, then bands, then the CPU."""

from dataclasses import dataclass, replace

import torch

CPU = torch.device("cpu")

SIGNS = ("out of memory", "can't allocate memory", "not enough memory")
"""What PyTorch says on devices for which it has no error of its own, in any mixture of capitals."""


@dataclass(frozen=True)
class Effort:
    """How a volume is computed.

    Args:
        device: Where.
        batch_size: Windows at once.
        num_bands: Least number of sweeps into which the volume is divided.
    """

    device: torch.device
    batch_size: int
    num_bands: int = 1

    def less(self, most_bands: int) -> "Effort | None":
        """Give the next smaller effort.

        Args:
            most_bands: Rows of the volume; 1 if it cannot be divided.

        Returns:
            Half the windows; or, one at a time already, twice the bands; or else the CPU; `None` if
            that was it.
        """
        if self.batch_size > 1:
            return replace(self, batch_size=self.batch_size // 2)
        if self.num_bands < most_bands:
            return replace(self, num_bands=min(2 * self.num_bands, most_bands))
        return None if self.device.type == "cpu" else Effort(CPU, 1)

    def describe(self, first: "Effort") -> list[str]:
        """Say what was given up.

        Args:
            first: What was tried first.

        Returns:
            One line each.
        """
        short = f"memory of {first.device} was too short"
        if self.device != first.device:
            return [f"{short}: computed on the CPU"]
        lines = []
        if self.batch_size < first.batch_size:
            lines.append(f"{short} for {first.batch_size} windows at once: {self.batch_size}")
        if self.num_bands > first.num_bands:
            lines.append(f"{short} for the volume at once: swept in {self.num_bands} bands")
        return lines


def is_short_of_memory(error: BaseException) -> bool:
    """Tell a lack of memory from any other error.

    Args:
        error: What was raised.

    Returns:
        Whether less memory would help.
    """
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(sign in text for sign in SIGNS)
