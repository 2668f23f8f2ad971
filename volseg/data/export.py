"""From class probabilities on the network's grid to labels on the image's own, tile by tile.

Where the two grids share their axes (as they do after reorienting and resampling), linear
interpolation is done one axis after another. Within a tile only those classes are interpolated that
can win somewhere in it: what is interpolated never leaves the range of its neighbours, so a class
whose maximum lies below the minimum of another cannot. The labels are those of interpolating all
of them, and neither time nor memory grows much with the number of classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from volseg.errors import GeometryError

REACH = 1.0
"""How far beyond the outermost centres, in voxels, the nearest value still holds: resampling rounds
the number of voxels, so that the network's grid may end up to one of its voxels too early."""

WHOLE = 1e-4
"""A place this close to a voxel's centre, in voxels, is that voxel."""

TILE = 16
"""Voxels of the network's grid along each edge of a tile."""

ROUNDING = 1e-5
"""How far rounding may lift an interpolated value above its neighbours, relative to the largest."""

Box = tuple[slice, slice, slice]
"""A range of voxels along each axis, with whole starts and stops."""


@dataclass(frozen=True)
class AxisReading:
    """Between which voxels of one axis of the network's grid an axis of the image's reads.

    Args:
        axis: The axis of the network's grid, 0 to 2.
        lower: Voxel below each voxel of the image's axis, ``(N,)``.
        upper: Voxel above it; the same where nothing is to be interpolated.
        weight: Share of the upper voxel, float32.
        inside: `False` beyond the network's grid, where all is background.
    """

    axis: int
    lower: Tensor
    upper: Tensor
    weight: Tensor
    inside: Tensor

    def span(self, part: slice) -> slice:
        """Give the voxels of the network's axis that a part of the image's axis reads.

        Args:
            part: Voxels of the image's axis, at least one.

        Returns:
            Their range.
        """
        lower, upper = self.lower[part], self.upper[part]
        return slice(int(lower.min()), int(upper.max()) + 1)


@dataclass(frozen=True)
class Alignment:
    """How an image's grid reads a network's grid that has the same axes.

    Args:
        axes: One reading an axis of the image.
    """

    axes: tuple[AxisReading, AxisReading, AxisReading]

    @property
    def order(self) -> list[int]:
        """Axes of the network's grid in the order of the image's."""
        return [reading.axis for reading in self.axes]


def align(
    to_source: NDArray[np.float64], shape: Sequence[int], native_shape: Sequence[int]
) -> Alignment | None:
    """Read one grid along the axes of another, if they share them.

    Args:
        to_source: From the image's voxel indices to the network's, ``(4, 4)``.
        shape: Voxels of the network's grid along each axis.
        native_shape: Voxels of the image's grid along each axis.

    Returns:
        The readings; `None` if an axis of one is oblique to the axes of the other.
    """
    linear = to_source[:3, :3]
    axes = [int(axis) for axis in np.abs(linear).argmax(axis=0)]
    if sorted(axes) != [0, 1, 2]:
        return None
    others = np.abs(linear)
    others[axes, [0, 1, 2]] = 0
    if (others @ (np.asarray(native_shape) - 1)).max() > WHOLE:
        return None
    first, second, third = (
        _read_axis(axis, linear[axis, native], to_source[axis, 3], shape[axis], length)
        for native, (axis, length) in enumerate(zip(axes, native_shape, strict=True))
    )
    return Alignment((first, second, third))


def read_labels(
    values: Tensor, alignment: Alignment, box: Box, offset: Sequence[int] = (0, 0, 0)
) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """Give the most probable class of each voxel of a box of the image.

    Args:
        values: Probability (or logit) of each class on a part of the network's grid that holds all
            that the box reads, ``(K, X, Y, Z)``.
        alignment: How the image's grid reads the network's.
        box: The box of the image.
        offset: First voxel of that part along each axis of the network's grid.

    Returns:
        Classes, in the image's axis order, 8-bit unless there are more than 256. Values that are no
        numbers are refused with a `GeometryError`.
    """
    order = alignment.order
    plain = values.permute(0, *(axis + 1 for axis in order))
    shift = [offset[axis] for axis in order]
    shape = [part.stop - part.start for part in box]
    labels: NDArray[Any] = np.zeros(shape, np.uint8 if len(values) <= 256 else np.uint16)
    pairs = zip(alignment.axes, box, strict=True)
    for tile in product(*(_cut(reading, part) for reading, part in pairs)):
        found = _read_tile(plain, alignment.axes, tile, shift)
        target = [
            slice(each.start - part.start, each.stop - part.start)
            for each, part in zip(tile, box, strict=True)
        ]
        labels[tuple(target)] = found
    for axis, (reading, part) in enumerate(zip(alignment.axes, box, strict=True)):
        outside = (~reading.inside[part]).nonzero().flatten().numpy()
        if outside.size:
            np.moveaxis(labels, axis, 0)[outside] = 0
    return labels


def read_values(
    values: Tensor, alignment: Alignment, box: Box, offset: Sequence[int] = (0, 0, 0)
) -> tuple[Tensor, Tensor]:
    """Interpolate all channels in a box of the image.

    Args:
        values: Numbers on a part of the network's grid that holds all that the box reads,
            ``(C, X, Y, Z)``.
        alignment: How the image's grid reads the network's.
        box: The box of the image.
        offset: First voxel of that part along each axis of the network's grid.

    Returns:
        The numbers in the image's axis order, ``(C, *box)``, and which voxels of the box lie on the
        network's grid.
    """
    order = alignment.order
    read = values.permute(0, *(axis + 1 for axis in order))
    pairs = list(zip(alignment.axes, box, strict=True))
    spans = [reading.span(part) for reading, part in pairs]
    moved = [
        slice(span.start - offset[axis], span.stop - offset[axis])
        for axis, span in zip(order, spans, strict=True)
    ]
    read = read[(slice(None), *moved)].float()
    inside = torch.ones([1, 1, 1], dtype=torch.bool)
    for axis, (reading, part) in enumerate(pairs, start=1):
        read = _lerp(read, reading, part, spans[axis - 1].start, axis)
        view = [1, 1, 1]
        view[axis - 1] = -1
        inside = inside & reading.inside[part].view(view)
    return read, inside


def _read_axis(axis: int, step: float, first: float, size: int, length: int) -> AxisReading:
    places = step * np.arange(length) + first
    whole = np.rint(places)
    places = np.where(np.abs(places - whole) < WHOLE, whole, places)
    inside = (places >= -REACH - WHOLE) & (places <= size - 1 + REACH + WHOLE)
    held = places.clip(0, size - 1)
    lower = np.floor(held).astype(np.int64)
    weight = (held - lower).astype(np.float32)
    upper = np.where(weight > 0, np.minimum(lower + 1, size - 1), lower)
    arrays = (torch.from_numpy(array) for array in (lower, upper, weight, inside))
    return AxisReading(axis, *arrays)


def _cut(reading: AxisReading, part: slice) -> list[slice]:
    """Cut a range of the image's axis where the network's tiles end."""
    tiles = reading.lower[part].div(TILE, rounding_mode="floor")
    ends = (tiles[1:] != tiles[:-1]).nonzero().flatten() + 1 + part.start
    edges = [part.start, *ends.tolist(), part.stop]
    return [slice(*pair) for pair in pairwise(edges)]


def _read_tile(
    plain: Tensor, axes: Sequence[AxisReading], tile: Sequence[slice], shift: Sequence[int]
) -> Any:
    """Give the classes of one tile: one for all, or one a voxel."""
    spans = [reading.span(part) for reading, part in zip(axes, tile, strict=True)]
    moved = [
        slice(span.start - first, span.stop - first)
        for span, first in zip(spans, shift, strict=True)
    ]
    region = plain[(slice(None), *moved)].flatten(1)
    highest, lowest = region.amax(1), region.amin(1)
    floor = lowest.max() - ROUNDING * highest.abs().max()
    candidates = (highest >= floor).nonzero().flatten()
    if len(candidates) == 0:
        raise GeometryError("the network gave values that are no numbers (NaN); no class can win")
    if len(candidates) == 1:
        return int(candidates)
    size = [span.stop - span.start for span in spans]
    read = region[candidates].reshape(-1, *size).float()
    for axis, (reading, part, span) in enumerate(zip(axes, tile, spans, strict=True), start=1):
        read = _lerp(read, reading, part, span.start, axis)
    return candidates[read.argmax(0)].cpu().numpy()


def _lerp(values: Tensor, reading: AxisReading, part: slice, first: int, axis: int) -> Tensor:
    """Interpolate along one axis."""
    place = values.device
    lower = values.index_select(axis, (reading.lower[part] - first).to(place))
    weight = reading.weight[part]
    if not bool(weight.any()):
        return lower
    upper = values.index_select(axis, (reading.upper[part] - first).to(place))
    view = [1, 1, 1, 1]
    view[axis] = -1
    return torch.lerp(lower, upper, weight.view(view).to(place))
