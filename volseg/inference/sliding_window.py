"""Segment a volume of any size with a network that sees one window at a time.

Windows overlap, and every voxel gets a weighted mean of the logits of the windows that contain it,
near a window's centre more than near its border, as in nnU-Net (Isensee et al. 2021,
https://doi.org/10.1038/s41592-020-01008-z). Here the windows stand on a product grid and the weight
is a product of one factor an axis, so the factors can be divided by their sums beforehand. The
products then add up to one at every voxel: no map of counts, no division afterwards.

`SlidingWindow` stands wherever MONAI takes an inferer.
"""

from collections.abc import Callable, Sequence
from itertools import product
from math import ceil
from typing import Any

import torch
from monai.data import MetaTensor
from monai.inferers import Inferer
from monai.utils import convert_to_dst_type
from torch import Tensor
from torch.nn import functional

from volseg.errors import GeometryError
from volseg.types import Size

SIGMA = 0.125
"""Standard deviation of the weight as a fraction of the window, as in nnU-Net and MONAI."""

SMALLEST_WEIGHT = 0.1
"""Floor of the weight of one axis before normalisation: a corner counts a thousandth of a centre.

MONAI has the floor 0.001 on the product of the axes, which could not be normalised axis by axis.
"""

AxisPlaces = tuple[tuple[int, Tensor], ...]
"""First voxel and weights of a window along each axis."""

Place = tuple[int, AxisPlaces]
"""A window: index of its volume in the batch, and where it lies."""


def window_starts(length: int, window: int, overlap: float) -> list[int]:
    """Place windows along an axis, evenly, from its first voxel to its last.

    Args:
        length: Voxels of the axis, at least ``window``.
        window: Voxels of a window.
        overlap: Least fraction of a window that it shares with the next.

    Returns:
        First voxel of each window, ascending.

    Examples:
        >>> window_starts(10, 4, overlap=0.5)
        [0, 2, 4, 6]
        >>> window_starts(9, 4, overlap=0.0)
        [0, 2, 5]
    """
    step = max(1, int(window * (1 - overlap)))
    steps = ceil((length - window) / step)
    return [round(index * (length - window) / max(steps, 1)) for index in range(steps + 1)]


def axis_weights(length: int, window: int, starts: list[int]) -> Tensor:
    """Share out every voxel of an axis between the windows that contain it.

    Args:
        length: Voxels of the axis.
        window: Voxels of a window.
        starts: First voxel of each window; together the windows cover the axis.

    Returns:
        Weights, ``(windows, window)``, that sum to one at every voxel of the axis.
    """
    offsets = torch.arange(window, dtype=torch.float64) - (window - 1) / 2
    weight = torch.exp(-0.5 * (offsets / (SIGMA * window)) ** 2).clamp_min(SMALLEST_WEIGHT)
    total = torch.zeros(length, dtype=torch.float64)
    for start in starts:
        total[start : start + window] += weight
    shares = [weight / total[start : start + window] for start in starts]
    return torch.stack(shares).float()


class SlidingWindow(Inferer):
    """Blend the logits of overlapping windows.

    The network sees windows of ``roi_size`` in batches that all have the same shape; the last one
    is filled up with a window that is computed again and not counted. A volume smaller than the
    window is padded with its own border voxels, half on each side, as in training, and the result
    is cropped back. No gradients are kept.

    Args:
        roi_size: Voxels of a window along each axis.
        overlap: Least fraction of a window that it shares with its neighbour, from 0 to below 1.
        batch_size: Most windows given to the network at once.

    Raises:
        GeometryError: If the window, the overlap or the batch size is out of range.
    """

    def __init__(self, roi_size: Sequence[int], overlap: float = 0.5, batch_size: int = 1) -> None:
        if len(roi_size) != 3 or min(roi_size) < 1:
            raise GeometryError(f"window {tuple(roi_size)} is not three positive sizes")
        if not 0 <= overlap < 1:
            raise GeometryError(f"overlap is {overlap}; use a fraction from 0 to below 1")
        if batch_size < 1:
            raise GeometryError(f"batch of {batch_size} windows; use at least 1")
        self.roi_size: Size = (roi_size[0], roi_size[1], roi_size[2])
        self.overlap = overlap
        self.batch_size = batch_size

    @torch.no_grad()
    def __call__(
        self, inputs: Tensor, network: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> Tensor:
        """Run the network over the volumes.

        Args:
            inputs: Volumes, ``(B, C, D, H, W)``; a `MetaTensor` gives a `MetaTensor` back, with
                the same affine and history.
            network: From windows ``(N, C, d, h, w)`` to logits ``(N, K, d, h, w)``.
            *args: Passed on to the network.
            **kwargs: Passed on to the network.

        Returns:
            Blended logits, ``(B, K, D, H, W)``, in 32-bit floats or better.

        Raises:
            GeometryError: If ``inputs`` does not have five axes.
        """
        if inputs.ndim != 5:
            raise GeometryError(f"input of shape {tuple(inputs.shape)}; use (B, C, D, H, W)")
        volumes = inputs.as_tensor() if isinstance(inputs, MetaTensor) else inputs
        sizes = list(zip(volumes.shape[2:], self.roi_size, strict=True))
        before = [max(window - size, 0) // 2 for size, window in sizes]
        after = [max(window - size, 0) - (max(window - size, 0) // 2) for size, window in sizes]
        if any(after):
            padding = [pad for pair in zip(before[::-1], after[::-1], strict=True) for pad in pair]
            volumes = functional.pad(volumes, padding, mode="replicate")
        blended = self._blend(volumes, lambda windows: network(windows, *args, **kwargs))
        for axis, ((size, _), first) in enumerate(zip(sizes, before, strict=True), start=2):
            blended = blended.narrow(axis, first, size)
        if isinstance(inputs, MetaTensor):
            return convert_to_dst_type(blended, inputs, dtype=blended.dtype)[0]
        return blended

    def _blend(self, volumes: Tensor, network: Callable[[Tensor], Any]) -> Tensor:
        """Add up the weighted logits of all windows of volumes at least as large as a window."""
        pairs = zip(volumes.shape[2:], self.roi_size, strict=True)
        axes = [self._axis(length, window, volumes.device) for length, window in pairs]
        places = list(product(range(len(volumes)), product(*axes)))
        if not places:
            raise GeometryError("no volume in the batch; give at least one")
        batch_size = ceil(len(places) / ceil(len(places) / self.batch_size))
        batches = [places[i : i + batch_size] for i in range(0, len(places), batch_size)]
        blended = self._add_batch(None, volumes, batches[0], batch_size, network)
        for batch in batches[1:]:
            blended = self._add_batch(blended, volumes, batch, batch_size, network)
        return blended

    def _add_batch(
        self,
        blended: Tensor | None,
        volumes: Tensor,
        batch: list[Place],
        batch_size: int,
        network: Callable[[Tensor], Any],
    ) -> Tensor:
        """Add the weighted logits of a batch of windows; nothing else of it stays in memory."""
        windows = [self._window(volumes[case], place) for case, place in batch]
        windows += windows[-1:] * (batch_size - len(batch))
        logits = self._checked(
            network(torch.stack(windows) if batch_size > 1 else windows[0][None])
        )
        if blended is None:
            shape = (len(volumes), logits.shape[1], *volumes.shape[2:])
            precision = torch.promote_types(logits.dtype, torch.float32)
            blended = torch.zeros(shape, dtype=precision, device=volumes.device)
        for (case, place), values in zip(batch, logits, strict=False):
            (_, depth), (_, height), (_, width) = place
            weight = depth[:, None, None] * height[:, None] * width
            target = self._window(blended[case], place)
            target.addcmul_(values.to(blended), weight.to(blended))
        return blended

    def _axis(self, length: int, window: int, device: torch.device) -> list[tuple[int, Tensor]]:
        """List the first voxel and the weights of each window along one axis."""
        starts = window_starts(length, window, self.overlap)
        weights = axis_weights(length, window, starts).to(device)
        return list(zip(starts, weights, strict=True))

    def _window(self, volume: Tensor, place: AxisPlaces) -> Tensor:
        """Take a view of one window of a volume ``(C, D, H, W)``."""
        (depth, _), (height, _), (width, _) = place
        rows, columns, slices = self.roi_size
        return volume[:, depth : depth + rows, height : height + columns, width : width + slices]

    def _checked(self, logits: Any) -> Tensor:
        """Refuse anything from the network but one map of logits as large as the windows."""
        if not isinstance(logits, Tensor):
            raise GeometryError(f"the network gave a {type(logits).__name__}; it must give logits")
        if logits.shape[2:] != self.roi_size:
            raise GeometryError(
                f"the network gave {tuple(logits.shape)} for windows of {self.roi_size};"
                f" it must give (N, K, {', '.join(map(str, self.roi_size))})"
            )
        return logits
