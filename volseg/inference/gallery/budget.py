"""How large the page becomes, and which cases bring pictures and volumes into it."""

from collections.abc import Sequence
from dataclasses import dataclass

from volseg.inference.gallery.case import CasePicture, ReportCase
from volseg.inference.gallery.picture import PictureLimits

SHELL_BYTES = 60_000
"""The page without cases: markup, style, script and licences."""

VIEWER_BYTES = 1_060_000
"""The viewer's script, compressed, as base64."""

ROW_BYTES = 4_000
"""A row with names of ordinary length."""


@dataclass(frozen=True)
class PageLimits:
    """How large the page may become.

    Args:
        max_bytes: Bytes of the page. Volumes are left out first, then pictures; rows never.
        max_viewers: Most cases whose volumes are in the page.
    """

    max_bytes: int = 120_000_000
    max_viewers: int = 200


@dataclass(frozen=True)
class Contents:
    """What is in the page.

    Args:
        pictured: Positions of the cases with pictures.
        viewable: Positions of the cases with volumes for the viewer.
    """

    pictured: frozenset[int]
    viewable: frozenset[int]


def choose_contents(cases: Sequence[ReportCase], limits: PageLimits) -> Contents:
    """Choose the cases that bring pictures and volumes; those with flags come first.

    Args:
        cases: The cases.
        limits: How large the page may become.

    Returns:
        What is in the page.
    """
    order = sorted(range(len(cases)), key=lambda index: not cases[index].flags)
    room = limits.max_bytes - SHELL_BYTES - ROW_BYTES * len(cases)
    pictured: set[int] = set()
    viewable: set[int] = set()
    for index in order:
        picture = cases[index].picture
        if picture is not None and _plane_bytes(picture) <= room:
            room -= _plane_bytes(picture)
            pictured.add(index)
    room -= VIEWER_BYTES
    for index in order:
        picture = cases[index].picture
        if picture is None or not picture.image or len(viewable) == limits.max_viewers:
            continue
        size = base64_size(len(picture.image)) + base64_size(len(picture.labels))
        if index in pictured and size <= room:
            room -= size
            viewable.add(index)
    return Contents(frozenset(pictured), frozenset(viewable))


def predict_bytes(
    num_cases: int, page: PageLimits | None = None, picture: PictureLimits | None = None
) -> int:
    """Predict the most bytes that a page of some cases takes, before there are any.

    Args:
        num_cases: Number of cases.
        page: How large the page may become.
        picture: How large the pictures of a case may become.

    Returns:
        Bytes.
    """
    page, picture = page or PageLimits(), picture or PictureLimits()
    rows = SHELL_BYTES + VIEWER_BYTES + num_cases * ROW_BYTES
    planes = num_cases * base64_size(picture.plane_bytes)
    volumes = min(num_cases, page.max_viewers) * base64_size(picture.preview_bytes)
    return max(min(rows + planes + volumes, page.max_bytes), rows - VIEWER_BYTES)


def base64_size(num_bytes: int) -> int:
    """Give the length of some bytes as base64.

    Args:
        num_bytes: Number of bytes.

    Returns:
        Number of characters.
    """
    return -(-num_bytes // 3) * 4


def _plane_bytes(picture: CasePicture) -> int:
    return sum(base64_size(len(p.image)) + base64_size(len(p.mask)) for p in picture.planes)
