"""Slices through a case for a page of results: axial, coronal and sagittal, with a mask on them."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from volseg.data.reading import read_source, source_of
from volseg.data.volumes import require_same_grid
from volseg.errors import VolsegError
from volseg.evaluation.pairs import read_labels
from volseg.inference.gallery.colours import colour_of
from volseg.inference.gallery.planes import draw_planes
from volseg.inference.gallery.scan import find_focus, turn_upright
from volseg.inference.gallery.window import find_content, find_window
from volseg.workflows.pages import Shot, write_strip

PIXELS, BYTES = 320, 60_000
"""Of the longest edge of a slice, and most of a case's slices."""

NO_IMAGE = "no image is known, so that the mask is shown alone"


def draw_shots(
    values: NDArray[Any],
    labels: NDArray[Any],
    affine: NDArray[np.float64],
    colours: Mapping[int, str],
    focus: Collection[int] | None = None,
) -> list[Shot]:
    """Cut a case.

    Args:
        values: The image, ``(X, Y, Z)``.
        labels: What lies on it, on the same grid.
        affine: Voxel index to mm.
        colours: Colour of each label value; the others stay clear.
        focus: Label values through whose largest part the slices go; `None`: all but 0.

    Returns:
        The three slices.
    """
    scan = turn_upright(values, labels, affine)
    wanted = scan.labels if focus is None else np.isin(scan.labels, list(focus)).view(np.uint8)
    place = find_focus(replace(scan, labels=wanted))
    window = find_window(scan, place)
    box = find_content(scan, window)
    x, y, z = (at - cut.start for at, cut in zip(place, box, strict=True))
    planes = draw_planes(scan.crop(box), (x, y, z), window, colours, PIXELS, BYTES)
    return [Shot(f"{plane.name}, {plane.place}", plane.image, plane.mask) for plane in planes]


def draw_mask(
    title: str, mask: Path, image: Path | None, focus: Collection[int] | None = None
) -> str:
    """Draw a mask on its image.

    Args:
        title: What it is.
        mask: The label map.
        image: Its image; `None` if none is known.
        focus: As for `draw_shots`.

    Returns:
        HTML; if one of them cannot be read it says why.
    """
    try:
        labels, affine = read_labels(mask)
    except VolsegError as error:
        return write_strip(f"{title}; {error}", [])
    values, note = read_under(image, labels, affine)
    colours = {value: colour_of(value - 1) for value in np.unique(labels).tolist() if value}
    shots = draw_shots(values, labels, affine, colours, focus)
    return write_strip(f"{title}; {note}" if note else title, shots)


def read_under(
    image: Path | None, labels: NDArray[Any], affine: NDArray[np.float64]
) -> tuple[NDArray[Any], str]:
    """Read the image that lies under labels.

    Args:
        image: Its file; `None` if none is known.
        labels: The labels, which are shown themselves if there is no image.
        affine: Their voxel index to mm.

    Returns:
        The voxels, and why they are not those of the image; empty: they are.
    """
    alone = (labels > 0).astype(np.float32)
    if image is None:
        return alone, NO_IMAGE
    try:
        found = read_source(source_of(image))
        require_same_grid(
            (str(image), found.values.shape, found.affine), ("the mask", labels.shape, affine)
        )
    except VolsegError as error:
        return alone, f"the image cannot be shown: {error}"
    return found.values, ""
