"""Labels on an image's own grid while the windows are still being computed.

The window sweeps the volume along its first axis. As soon as a slab of logits is final it becomes
probabilities, these become labels of those voxels of the image that read it, and it is forgotten.
What is held grows with the area of a slice and not with the length of the volume; where even that
is too much, the second axis is cut into bands, one sweep each. The labels are those of computing
all at once.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from volseg.data.export import Alignment, Box, align, read_labels
from volseg.data.geometry import Grid, to_indices
from volseg.inference.sliding_window import SlidingWindow
from volseg.inference.survey import Survey
from volseg.types import Size

CHUNK_BYTES = 64 << 20
"""Probabilities that are computed at once, in bytes."""

SHARED_ROWS = 2
"""Rows that a band reads of its neighbours."""


def stream_labels(
    volume: Tensor,
    grid: Grid,
    native: Grid,
    network: Callable[[Tensor], Any],
    inferer: SlidingWindow,
    num_bands: int = 1,
    survey: Survey | None = None,
) -> NDArray[np.integer] | None:
    """Segment a volume slab by slab.

    Args:
        volume: ``(C, X, Y, Z)``, on the device of the network.
        grid: Where its voxels lie.
        native: The image's own grid.
        network: From windows ``(N, C, d, h, w)`` to logits ``(N, K, d, h, w)``.
        inferer: Places and blends the windows.
        num_bands: Sweeps to divide the volume into.
        survey: Takes notes of the probabilities.

    Returns:
        Class of each voxel of the image; `None` if its axes are oblique to those of the volume,
        whose logits are then needed all at once.
    """
    alignment = align(to_indices(grid, native), grid.shape, native.shape)
    if alignment is None:
        return None
    across = alignment.order.index(1)
    labels: NDArray[np.integer] = np.zeros(native.shape, np.uint8)
    bands = cut_evenly(native.shape[across], num_bands)
    spans = [alignment.axes[across].span(band) for band in bands]
    for band, span, own in zip(bands, spans, share_rows(spans, grid.shape[1]), strict=True):
        first, last = min(span.start, own.start), max(span.stop, own.stop)
        slabs = inferer.sweep(volume, network, slice(first, last))
        sweep = _Sweep(alignment, band, first, own, survey or Survey())
        for box, found in sweep.read(slabs):
            if found.dtype != labels.dtype:
                labels = labels.astype(found.dtype)
            labels[box] = found
    return labels


def count_bands(shape: Size, roi: int, num_classes: int, limit: int) -> int | None:
    """Find how many bands keep the logits that are held below a limit.

    Args:
        shape: Voxels of the volume along each axis.
        roi: Voxels of a window along the first axis.
        num_classes: Classes, background included.
        limit: Bytes that the logits may take.

    Returns:
        Number of bands; `None` if `least_bytes` is more than the limit.
    """
    _, height, width = shape
    rows = (limit - CHUNK_BYTES) // (4 * num_classes * roi * width) - SHARED_ROWS
    return None if rows < 1 else min(height, -(-height // rows))


def least_bytes(shape: Size, roi: int, num_classes: int) -> int:
    """Tell what is held when each band is a single row.

    Args:
        shape: Voxels of the volume along each axis.
        roi: Voxels of a window along the first axis.
        num_classes: Classes, background included.

    Returns:
        Bytes.
    """
    return 4 * num_classes * roi * shape[2] * (1 + SHARED_ROWS) + CHUNK_BYTES


def cut_evenly(length: int, parts: int) -> list[slice]:
    """Cut a range into parts of nearly equal length.

    Args:
        length: The range's length.
        parts: Number of parts, at most ``length``.

    Returns:
        The parts, in order.

    Examples:
        >>> cut_evenly(7, 3)
        [slice(0, 2, None), slice(2, 4, None), slice(4, 7, None)]
    """
    edges = [length * part // parts for part in range(parts + 1)]
    return [slice(*pair) for pair in pairwise(edges)]


def share_rows(spans: Sequence[slice], length: int) -> list[slice]:
    """Give each row of an axis to one of the bands that read it, or to one beside it.

    Args:
        spans: Rows that each band reads; they may overlap, leave gaps, and come in any order.
        length: Rows of the axis.

    Returns:
        Rows of each band; together they are all rows, once.

    Examples:
        >>> share_rows([slice(4, 8), slice(0, 5)], 9)
        [slice(4, 9, None), slice(0, 4, None)]
    """
    order = sorted(range(len(spans)), key=lambda band: spans[band].start)
    edges = [0, *(spans[band].start for band in order[1:]), length]
    shares = dict(zip(order, pairwise(edges), strict=True))
    return [slice(*shares[band]) for band in range(len(spans))]


@dataclass(frozen=True)
class _Sweep:
    """What a sweep of one band makes final.

    Args:
        alignment: How the image's grid reads the network's.
        band: Rows of the image.
        left: First row of the network's grid in a slab.
        own: Rows of the network's grid that this band alone accounts for.
        survey: Takes notes.
    """

    alignment: Alignment
    band: slice
    left: int
    own: slice
    survey: Survey

    def read(self, slabs: Iterator[tuple[int, Tensor]]) -> Iterator[tuple[Box, NDArray[Any]]]:
        """Give boxes of labels."""
        along = self.alignment.order.index(0)
        reading = self.alignment.axes[along]
        waiting = torch.ones(len(reading.lower), dtype=torch.bool)
        held: Tensor | None = None
        for first, logits in _chunks(slabs):
            values = self.survey.chances(logits)
            self.survey.count(values[:, :, self.own.start - self.left : self.own.stop - self.left])
            held = values if held is None else torch.cat([held, values], dim=1)
            end = first + values.shape[1]
            start = end - held.shape[1]
            ready = (waiting & (reading.upper < end)).nonzero().flatten()
            if len(ready):
                waiting[ready] = False
                box = self._box(along, slice(int(ready[0]), int(ready[-1]) + 1))
                place = (start, self.left, 0)
                self.survey.chart(held, self.alignment, box, place)
                yield box, read_labels(self.survey.classes_of(held), self.alignment, box, place)
            still = reading.lower[waiting]
            needed = int(still.min()) if len(still) else end
            held = held[:, min(needed, end) - start :].clone()

    def _box(self, along: int, part: slice) -> Box:
        box = [slice(0, len(axis.lower)) for axis in self.alignment.axes]
        box[self.alignment.order.index(1)], box[along] = self.band, part
        return box[0], box[1], box[2]


def _chunks(slabs: Iterator[tuple[int, Tensor]]) -> Iterator[tuple[int, Tensor]]:
    """Cut slabs into pieces whose probabilities are small."""
    for first, slab in slabs:
        row = 4 * slab[:, 0].numel()
        step = max(1, CHUNK_BYTES // row)
        for start in range(0, slab.shape[1], step):
            yield first + start, slab[:, start : start + step]
