"""Axial, coronal and sagittal slices, seen as radiologists see them, and masks to lay upon them.

The patient's right is on the left of the picture, the front or the top of the head at its top; a
sagittal slice looks to the left. All three share one scale, so that lengths can be compared.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from volseg.inference.gallery.case import Plane
from volseg.inference.gallery.scan import Index, Scan
from volseg.inference.gallery.window import Window

QUALITIES = (82, 70, 55, 40)
"""WebP qualities to try until the pictures are small enough."""

TINT = 60
"""Opacity of a class within its outline, of 255."""


@dataclass(frozen=True)
class View:
    """How one plane is cut.

    Args:
        name: What it is called.
        normal: The axis that it is perpendicular to.
        sides: Letters of the negative and the positive direction of that axis.
    """

    name: str
    normal: int
    sides: str


VIEWS = (View("axial", 2, "IS"), View("coronal", 1, "PA"), View("sagittal", 0, "LR"))


def draw_planes(
    scan: Scan,
    focus: Index,
    window: Window,
    colours: Mapping[int, str],
    longest: int,
    max_bytes: int,
) -> tuple[Plane, ...]:
    """Draw the three planes through a voxel.

    Args:
        scan: The scan.
        focus: The voxel.
        window: Black and white.
        colours: Colour of each label value.
        longest: Pixels of the scan's longest edge.
        max_bytes: Most bytes of the three together; quality goes first, then pixels.

    Returns:
        The planes.
    """
    while True:
        for quality in QUALITIES:
            planes = tuple(
                _draw(scan, view, focus, window, colours, (longest, quality)) for view in VIEWS
            )
            if sum(len(plane.image) + len(plane.mask) for plane in planes) <= max_bytes:
                return planes
        if longest < 32:
            return planes
        longest = longest * 3 // 4


def cut(volume: NDArray[Any], normal: int, index: int) -> NDArray[Any]:
    """Cut a slice from a volume that points rightwards, forwards and upwards.

    Args:
        volume: The volume, ``(X, Y, Z)``.
        normal: The axis to cut across.
        index: Where.

    Returns:
        Rows from top to bottom; each from the patient's right, or in a sagittal slice from the
        front.
    """
    at: list[slice | int] = [slice(None)] * 3
    at[normal] = index
    return volume[tuple(at)][::-1, ::-1].T


def paint_mask(labels: NDArray[Any], colours: Mapping[int, str]) -> NDArray[np.uint8]:
    """Tint each class and draw its outline.

    Args:
        labels: Label values, ``(rows, columns)``.
        colours: Colour of each value, ``#rrggbb``, or with the opacity of its tint ``#rrggbbaa``;
            the others stay clear.

    Returns:
        Red, green, blue and opacity, ``(rows, columns, 4)``.
    """
    values, ranks = np.unique(labels, return_inverse=True)
    table = np.zeros((len(values), 4), dtype=np.uint8)
    for rank, value in enumerate(values.tolist()):
        if value in colours:
            table[rank] = [*bytes.fromhex(colours[value][1:]), TINT][:4]
    painted: NDArray[np.uint8] = table[ranks.reshape(labels.shape)]
    around = np.pad(labels, 1, mode="edge")
    middle = (slice(1, -1), slice(1, -1))
    is_edge = np.zeros(labels.shape, dtype=bool)
    for axis in (0, 1):
        for by in (1, -1):
            is_edge |= np.roll(around, by, axis=axis)[middle] != labels
    painted[is_edge & (painted[..., 3] > 0), 3] = 255
    return painted


def _draw(
    scan: Scan,
    view: View,
    focus: Index,
    window: Window,
    colours: Mapping[int, str],
    detail: tuple[int, int],
) -> Plane:
    longest, quality = detail
    index = focus[view.normal]
    width, height = _pixels(scan, view.normal, longest)
    shades = window.grey(cut(scan.values, view.normal, index))
    image = Image.fromarray(np.rint(shades * 255).astype(np.uint8))
    labels = _nearest(cut(scan.labels, view.normal, index), (height, width))
    mask = Image.fromarray(paint_mask(labels, colours), mode="RGBA")
    at = scan.place(focus)[view.normal]
    return Plane(
        name=view.name,
        place=f"{view.sides[at >= 0]} {abs(at):.0f} mm",
        width=width,
        height=height,
        image=_webp(image.resize((width, height), Image.Resampling.LANCZOS), quality=quality),
        mask=_webp(mask, lossless=True) if np.any(labels) else b"",
    )


def _pixels(scan: Scan, normal: int, longest: int) -> tuple[int, int]:
    """Give width and height of a plane, by its lengths in mm."""
    lengths = scan.spacing * scan.values.shape
    across, up = np.delete(lengths, normal) * longest / lengths.max()
    return max(1, round(across)), max(1, round(up))


def _nearest(labels: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """Resize by taking the voxel that each pixel's centre lies in."""
    rows, columns = (
        ((np.arange(new) + 0.5) * old / new).astype(int)
        for new, old in zip(size, labels.shape, strict=True)
    )
    return labels[np.ix_(rows, columns)]


def _webp(image: Image.Image, **options: Any) -> bytes:
    stream = BytesIO()
    image.save(stream, "WEBP", method=4, **options)
    return stream.getvalue()
