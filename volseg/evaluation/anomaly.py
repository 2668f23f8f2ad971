"""How well anomaly maps find labelled lesions, beside what the intensities alone would say.

No threshold is chosen: maps are ranked voxel by voxel within the foreground of each case. A lesion
may simply be bright, so that the standardised image itself, its negative and its absolute value
are maps, too, and stand in every table. Differences are taken case by case.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import nan

import numpy as np
from numpy.typing import NDArray

from volseg.evaluation.hierarchical import run_intervals
from volseg.evaluation.intervals import Interval
from volseg.evaluation.ranking import average_precision, roc_area

TRIVIAL = ("bright", "dark", "unusual intensity")
"""Maps that need no training."""


@dataclass(frozen=True)
class CaseRanks:
    """How the maps rank the voxels of one case, and what they say of it as a whole.

    Args:
        name: Name of the case.
        lesion_share: Share of the foreground that is lesion; 0 for a normal case.
        lost_share: Share of the lesion that lies outside the foreground, where no map looks.
        areas: Area under the ROC curve, by map.
        precisions: Average precision, by map.
        scores: Score of the case, by map.
    """

    name: str
    lesion_share: float
    lost_share: float
    areas: Mapping[str, float]
    precisions: Mapping[str, float]
    scores: Mapping[str, float]


@dataclass(frozen=True)
class MapResult:
    """How well a map does over all cases.

    Args:
        area: Mean area under the ROC curve over the cases with a lesion.
        precision: Mean average precision; chance is the mean share of lesion.
        gain: Average precision above that of the best map that needs no training.
        case_area: Area under the ROC curve of the scores, lesion against normal cases; `nan`
            without normal cases.
    """

    area: Interval
    precision: Interval
    gain: Interval
    case_area: float


def trivial_maps(intensities: NDArray[np.floating]) -> dict[str, NDArray[np.floating]]:
    """Take a standardised image for a map.

    Args:
        intensities: Standardised over the foreground, ``(X, Y, Z)``.

    Returns:
        The maps of `TRIVIAL`, by name.
    """
    return dict(zip(TRIVIAL, (intensities, -intensities, np.abs(intensities)), strict=True))


def rank_case(
    name: str,
    maps: Mapping[str, NDArray[np.floating]],
    scores: Mapping[str, float],
    lesion: NDArray[np.bool_],
    foreground: NDArray[np.bool_],
) -> CaseRanks:
    """Rank the voxels of a case.

    Args:
        name: Name of the case.
        maps: The maps, by name, ``(X, Y, Z)``.
        scores: What each says of the case.
        lesion: The lesion, on the same grid.
        foreground: Where to look.

    Returns:
        The areas.
    """
    truth = lesion[foreground]
    lost = 1 - truth.sum() / lesion.sum() if lesion.any() else 0.0
    ranked = {key: chart[foreground] for key, chart in maps.items()}
    return CaseRanks(
        name,
        float(truth.mean()) if truth.size else 0.0,
        float(lost),
        {key: roc_area(chart, truth) for key, chart in ranked.items()},
        {key: average_precision(chart, truth) for key, chart in ranked.items()},
        dict(scores),
    )


def summarise(
    cases: Sequence[CaseRanks], groups: Mapping[str, str] | None = None, seed: int = 0
) -> dict[str, MapResult]:
    """Sum up over the cases.

    Args:
        cases: The cases.
        groups: Group of each case; the draws take whole groups.
        seed: Of the draws.

    Returns:
        One result a map.
    """
    names = list(cases[0].areas)
    of = [(groups or {}).get(case.name, case.name) for case in cases]
    areas, precisions = (
        np.array([[getattr(case, key)[name] for name in names] for case in cases])
        for key in ("areas", "precisions")
    )
    has_lesion = np.array([case.lesion_share > 0 for case in cases])
    means = dict(zip(names, precisions[has_lesion].mean(axis=0).tolist(), strict=True))
    best = max(TRIVIAL, key=lambda name: means[name])
    gains = precisions - precisions[:, [names.index(best)]]
    intervals = [run_intervals(table[None], of, seed=seed) for table in (areas, precisions, gains)]
    return {
        name: MapResult(
            intervals[0][place], intervals[1][place], intervals[2][place], _case_area(cases, name)
        )
        for place, name in enumerate(names)
    }


def _case_area(cases: Sequence[CaseRanks], name: str) -> float:
    if not all(name in case.scores for case in cases):
        return nan
    scores = np.array([case.scores[name] for case in cases])
    return roc_area(scores, np.array([case.lesion_share > 0 for case in cases]))
