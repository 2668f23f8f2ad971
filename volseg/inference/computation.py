"""How a network is applied: in which precision, on which views, and what is kept beside labels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from volseg.errors import BundleError, DataError

PRECISIONS = {
    "auto": None,
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}

MAPS = ("probabilities", "entropy", "variance")
"""What can be kept of the probabilities."""

VIEWS = ("none", "flips")
"""How test-time augmentation may look at a window."""


@dataclass(frozen=True)
class Computation:
    """How a network is applied.

    Args:
        precision: Of products within the network: ``float32``, ``bfloat16`` or ``float16``; or
            ``auto``: ``bfloat16`` on a CUDA device that computes it, ``float32`` on any other.
        flip_axes: Axes of the network's grid along which each window is also looked at flipped;
            logits are averaged over all combinations.
        maps: Any of `MAPS`.

    Raises:
        DataError: If a name is unknown, or the variance is asked for and nothing varies.
    """

    precision: str = "auto"
    flip_axes: tuple[int, ...] = ()
    maps: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse names that mean nothing."""
        if self.precision not in PRECISIONS:
            raise DataError(f"precision is {self.precision!r}; use one of {', '.join(PRECISIONS)}")
        if stray := [name for name in self.maps if name not in MAPS]:
            raise DataError(f"{stray[0]!r} is no map; use any of {', '.join(MAPS)}")
        if "variance" in self.maps and not self.flip_axes:
            raise DataError("the variance is that of flipped views; allow flips (--tta flips)")

    def dtype(self, device: torch.device) -> torch.dtype:
        """Choose the precision on a device.

        Args:
            device: Where the network runs.

        Returns:
            The type of products; sums and everything after the network are in 32 bits.
        """
        chosen = PRECISIONS[self.precision]
        if chosen is not None:
            return chosen
        is_able = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if is_able else torch.float32

    @property
    def keeps_variance(self) -> bool:
        """Whether the variance over views is computed."""
        return "variance" in self.maps


def find_flip_axes(config: Mapping[str, Any], tta: str) -> tuple[int, ...]:
    """Say along which axes windows may be flipped; that is a property of the labels.

    Args:
        config: The bundle's inference configuration; its ``flip_axes`` are axes of the network's
            grid, of which 0 is left and right.
        tta: One of `VIEWS`.

    Returns:
        The axes; none for ``none``.

    Raises:
        BundleError: If the bundle declares no axis safe.
        DataError: If the choice is unknown.
    """
    if tta not in VIEWS:
        raise DataError(f"test-time augmentation is {tta!r}; use one of {', '.join(VIEWS)}")
    axes: Sequence[int] = config.get("flip_axes", ()) if tta == "flips" else ()
    if tta == "flips" and not axes:
        raise BundleError(
            "the bundle declares no axis along which its labels may be flipped (flip_axes of"
            " inference.json); leave out --tta flips"
        )
    if any(axis not in (0, 1, 2) for axis in axes):
        raise BundleError(f"flip_axes of the bundle are {list(axes)}; use 0, 1 and 2")
    return tuple(sorted(set(axes)))
