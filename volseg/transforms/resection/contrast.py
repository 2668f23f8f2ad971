"""How bright each part of a resection is, contrast by contrast, relative to the scan's own tissue.

A part that is not in the table of a contrast does not show on it. Every entry is a way between two
of the channel's own levels and a range on it, as "0.9 to 1.1 of the way from air to grey matter".
Where in the range a resection lies is drawn once and shared by all its channels. CT has a unit, and
its entries are Hounsfield units. The numbers are priors from how such scans read; none was fitted.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from volseg.errors import DataError
from volseg.transforms.resection.statistics import TissueStatistics
from volseg.transforms.resection.streams import PLACES, open_stream

CONTRASTS = ("T1", "T1c", "T2", "FLAIR", "PD", "CT", "unknown")
"""``unknown`` reads the order of the channel's own tissues, as of a synthetic contrast."""

PARTS = (
    "fluid",
    "protein",
    "clot",
    "old_clot",
    "septa",
    "air",
    "rim",
    "enhancement",
    "gliosis",
    "cut_bone",
    "plate",
    "collection",
)


@dataclass(frozen=True)
class Way:
    """A range on the way between two levels.

    Args:
        start: Level at 0.
        stop: Level at 1.
        least: Where the range begins.
        most: Where it ends.
    """

    start: str
    stop: str
    least: float
    most: float


@dataclass(frozen=True)
class Palette:
    """The intensities of one channel.

    Args:
        levels: Intensity of each of `PARTS` that shows on this contrast.
        white: Of the white matter.
    """

    levels: Mapping[str, float]
    white: float


OLD_STAGES = ("subacute", "chronic")
"""Blood is weeks old: a clot then has the level of ``old_clot``."""


def draw_places(seed: int) -> dict[str, float]:
    """Draw where in its range each part lies.

    Args:
        seed: Of the resection.

    Returns:
        A number from 0 to 1 for each of `PARTS`.
    """
    drawn = torch.rand(len(PARTS), generator=open_stream(seed, PLACES)).tolist()
    return dict(zip(PARTS, drawn, strict=True))


def mix_palette(
    contrast: str,
    statistics: TissueStatistics,
    places: Mapping[str, float],
    stage: str = "early",
) -> Palette:
    """Find the intensities of a channel.

    Args:
        contrast: One of `CONTRASTS`.
        statistics: Of the channel.
        places: Where in its range each part lies, as `draw_places` gives.
        stage: One of `STAGES`. In ``unknown`` blood, protein and gliosis have any brightness, save
            on CT, which has a unit.

    Returns:
        The palette.

    Raises:
        DataError: If the contrast is not known.
    """
    if contrast not in CONTRASTS:
        raise DataError(f"contrast {contrast!r} is not known; use one of {', '.join(CONTRASTS)}")
    kind = recognise(statistics) if contrast == "unknown" else contrast
    known = known_levels(statistics)
    table = {**_COMMON, **_TABLE[kind]}
    if stage == "unknown" and contrast != "CT":
        table.update(_ANY)
    levels = {}
    for part, way in table.items():
        place = way.least + places[part] * (way.most - way.least)
        levels[part] = known[way.start] + place * (known[way.stop] - known[way.start])
    if stage in OLD_STAGES:
        levels["clot"] = levels["old_clot"]
    return Palette(levels, statistics.white[0])


def recognise(statistics: TissueStatistics) -> str:
    """Tell which contrast a channel resembles, by the order of its tissues.

    Args:
        statistics: Of the channel.

    Returns:
        T1 if fluid is darkest and white matter brightest, FLAIR if grey matter is brightest and
        fluid darkest, T2 if fluid is brightest, else PD.
    """
    fluid, grey, white = (each[0] for each in (statistics.fluid, statistics.grey, statistics.white))
    if fluid <= min(grey, white):
        return "T1" if white >= grey else "FLAIR"
    return "T2" if fluid >= max(grey, white) else "PD"


def known_levels(statistics: TissueStatistics) -> dict[str, float]:
    """Name the levels between which a `Way` may lead.

    Args:
        statistics: Of the channel.

    Returns:
        Intensity of each; the last two are Hounsfield units.
    """
    return {
        "low": statistics.low,
        "high": statistics.high,
        "fluid": statistics.fluid[0],
        "grey": statistics.grey[0],
        "white": statistics.white[0],
        "zero": 0.0,
        "hundred": 100.0,
    }


_COMMON = {
    "air": Way("low", "low", 0, 0),
    "cut_bone": Way("low", "grey", 0.05, 0.4),
    "plate": Way("low", "low", 0, 0),
    "collection": Way("fluid", "grey", 0, 0.3),
}

_ANY = {
    "protein": Way("fluid", "white", -0.1, 0.8),
    "clot": Way("low", "high", 0.1, 1.1),
    "gliosis": Way("white", "fluid", -0.6, 1.0),
}

_T1 = {
    "fluid": Way("fluid", "grey", 0, 0.08),
    "protein": Way("fluid", "grey", 0.15, 0.4),
    "clot": Way("low", "grey", 0.9, 1.1),
    "old_clot": Way("low", "white", 1.2, 1.6),
    "septa": Way("fluid", "grey", 0.4, 0.9),
    "rim": Way("low", "white", 0.5, 0.8),
    "gliosis": Way("low", "white", 0.65, 0.9),
}

_TABLE: dict[str, dict[str, Way]] = {
    "T1": _T1,
    "T1c": {**_T1, "enhancement": Way("low", "white", 1.3, 2.0)},
    "T2": {
        "fluid": Way("fluid", "grey", 0, 0.08),
        "protein": Way("fluid", "grey", 0.05, 0.25),
        "clot": Way("low", "fluid", 0.3, 0.6),
        "old_clot": Way("low", "fluid", 0.7, 0.85),
        "septa": Way("fluid", "grey", 0.5, 1.0),
        "rim": Way("low", "white", 0.2, 0.5),
        "gliosis": Way("white", "fluid", 0.25, 0.7),
    },
    "FLAIR": {
        "fluid": Way("fluid", "white", 0, 0.1),
        "protein": Way("fluid", "white", 0.3, 0.9),
        "clot": Way("low", "white", 0.6, 0.9),
        "old_clot": Way("low", "white", 1.2, 1.5),
        "septa": Way("low", "white", 0.9, 1.4),
        "rim": Way("low", "white", 0.3, 0.6),
        "gliosis": Way("low", "white", 1.3, 2.0),
    },
    "PD": {
        "fluid": Way("fluid", "grey", 0, 0.15),
        "protein": Way("fluid", "grey", 0.2, 0.6),
        "clot": Way("low", "grey", 0.7, 1.0),
        "old_clot": Way("low", "grey", 1.0, 1.2),
        "septa": Way("fluid", "grey", 0.4, 1.0),
        "rim": Way("low", "white", 0.4, 0.7),
        "gliosis": Way("low", "white", 1.1, 1.4),
    },
    "CT": {
        "fluid": Way("zero", "hundred", 0.02, 0.12),
        "protein": Way("zero", "hundred", 0.15, 0.25),
        "clot": Way("zero", "hundred", 0.55, 0.75),
        "old_clot": Way("zero", "hundred", 0.2, 0.35),
        "septa": Way("zero", "hundred", 0.2, 0.3),
        "air": Way("zero", "hundred", -10, -9.8),
        "gliosis": Way("zero", "hundred", 0.14, 0.22),
        "cut_bone": Way("zero", "hundred", 0, 0.3),
        "plate": Way("zero", "hundred", 25, 29),
        "collection": Way("zero", "hundred", 0.05, 0.25),
    },
}
