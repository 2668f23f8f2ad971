"""The labels of a segmentation: value, name and colour."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from volseg.errors import DataError, GeometryError
from volseg.inference.gallery.colours import colour_of
from volseg.inference.outputs.order import in_file_order, slices_of

HIGHEST = 65535
"""The highest label value of NIfTI's and DICOM's 16-bit masks."""

Rgb = tuple[int, int, int]
"""Red, green and blue, 0 to 255."""


@dataclass(frozen=True)
class Label:
    """One label.

    Args:
        value: What its voxels hold, from 1.
        name: Its name, one line.
        color: Red, green and blue, 0 to 255.
    """

    value: int
    name: str
    color: Rgb

    @property
    def hex_color(self) -> str:
        """The colour as ``#rrggbb``."""
        return "#{:02x}{:02x}{:02x}".format(*self.color)


Legend = tuple[Label, ...]
"""The labels in the order of their values, without the background."""


def make_legend(classes: Mapping[int, str], colors: Mapping[int, Rgb] | None = None) -> Legend:
    """Give each label a name and a colour.

    Args:
        classes: Name of each label value; the background, 0, may be left out.
        colors: Colours of some label values; the others get those of the report.

    Returns:
        The labels.

    Raises:
        DataError: If there is no label, or a value, name or colour cannot be stored.
    """
    values = sorted(value for value in classes if value != 0)
    if not values or values[0] < 1 or values[-1] > HIGHEST:
        raise DataError(f"label values are {values}; give at least one from 1 to {HIGHEST}")
    legend, given = [], dict(colors or {})
    for index, value in enumerate(values):
        name = classes[value]
        color = given[value] if value in given else _parse(colour_of(index))
        if not name.strip() or not name.isprintable():
            raise DataError(f"label {value} has the name {name!r}; give one line of text")
        if len([*color]) != 3 or not all(0 <= part <= 255 for part in color):
            raise DataError(f"label {value} has the colour {color}; give three numbers to 255")
        legend.append(Label(value, name.strip(), color))
    return tuple(legend)


def require_labels(labels: NDArray[Any], shape: tuple[int, ...], legend: Legend) -> NDArray[Any]:
    """Refuse a mask that is not on its image's grid, or holds a value without a name.

    Args:
        labels: Label of each voxel, ``(X, Y, Z)``.
        shape: Shape of the image.
        legend: The labels.

    Returns:
        The mask in 8 bits, or in 16 if there are values above 255, in the order of files.

    Raises:
        GeometryError: If the shapes differ.
        DataError: If the mask holds other values.
    """
    if tuple(labels.shape) != tuple(shape):
        raise GeometryError(f"mask is {labels.shape} voxels and its image {tuple(shape)}")
    if labels.dtype.kind not in "iub":
        raise DataError(f"mask holds {labels.dtype}; give whole numbers")
    known = np.zeros(HIGHEST + 1, dtype=bool)
    known[[0, *(label.value for label in legend)]] = True
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high > HIGHEST:
        raise DataError(f"mask holds values from {low} to {high}; use 0 to {HIGHEST}")
    stored = in_file_order(labels, np.uint8 if legend[-1].value <= 255 >= high else np.uint16)
    for piece in slices_of(stored):  # for an index takes 64 bits a voxel
        unknown = piece[~known[piece]]
        if unknown.size:
            raise DataError(f"mask holds the value {unknown[0]}, which no class has; name it")
    return stored


def _parse(color: str) -> Rgb:
    red, green, blue = bytes.fromhex(color.removeprefix("#"))
    return red, green, blue
