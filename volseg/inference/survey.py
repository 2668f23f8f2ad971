"""What is noted of the probabilities beside the labels: how sure the network is, and maps.

All of it comes piece by piece while the probabilities pass, so that what is held is flat in the
number of classes and, with a folder for what is too large, in the size of the maps.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import log
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from volseg.data.export import Alignment, Box, align, read_values
from volseg.data.geometry import Grid, read_between, to_indices
from volseg.inference.scratch import Scratch

PIECE_BYTES = 16 << 20
"""Interpolated values that are held at once, in bytes."""

STEPS = 65535
"""Steps between nothing and the greatest value of a map."""

LARGEST_VARIANCE = 0.25
"""That of a probability which is 0 in half of the views and 1 in the others."""


@dataclass(frozen=True)
class NativeMap:
    """A map, or one for each class, on the grid of the image.

    Args:
        scratch: Whole steps, ``(K, X, Y, Z)``.
        slope: What a step is worth.
        names: What each is.
    """

    scratch: Scratch
    slope: float
    names: tuple[str, ...]

    @property
    def values(self) -> NDArray[np.float32]:
        """The numbers, ``(X, Y, Z)``, or ``(K, X, Y, Z)`` if there are several maps."""
        values = self.scratch.values * np.float32(self.slope)
        return values if len(values) > 1 else values[0]


class Survey:
    """Takes notes of the probabilities of one image.

    Args:
        num_classes: Channels that are classes; a channel after them is the variance over views.
            `None`: all are.
        maps: Any of ``probabilities``, ``entropy`` and ``variance``.
        folder: Where maps lie until they are written; `None`: in memory.
    """

    def __init__(
        self, num_classes: int | None = None, maps: Sequence[str] = (), folder: Path | None = None
    ) -> None:
        self.num_classes = num_classes
        self.maps = tuple(maps)
        self.folder = folder
        self._total = 0.0
        self._count = 0
        self._charts: dict[str, Scratch] = {}

    @property
    def confidence(self) -> float | None:
        """The mean probability of the chosen class where it is not the background."""
        return self._total / self._count if self._count else None

    def chances(self, logits: Tensor) -> Tensor:
        """Turn logits into probabilities.

        Args:
            logits: ``(C, X, Y, Z)``.

        Returns:
            Probabilities of the classes; what follows them is left as it is.
        """
        if len(logits) == (self.num_classes or len(logits)):
            return logits.softmax(0)
        return torch.cat([logits[: self.num_classes].softmax(0), logits[self.num_classes :]])

    def classes_of(self, values: Tensor) -> Tensor:
        """Leave out what is no class.

        Args:
            values: ``(C, X, Y, Z)``.

        Returns:
            ``(K, X, Y, Z)``.
        """
        return values[: self.num_classes]

    def count(self, values: Tensor) -> None:
        """Note how sure the network is; each voxel of its grid is to come once.

        Args:
            values: What `chances` gave, or a part of it.
        """
        if not values[0].numel():
            return
        best = self.classes_of(values).amax(0)
        sure = best[best > values[0]]
        self._total += float(sure.cpu().sum(dtype=torch.float64))
        self._count += sure.numel()

    def chart(self, values: Tensor, alignment: Alignment, box: Box, offset: Sequence[int]) -> None:
        """Draw a box of the maps; the grids share their axes.

        Args:
            values: What `chances` gave, on a part of the network's grid.
            alignment: How the image's grid reads the network's.
            box: A box of the image; boxes come along the network's first axis.
            offset: First voxel of that part.
        """
        if not self.maps:
            return
        shape = [len(axis.lower) for axis in alignment.axes]
        self._open(shape, len(self.classes_of(values)), alignment.order.index(0))
        for piece in _cut(box, PIECE_BYTES // (16 * len(values))):
            read, inside = read_values(values, alignment, piece, offset)
            self._draw(piece, read, inside)
        self._let_go()

    def chart_all(self, values: Tensor, affine: NDArray[np.float64], native: Grid) -> None:
        """Draw the maps at once, from what `chances` gave on the network's whole grid.

        Args:
            values: ``(C, X, Y, Z)``.
            affine: From the indices of these voxels to mm, ``(4, 4)``.
            native: The grid of the image's file.
        """
        shape = (native.shape[0], native.shape[1], native.shape[2])
        to_source = to_indices(Grid(tuple(values.shape[1:]), affine), native)
        alignment = align(to_source, values.shape[1:], shape)
        whole = slice(0, shape[0]), slice(0, shape[1]), slice(0, shape[2])
        if alignment is not None:
            self.chart(values, alignment, whole, (0, 0, 0))
        elif self.maps:
            self._open(shape, len(self.classes_of(values)), 0)
            for piece in _cut(whole, PIECE_BYTES // (16 * len(values))):
                self._draw(piece, *read_between(values, to_source, piece))
                self._let_go()

    def finish(self, classes: Mapping[int, str]) -> dict[str, NativeMap]:
        """Give the maps.

        Args:
            classes: Name of each class.

        Returns:
            The maps that were asked for, by name.
        """
        scales = {"entropy": log(len(classes)), "variance": LARGEST_VARIANCE}
        return {
            name: NativeMap(
                scratch,
                float(np.float32(scales.get(name, 1.0) / STEPS)),
                tuple(classes.values()) if name == "probabilities" else (name,),
            )
            for name, scratch in self._charts.items()
        }

    def _open(self, shape: Sequence[int], num_classes: int, along: int) -> None:
        for name in self.maps:
            if name not in self._charts:
                count = num_classes if name == "probabilities" else 1
                size = (count, shape[0], shape[1], shape[2])
                self._charts[name] = Scratch(size, along, self.folder)

    def _let_go(self) -> None:
        for chart in self._charts.values():
            chart.let_go()

    def _draw(self, box: Box, values: Tensor, inside: Tensor) -> None:
        """Fill a box; beyond the network's grid all is background, which is certain."""
        outside = ~inside.to(values.device)
        chances, rest = self.classes_of(values), values[len(self.classes_of(values)) :]
        chances[:, outside] = 0
        chances[0, outside] = 1
        for name, chart in self._charts.items():
            if name == "probabilities":
                shares = chances
            elif name == "entropy":
                shares = -torch.special.xlogy(chances, chances).sum(0, keepdim=True)
                shares = shares / log(len(chances))
            else:
                shares = rest.masked_fill(outside, 0) / LARGEST_VARIANCE
            steps = (shares * STEPS).round_().clamp_(0, STEPS)
            chart.values[(slice(None), *box)] = steps.to(torch.int32).cpu().numpy()


def _cut(box: Box, most: int) -> Iterator[Box]:
    """Cut a box into such of at most so many voxels, or a line along the third axis if need be."""
    lengths = [part.stop - part.start for part in box]
    columns = max(1, min(lengths[1], most // max(1, lengths[2])))
    rows = max(1, min(lengths[0], most // max(1, lengths[1] * lengths[2])))
    firsts = range(box[0].start, box[0].stop, rows)
    seconds = range(box[1].start, box[1].stop, columns if rows == 1 else lengths[1])
    for first, second in product(firsts, seconds):
        end = second + (columns if rows == 1 else lengths[1])
        yield (
            slice(first, min(first + rows, box[0].stop)),
            slice(second, min(end, box[1].stop)),
            box[2],
        )
