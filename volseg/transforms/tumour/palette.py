"""How bright each part of a tumour is, contrast by contrast, relative to the scan's own tissue.

As in `volseg.transforms.resection.contrast`, every entry is a way between two of the channel's own
levels and a range on it; where in the range a tumour lies is drawn once and shared by all its
channels, and CT has Hounsfield units. The numbers are priors from how such scans read; none was
fitted.
"""

from collections.abc import Mapping

import torch

from volseg.errors import DataError
from volseg.transforms.resection.contrast import (
    CONTRASTS,
    Palette,
    Way,
    known_levels,
    recognise,
)
from volseg.transforms.resection.statistics import TissueStatistics
from volseg.transforms.resection.streams import PLACES, open_stream
from volseg.transforms.tumour.tumour import Tumour

PARTS = ("necrosis", "quiet", "enhancing", "oedema")

_T1 = {
    "necrosis": Way("fluid", "grey", 0.05, 0.65),
    "quiet": Way("low", "grey", 0.72, 1.0),
    "enhancing": Way("low", "grey", 0.8, 1.08),
    "oedema": Way("low", "white", 0.68, 0.9),
}

TABLE: Mapping[str, Mapping[str, Way]] = {
    "T1": _T1,
    "T1c": {**_T1, "enhancing": Way("low", "white", 1.25, 2.1)},
    "T2": {
        "necrosis": Way("white", "fluid", 0.55, 1.0),
        "quiet": Way("white", "fluid", 0.35, 0.75),
        "enhancing": Way("white", "fluid", 0.2, 0.55),
        "oedema": Way("white", "fluid", 0.35, 0.75),
    },
    "FLAIR": {
        "necrosis": Way("low", "white", 0.3, 1.6),
        "quiet": Way("low", "white", 1.4, 2.1),
        "enhancing": Way("low", "white", 1.3, 1.9),
        "oedema": Way("low", "white", 1.4, 2.2),
    },
    "PD": {
        "necrosis": Way("low", "grey", 0.95, 1.3),
        "quiet": Way("low", "grey", 1.05, 1.35),
        "enhancing": Way("low", "grey", 1.0, 1.3),
        "oedema": Way("low", "white", 1.15, 1.45),
    },
    "CT": {
        "necrosis": Way("zero", "hundred", 0.08, 0.22),
        "quiet": Way("zero", "hundred", 0.2, 0.32),
        "enhancing": Way("zero", "hundred", 0.36, 0.6),
        "oedema": Way("zero", "hundred", 0.12, 0.2),
    },
}
"""Of tumours of the brain."""

_WATERY = {
    "necrosis": Way("white", "high", 0.4, 0.95),
    "quiet": Way("white", "high", 0.2, 0.6),
    "enhancing": Way("white", "high", 0.25, 0.7),
    "oedema": Way("white", "high", 0.15, 0.4),
}

BODY_TABLE: Mapping[str, Mapping[str, Way]] = {
    "T1": {
        "necrosis": Way("low", "white", 0.6, 0.9),
        "quiet": Way("low", "white", 0.8, 1.1),
        "enhancing": Way("low", "white", 0.9, 1.25),
        "oedema": Way("low", "white", 0.8, 0.95),
    },
    "T1c": {
        "necrosis": Way("low", "white", 0.6, 0.9),
        "quiet": Way("low", "white", 0.85, 1.2),
        "enhancing": Way("white", "high", 0.3, 0.9),
        "oedema": Way("low", "white", 0.8, 0.95),
    },
    "T2": _WATERY,
    "FLAIR": _WATERY,
    "PD": _WATERY,
    "CT": {
        "necrosis": Way("white", "denser", -0.8, -0.35),
        "quiet": Way("white", "denser", -0.45, -0.12),
        "enhancing": Way("white", "denser", 0.12, 0.5),
        "oedema": Way("white", "denser", -0.15, -0.05),
    },
}
"""Of masses of the body, relative to the organ or muscle that they lie in; ``denser`` is by 100 HU.
One that takes up no contrast agent is darker on CT, one that does is brighter."""


def draw_tumour_places(seed: int) -> dict[str, float]:
    """Draw where in its range each part lies.

    Args:
        seed: Of the tumour.

    Returns:
        A number from 0 to 1 for each of `PARTS`.
    """
    drawn = torch.rand(len(PARTS), generator=open_stream(seed, PLACES)).tolist()
    return dict(zip(PARTS, drawn, strict=True))


def mix_tumour_palette(contrast: str, statistics: TissueStatistics, tumour: Tumour) -> Palette:
    """Find the intensities of a channel.

    Args:
        contrast: One of `CONTRASTS`.
        statistics: Of the channel.
        tumour: What was drawn.

    Returns:
        The palette; what takes up little contrast agent is nearer to what takes up none.

    Raises:
        DataError: If the contrast is not known.
    """
    if contrast not in CONTRASTS:
        raise DataError(f"contrast {contrast!r} is not known; use one of {', '.join(CONTRASTS)}")
    kind = recognise(statistics) if contrast == "unknown" else contrast
    known = known_levels(statistics)
    known["denser"] = statistics.white[0] + 100
    places = draw_tumour_places(tumour.seed)
    levels = {}
    for part, way in (BODY_TABLE if tumour.kind == "mass" else TABLE)[kind].items():
        place = way.least + places[part] * (way.most - way.least)
        levels[part] = known[way.start] + place * (known[way.stop] - known[way.start])
    if kind == "T1c":
        quiet, most = levels["quiet"], levels["enhancing"]
        levels["enhancing"] = quiet + tumour.enhancement * (most - quiet)
    return Palette(levels, statistics.white[0])
