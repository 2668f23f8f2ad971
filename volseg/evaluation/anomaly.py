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

from volseg.evaluation.hierarchical import compare_runs, run_intervals
from volseg.evaluation.intervals import Interval
from volseg.evaluation.ranking import average_precision, roc_area

TRIVIAL = ("bright", "dark", "unusual intensity")
"""Maps that need no training."""


@dataclass(frozen=True)
class CaseRanks:
    """How the maps of one run rank the voxels of one case, and what they say of it as a whole.

    Args:
        name: Name of the case.
        lesion_share: Share of the foreground that is lesion; 0 for a normal case.
        lost_share: Share of the lesion that lies outside the foreground, where no map looks.
        areas: Area under the ROC curve, by map.
        precisions: Average precision, by map.
        scores: Score of the case, by map.
        run: Number of the run. Maps that need no training stand in the first.
        foreground_share: Share of the voxels that were looked at.
    """

    name: str
    lesion_share: float
    lost_share: float
    areas: Mapping[str, float]
    precisions: Mapping[str, float]
    scores: Mapping[str, float]
    run: int = 0
    foreground_share: float = nan


@dataclass(frozen=True)
class MapResult:
    """How well a map does over all cases.

    Args:
        area: Mean area under the ROC curve over the cases with a lesion.
        precision: Mean average precision; chance is the mean share of lesion.
        gain: Average precision above that of the best map that needs no training.
        case_area: Area under the ROC curve of the scores, lesion against normal cases, mean over
            the runs; `nan` without normal cases.
    """

    area: Interval
    precision: Interval
    gain: Interval
    case_area: float


@dataclass(frozen=True)
class MapDifference:
    """One map minus another, case by case.

    Args:
        first: Name of the one.
        second: Name of the other, which is subtracted.
        area: Difference of the areas under the ROC curve, over the cases with a lesion.
        precision: Difference of the average precisions.
    """

    first: str
    second: str
    area: Interval
    precision: Interval


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
    run: int = 0,
) -> CaseRanks:
    """Rank the voxels of a case.

    Args:
        name: Name of the case.
        maps: The maps, by name, ``(X, Y, Z)``.
        scores: What each says of the case.
        lesion: The lesion, on the same grid.
        foreground: Where to look.
        run: Number of the run.

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
        run,
        float(foreground.mean()),
    )


def summarise(
    cases: Sequence[CaseRanks], groups: Mapping[str, str] | None = None, seed: int = 0
) -> dict[str, MapResult]:
    """Sum up over runs and cases.

    Args:
        cases: The cases, once a run.
        groups: Group of each case; the draws take whole groups, and runs.
        seed: Of the draws.

    Returns:
        One result a map.
    """
    names = list(dict.fromkeys(name for case in cases for name in case.areas))
    of = _owners(cases, groups)
    areas, precisions = (_table(cases, key, names) for key in ("areas", "precisions"))
    means = dict(zip(names, np.nanmean(precisions[0], axis=0).tolist(), strict=True))
    best = max(TRIVIAL, key=lambda name: means[name])
    gains = precisions - precisions[:1, :, [names.index(best)]]
    intervals = [run_intervals(table, of, seed=seed) for table in (areas, precisions, gains)]
    return {
        name: MapResult(
            intervals[0][place], intervals[1][place], intervals[2][place], _case_area(cases, name)
        )
        for place, name in enumerate(names)
    }


def compare_maps(
    cases: Sequence[CaseRanks],
    pairs: Sequence[tuple[str, str]],
    groups: Mapping[str, str] | None = None,
    seed: int = 0,
    *,
    is_paired: bool = True,
) -> list[MapDifference]:
    """Subtract maps from each other, case by case.

    Args:
        cases: The cases, once a run.
        pairs: Names of two maps each; the second is subtracted.
        groups: Group of each case; the draws take whole groups, and runs.
        seed: Of the draws.
        is_paired: Whether both maps of a pair are of the same runs; otherwise runs are drawn for
            each by itself.

    Returns:
        One difference a pair.
    """
    of = _owners(cases, groups)
    found = []
    for first, second in pairs:
        gaps: list[Interval] = []
        for key in ("areas", "precisions"):
            one, other = (_runs(_table(cases, key, [name])) for name in (first, second))
            if is_paired:
                gaps += run_intervals(one - other, of, seed=seed)
                continue
            (gap,) = compare_runs(one, other, of, seed=seed)
            count = int((~np.isnan(one - other[:1])).any(axis=0).sum())
            gaps.append(Interval(gap.difference, gap.low, gap.high, count))
        found.append(MapDifference(first, second, *gaps))
    return found


def _names(cases: Sequence[CaseRanks]) -> list[str]:
    return list(dict.fromkeys(case.name for case in cases))


def _owners(cases: Sequence[CaseRanks], groups: Mapping[str, str] | None) -> list[str]:
    return [(groups or {}).get(name, name) for name in _names(cases)]


def _table(cases: Sequence[CaseRanks], key: str, maps: Sequence[str]) -> NDArray[np.float64]:
    """Lay a measure out, ``(runs, cases, maps)``; `nan` where a run has no such map."""
    places = {name: place for place, name in enumerate(_names(cases))}
    table = np.full((1 + max(case.run for case in cases), len(places), len(maps)), nan)
    for case in cases:
        table[case.run, places[case.name]] = [getattr(case, key).get(name, nan) for name in maps]
    return table


def _runs(table: NDArray[np.float64]) -> NDArray[np.float64]:
    """Keep the runs that there are."""
    return table[~np.isnan(table).all(axis=(1, 2))]


def _case_area(cases: Sequence[CaseRanks], name: str) -> float:
    areas = []
    for run in sorted({case.run for case in cases if name in case.scores}):
        own = [case for case in cases if case.run == run and name in case.scores]
        scores = np.array([case.scores[name] for case in own])
        areas.append(roc_area(scores, np.array([case.lesion_share > 0 for case in own])))
    return float(np.mean(areas)) if areas else nan
