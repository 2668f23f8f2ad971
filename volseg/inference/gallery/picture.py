"""Pictures of a case: three slices through its largest lesion, and copies for the viewer."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from volseg.inference.gallery.case import CasePicture, ShownClass
from volseg.inference.gallery.colours import colour_of
from volseg.inference.gallery.planes import draw_planes
from volseg.inference.gallery.preview import make_preview
from volseg.inference.gallery.scan import find_classes, find_focus, turn_upright
from volseg.inference.gallery.window import find_content, find_window

MOST_CLASSES = 255
"""What a byte can tell apart, background aside."""


@dataclass(frozen=True)
class PictureLimits:
    """How large the pictures of a case may be.

    Args:
        longest_pixels: Pixels of the scan's longest edge.
        plane_bytes: Most bytes of the three slices; a page holds them a third larger, as base64.
        preview_bytes: Most bytes of the copies for the viewer; 0 makes none.
    """

    longest_pixels: int = 400
    plane_bytes: int = 45_000
    preview_bytes: int = 112_000


def make_picture(
    values: NDArray[Any],
    labels: NDArray[Any],
    affine: NDArray[np.float64],
    *,
    classes: Mapping[int, str] | None = None,
    edge_mm: float = 1.0,
    limits: PictureLimits | None = None,
) -> CasePicture:
    """Draw a case.

    Args:
        values: The image, ``(X, Y, Z)``, on any grid.
        labels: Its label map, of whole numbers from 0.
        affine: Index to mm, ``(4, 4)``.
        classes: Name of each label value; also says which value has which colour.
        edge_mm: Voxel edge that the viewer's copy does not go below, in mm.
        limits: How large the pictures may be.

    Returns:
        Its pictures.
    """
    limits = limits or PictureLimits()
    scan = turn_upright(values, labels, affine)
    window = find_window(scan, find_focus(scan))
    scan = scan.crop(find_content(scan, window))
    focus = find_focus(scan)
    found = dict(islice(find_classes(scan.labels).items(), MOST_CLASSES))
    shown = _shown(list(found), classes or {})
    colours = {value: item.colour for value, item in zip(found, shown, strict=True)}
    planes = draw_planes(scan, focus, window, colours, limits.longest_pixels, limits.plane_bytes)
    edges, image, small = (0.0, 0.0, 0.0), b"", b""
    if limits.preview_bytes:
        preview = make_preview(scan, window, found, limits.preview_bytes, edge_mm)
        edges, image, small = preview.edges, preview.image, preview.labels
    return CasePicture(planes, shown, scan.place(focus), edges, image, small)


def _shown(found: list[int], classes: Mapping[int, str]) -> tuple[ShownClass, ...]:
    """Name and colour the classes; a class has its colour even in a case that lacks others."""
    order = {value: index for index, value in enumerate(sorted(v for v in classes if v > 0))}
    return tuple(
        ShownClass(
            rank, classes.get(value, f"label {value}"), colour_of(order.get(value, value - 1))
        )
        for rank, value in enumerate(found, start=1)
    )
