"""Lesions as objects: which were found, and how many were found where there are none.

A lesion is a connected part of a mask (26 neighbours). One of the reference is found if a part of
the prediction covers enough of it; a part of the prediction that touches no lesion is a false
positive. The free-response curve (FROC, Bunch et al. 1978, https://doi.org/10.1117/12.955926) gives
the share found against the false positives a case, as parts are taken in the order of their scores.
Its summary is the mean share found at 1/8, 1/4, 1/2, 1, 2, 4 and 8 false positives a case, as in
LUNA16 (Setio et al. 2017, https://doi.org/10.1016/j.media.2017.06.015).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from volseg.errors import DataError
from volseg.evaluation.intervals import Interval

RATES = (1 / 8, 1 / 4, 1 / 2, 1.0, 2.0, 4.0, 8.0)
"""False positives a case at which the curve is read."""

DRAWS = 2000


@dataclass(frozen=True)
class Lesion:
    """A connected part of a mask.

    Args:
        start: First voxel of its box along each axis.
        stop: Voxel behind its box along each axis.
        ml: Its volume, in mL.
    """

    start: tuple[int, ...]
    stop: tuple[int, ...]
    ml: float


@dataclass(frozen=True)
class CaseLesions:
    """The lesions of one case.

    Args:
        name: The case.
        group: Whom it is of.
        lesions: Those of the reference.
        found_at: For each of them the best score of a part that covers it; ``-inf`` if none does.
        false_scores: Scores of the parts that touch no lesion.
    """

    name: str
    group: str
    lesions: Sequence[Lesion]
    found_at: Sequence[float]
    false_scores: Sequence[float]

    def to_json(self) -> dict[str, Any]:
        """Give everything as plain values."""
        return {
            "name": self.name,
            "lesions": [
                {**vars(lesion), "found": bool(np.isfinite(score))}
                for lesion, score in zip(self.lesions, self.found_at, strict=True)
            ],
            "false_positives": len(self.false_scores),
        }


@dataclass(frozen=True)
class Detection:
    """How lesions were found in all cases.

    Args:
        sensitivity: Share of the lesions that were found, all parts taken.
        false_positives: Parts a case that touch no lesion.
        curve: Share found at each of `RATES`; `nan` where there are fewer false positives at all.
        froc: Mean of the curve, in which the last share found goes on to the right.
    """

    sensitivity: Interval
    false_positives: Interval
    curve: Sequence[float]
    froc: Interval


def find_lesions(
    mask: NDArray[np.bool_], affine: NDArray[np.float64], least_ml: float = 0.0
) -> tuple[NDArray[np.int32], list[Lesion]]:
    """Take a mask apart.

    Args:
        mask: The mask.
        affine: Voxel index to mm, ``(4, 4)``.
        least_ml: Smaller parts are left out.

    Returns:
        Number of each voxel's lesion, from 1, and the lesions in this order.
    """
    numbers, count = ndimage.label(mask, np.ones((3, 3, 3)))
    voxel_ml = abs(float(np.linalg.det(affine[:3, :3]))) / 1000
    sizes = np.bincount(numbers.ravel(), minlength=count + 1)
    kept: NDArray[np.int32] = np.zeros_like(numbers, dtype=np.int32)
    lesions: list[Lesion] = []
    for number, box in enumerate(ndimage.find_objects(numbers), start=1):
        ml = float(sizes[number] * voxel_ml)
        if ml < least_ml:
            continue
        start, stop = tuple(cut.start for cut in box), tuple(cut.stop for cut in box)
        lesions.append(Lesion(start, stop, ml))
        kept[box][numbers[box] == number] = len(lesions)
    return kept, lesions


def match_lesions(
    prediction: NDArray[np.int32],
    reference: NDArray[np.int32],
    scores: NDArray[np.floating],
    overlap: float = 0.0,
) -> tuple[list[float], list[float]]:
    """Find out which lesions were found, and which parts touch none.

    Args:
        prediction: Number of each voxel's part, from 1.
        reference: Number of each voxel's lesion, from 1.
        scores: Of each part.
        overlap: Share of a lesion that one part must cover; 0: a single voxel is enough.

    Returns:
        The best score that covers each lesion, ``-inf`` if there is none; and the scores of the
        parts that touch no lesion.
    """
    parts, lesions = len(scores), int(reference.max(initial=0))
    cells = reference.ravel().astype(np.int64) * (parts + 1) + prediction.ravel()
    shared = np.bincount(cells, minlength=(lesions + 1) * (parts + 1))
    table = shared.reshape(lesions + 1, parts + 1)
    sizes = table[1:].sum(axis=1, keepdims=True)
    is_covered = (table[1:, 1:] > 0) & (table[1:, 1:] >= overlap * sizes)
    best = np.where(is_covered, scores[None, :], -np.inf).max(axis=1, initial=-np.inf)
    is_false = ~(table[1:, 1:] > 0).any(axis=0)
    return best.tolist(), scores[is_false].tolist()


def sum_up(cases: Sequence[CaseLesions], seed: int = 0) -> Detection:
    """Sum up all cases, with intervals over groups.

    Args:
        cases: The cases.
        seed: Of the bootstrap.

    Returns:
        The summary.

    Raises:
        DataError: If no case has a lesion.
    """
    if not any(case.lesions for case in cases):
        raise DataError("no reference holds a lesion, so none can be found")
    names, index = np.unique([case.group for case in cases], return_inverse=True)
    random = np.random.default_rng(seed)
    members = [np.flatnonzero(index == number) for number in range(len(names))]
    drawn = []
    for _ in range(DRAWS if len(names) > 1 else 0):
        taken = random.integers(len(names), size=len(names))
        draw = [cases[place] for number in taken for place in members[number]]
        if any(case.lesions for case in draw):
            drawn.append(_figures(draw)[0])
    figures, curve = _figures(cases)
    intervals = []
    for place, value in enumerate(figures):
        ends = [float("nan")] * 2
        if drawn:
            ends = np.quantile([each[place] for each in drawn], [0.025, 0.975]).tolist()
        intervals.append(Interval(value, ends[0], ends[1], len(cases)))
    return Detection(intervals[0], intervals[1], curve, intervals[2])


def _figures(cases: Sequence[CaseLesions]) -> tuple[tuple[float, float, float], list[float]]:
    """Give sensitivity, false positives a case, the mean of the curve, and the curve."""
    found = np.array([score for case in cases for score in case.found_at])
    false = np.sort([score for case in cases for score in case.false_scores])[::-1]
    shares, curve = [], []
    for rate in RATES:
        allowed = int(np.floor(rate * len(cases) + 1e-9))
        is_reached = allowed < len(false)
        # one false positive more is not allowed: all parts above its score are taken
        least = false[allowed] if is_reached else -np.inf
        share = float((found > least).mean())
        shares.append(share)
        curve.append(share if is_reached or len(false) == allowed else float("nan"))
    sensitivity = float(np.isfinite(found).mean())
    return (sensitivity, len(false) / len(cases), float(np.mean(shares))), curve
