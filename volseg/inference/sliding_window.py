"""Segment a volume of any size with a network that sees one window at a time.

Windows overlap, and every voxel gets a weighted mean of the logits of the windows that contain it,
near a window's centre more than near its border, as in nnU-Net (Isensee et al. 2021,
https://doi.org/10.1038/s41592-020-01008-z). Here the windows stand on a product grid and the weight
is a product of one factor an axis, so the factors can be divided by their sums beforehand. The
products then add up to one at every voxel: no map of counts, no division afterwards.

`SlidingWindow` stands wherever MONAI takes an inferer.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import product
from math import ceil, prod
from typing import Any, NamedTuple, cast

import torch
from monai.data import MetaTensor
from monai.inferers import Inferer
from monai.utils import convert_to_dst_type
from torch import Tensor
from torch.nn import functional

from volseg.errors import GeometryError
from volseg.inference.window_axes import axis_weights, window_starts
from volseg.types import Size

AxisPlaces = tuple[tuple[int, Tensor], ...]
"""First voxel and weights of a window along each axis."""


class _Uniform(NamedTuple):
    """The logits, ``(1, K, d, h, w)``, of a window that has one value a channel."""

    value: Tensor
    logits: Tensor


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
        air: Largest value of air after preprocessing, where a bundle declares that nothing is to be
            found in windows of air alone: they are all taken for windows of just this value, which
            are computed once. `None`: only windows that are one value throughout are not repeated.

    Raises:
        GeometryError: If the window, the overlap or the batch size is out of range.
    """

    def __init__(
        self,
        roi_size: Sequence[int],
        overlap: float = 0.5,
        batch_size: int = 1,
        air: float | None = None,
    ) -> None:
        if len(roi_size) != 3 or min(roi_size) < 1:
            raise GeometryError(f"window {tuple(roi_size)} is not three positive sizes")
        if not 0 <= overlap < 1:
            raise GeometryError(f"overlap is {overlap}; use a fraction from 0 to below 1")
        if batch_size < 1:
            raise GeometryError(f"batch of {batch_size} windows; use at least 1")
        self.roi_size: Size = (roi_size[0], roi_size[1], roi_size[2])
        self.overlap = overlap
        self.batch_size = batch_size
        self.air = air

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
        if not len(inputs):
            raise GeometryError("no volume in the batch; give at least one")
        volumes = inputs.as_tensor() if isinstance(inputs, MetaTensor) else inputs
        blended: Tensor | None = None
        for case, volume in enumerate(volumes):
            slabs = self.sweep(volume, lambda windows: network(windows, *args, **kwargs))
            for first, logits in slabs:
                if blended is None:
                    shape = (len(volumes), len(logits), *volumes.shape[2:])
                    blended = logits.new_empty(shape)
                blended[case, :, first : first + logits.shape[1]] = logits
        if isinstance(inputs, MetaTensor) and blended is not None:
            return convert_to_dst_type(blended, inputs, dtype=blended.dtype)[0]
        return cast(Tensor, blended)

    @torch.no_grad()
    def sweep(
        self, volume: Tensor, network: Callable[[Tensor], Any], band: slice | None = None
    ) -> Iterator[tuple[int, Tensor]]:
        """Run the network over one volume and give the logits slab by slab along the first axis.

        No more logits are in memory than the windows of one row reach, whatever the length of the
        first axis. A window that is the same value throughout, such as air that was cut off or a
        background of zeros, is computed once and not again while that value recurs.

        Args:
            volume: ``(C, D, H, W)``.
            network: From windows ``(N, C, d, h, w)`` to logits ``(N, K, d, h, w)``.
            band: Range of the second axis to give; `None`: all of it. Logits do not depend on it.

        Yields:
            The first row of a slab and its blended logits, ``(K, rows, band, W)``, which hold until
            the next slab is asked for; together the slabs are all rows, in order.
        """
        sizes = volume.shape[1:]
        pairs = zip(sizes, self.roi_size, strict=True)
        before = [max(window - size, 0) // 2 for size, window in pairs]
        padded = self._padded(volume, before)
        part = slice(0, sizes[1]) if band is None else band
        rows = slice(part.start + before[1], part.stop + before[1])
        batches = self._batches(padded, rows)
        batch_size = max(map(len, batches))
        starts = [batch[0][0][0] for batch in batches] + [padded.shape[1]]
        held = max(batch[-1][0][0] - batch[0][0][0] for batch in batches) + self.roi_size[0]
        ring: Tensor | None = None
        last: _Uniform | None = None
        for batch, base, done in zip(batches, starts[:-1], starts[1:], strict=True):
            logits, last = self._run(padded, batch, batch_size, network, last)
            if ring is None:
                precision = torch.promote_types(logits.dtype, torch.float32)
                shape = (logits.shape[1], held, rows.stop - rows.start, padded.shape[3])
                ring = torch.zeros(shape, dtype=precision, device=volume.device)
            for place, values in zip(batch, logits, strict=False):
                self._add(ring, values, place, base, rows)
            first, end = max(base, before[0]), min(done, before[0] + sizes[0])
            if first < end:
                slab = ring[:, first - base : end - base]
                yield first - before[0], slab.narrow(3, before[2], sizes[2])
            _roll(ring, done - base)

    def count_batches(self, sizes: Sequence[int]) -> int:
        """Tell how often the network is called for one volume.

        Args:
            sizes: Voxels of the volume along each axis.

        Returns:
            Number of batches of windows.
        """
        lengths = [max(pair) for pair in zip(sizes, self.roi_size, strict=True)]
        pairs = zip(lengths, self.roi_size, strict=True)
        windows = prod(len(window_starts(*pair, self.overlap)) for pair in pairs)
        return ceil(windows / self.batch_size)

    def _padded(self, volume: Tensor, before: Sequence[int]) -> Tensor:
        """Pad a volume that is smaller than a window with its own border."""
        pairs = list(zip(volume.shape[1:], self.roi_size, before, strict=True))
        if all(size >= window for size, window, _ in pairs):
            return volume
        padding: list[int] = []
        for size, window, first in reversed(pairs):
            padding += [first, max(window - size, 0) - first]
        return functional.pad(volume[None], padding, mode="replicate")[0]

    def _batches(self, volume: Tensor, rows: slice) -> list[list[AxisPlaces]]:
        """List the windows that reach into a range of the second axis, in batches of one size."""
        pairs = zip(volume.shape[1:], self.roi_size, strict=True)
        depth, height, width = (self._axis(size, window, volume.device) for size, window in pairs)
        reach = self.roi_size[1]
        height = [place for place in height if rows.start - reach < place[0] < rows.stop]
        places: list[AxisPlaces] = list(product(depth, height, width))
        batch_size = ceil(len(places) / ceil(len(places) / self.batch_size))
        return [places[i : i + batch_size] for i in range(0, len(places), batch_size)]

    def _run(
        self,
        volume: Tensor,
        batch: list[AxisPlaces],
        batch_size: int,
        network: Callable[[Tensor], Any],
        last: "_Uniform | None",
    ) -> tuple[Tensor, "_Uniform | None"]:
        """Compute the logits of a batch of windows, or give those of equal ones again."""
        windows = [self._window(volume, place) for place in batch]
        value = _uniform_value(windows)
        if last is not None and value is not None and torch.equal(value, last.value):
            return last.logits.expand(len(batch), *last.logits.shape[1:]), last
        windows += windows[-1:] * (batch_size - len(batch))
        stack = torch.stack(windows) if batch_size > 1 else windows[0][None]
        logits = self._checked(network(stack))
        return logits, last if value is None else _Uniform(value, logits[:1].clone())

    def _add(self, ring: Tensor, values: Tensor, place: AxisPlaces, base: int, rows: slice) -> None:
        """Add the weighted logits of one window to the part of it that is asked for."""
        (top, depth), (left, height), (front, width) = place
        low, high = max(left, rows.start), min(left + self.roi_size[1], rows.stop)
        inner = slice(low - left, high - left)
        weight = depth[:, None, None] * height[inner, None] * width
        target = ring[
            :,
            top - base : top - base + self.roi_size[0],
            low - rows.start : high - rows.start,
            front : front + self.roi_size[2],
        ]
        target.addcmul_(values[:, :, inner].to(ring), weight.to(ring))

    def _axis(self, length: int, window: int, device: torch.device) -> list[tuple[int, Tensor]]:
        """List the first voxel and the weights of each window along one axis."""
        starts = window_starts(length, window, self.overlap)
        weights = axis_weights(length, window, starts).to(device)
        return list(zip(starts, weights, strict=True))

    def _window(self, volume: Tensor, place: AxisPlaces) -> Tensor:
        """Take a view of one window of a volume ``(C, D, H, W)``; air has one value."""
        (depth, _), (height, _), (width, _) = place
        rows, columns, slices = self.roi_size
        window = volume[:, depth : depth + rows, height : height + columns, width : width + slices]
        if self.air is not None and bool((window <= self.air).all()):
            return window.new_tensor(self.air).expand_as(window)
        return window

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


def _uniform_value(windows: list[Tensor]) -> Tensor | None:
    """Give the value of each channel, ``(C,)``, if all windows have it throughout."""
    value = windows[0].flatten(1)[:, 0]
    view = value.view(-1, 1, 1, 1)
    return value if all(bool((window == view).all()) for window in windows) else None


def _roll(ring: Tensor, rows: int) -> None:
    """Let go of the first rows of a ring; what is left moves to its front, row by row."""
    kept = max(ring.shape[1] - rows, 0)
    for row in range(kept):
        ring[:, row] = ring[:, row + rows]
    ring[:, kept:] = 0
