"""Compare masks with references lesion by lesion."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from volseg.data.volumes import require_same_grid
from volseg.errors import DataError, VolsegError
from volseg.evaluation.lesions import (
    RATES,
    CaseLesions,
    Detection,
    find_lesions,
    match_lesions,
    sum_up,
)
from volseg.evaluation.pairs import Pair, find_pairs, read_labels
from volseg.inference.outputs.maps import map_path
from volseg.workflows.calibrate import read_chances, read_groups


@dataclass(frozen=True)
class Criterion:
    """What counts as a lesion, and as found.

    Args:
        values: Label values that are lesion, together; empty: all but 0.
        overlap: Share of a lesion that one predicted part must cover; 0: a single voxel.
        least_ml: Smaller lesions and parts count nowhere.
    """

    values: Sequence[int] = ()
    overlap: float = 0.0
    least_ml: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what cannot be.

        Raises:
            DataError: If the overlap is no share, or a value is the background.
        """
        if not 0 <= self.overlap <= 1 or any(value < 1 for value in self.values):
            raise DataError(
                f"overlap is {self.overlap} and the values are {list(self.values)}; use a share"
                " from 0 to 1, and label values from 1"
            )

    def mask(self, labels: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Take what is lesion.

        Args:
            labels: Label map.

        Returns:
            The mask.
        """
        return np.isin(labels, list(self.values)) if self.values else labels > 0


@dataclass(frozen=True)
class LesionReport:
    """What was found.

    Args:
        cases: The lesions of each case.
        detection: The summary.
        has_scores: Whether parts have scores, from maps of probabilities: without them the curve
            is but one point.
        missed: Why a reference had no usable prediction, by name: none of its lesions was found.
        failed: Why a reference could not be used, by name.
    """

    cases: Sequence[CaseLesions]
    detection: Detection
    has_scores: bool
    missed: Mapping[str, str]
    failed: Mapping[str, str]

    @property
    def is_complete(self) -> bool:
        """Whether every reference was compared with a usable prediction."""
        return not self.missed and not self.failed

    def to_json(self) -> dict[str, Any]:
        """Give everything as plain values."""
        found = self.detection
        curve = [value if isfinite(value) else None for value in found.curve]
        return {
            "sensitivity": found.sensitivity.to_json(),
            "false_positives_per_case": found.false_positives.to_json(),
            "froc": found.froc.to_json() if self.has_scores else None,
            "curve": dict(zip(map(str, RATES), curve, strict=True)) if self.has_scores else None,
            "cases": [case.to_json() for case in self.cases],
            "missed": dict(self.missed),
            "failed": dict(self.failed),
        }

    def table(self) -> str:
        """Lay everything out as text."""
        found = self.detection
        lesions = sum(len(case.lesions) for case in self.cases)
        lines = [
            f"{lesions} lesions in {len(self.cases)} cases",
            f"sensitivity: {found.sensitivity.text()}",
            f"false positives a case: {found.false_positives.text()}",
        ]
        if self.has_scores:
            points = [
                f"{share:.3f} at {rate:g}"
                for rate, share in zip(RATES, found.curve, strict=True)
                if isfinite(share)
            ]
            lines += [
                f"FROC, mean of 1/8 to 8 false positives a case: {found.froc.text()}",
                f"  {', '.join(points) or 'fewer false positives than 1/8 a case'}",
            ]
        else:
            lines.append("no FROC: it takes maps of probabilities beside the masks")
        lines += [f"missed: {name}: {reason}" for name, reason in self.missed.items()]
        lines += [f"failed: {name}: {reason}" for name, reason in self.failed.items()]
        return "\n".join(lines)


def evaluate_lesions(
    predictions: str | Path,
    references: str | Path,
    criterion: Criterion | None = None,
    groups: str | Path | None = None,
    seed: int = 0,
) -> LesionReport:
    """Compare masks with references lesion by lesion: sensitivity, false positives and FROC.

    Args:
        predictions: A mask, or a folder of masks. The score of a part is its greatest probability
            of the lesion where there are maps of probabilities beside all masks.
        references: A reference, or a folder of references with the masks' names.
        criterion: What counts as a lesion, and as found.
        groups: A CSV with the columns ``case`` and ``group``; `None`: each case is its own.
        seed: Of the bootstrap over groups.

    Returns:
        What was found.

    Raises:
        DataError: If no reference can be used.
    """
    pairs, _ = find_pairs(Path(predictions), Path(references))
    owners = {} if groups is None else read_groups(Path(groups))
    what = criterion or Criterion()
    masks = [pair.prediction for pair in pairs if pair.prediction is not None]
    has_scores = all(map_path(mask, "probabilities").is_file() for mask in masks)
    cases: list[CaseLesions] = []
    missed: dict[str, str] = {}
    failed: dict[str, str] = {}
    for pair in pairs:
        try:
            truth, affine = read_labels(pair.reference)
        except VolsegError as error:
            failed[pair.name] = str(error)
            continue
        numbers, lesions = find_lesions(what.mask(truth), affine, what.least_ml)
        found, false = [-np.inf] * len(lesions), list[float]()
        try:
            parts, scores = _parts_of(pair, (truth, affine), what, has_scores=has_scores)
            found, false = match_lesions(parts, numbers, scores, what.overlap)
        except VolsegError as error:
            missed[pair.name] = str(error)
        group = owners.get(pair.name, pair.name)
        cases.append(CaseLesions(pair.name, group, lesions, found, false))
    if not cases:
        raise DataError(f"no reference can be used, such as: {next(iter(failed.values()))}")
    return LesionReport(cases, sum_up(cases, seed), has_scores, missed, failed)


def _parts_of(
    pair: Pair,
    reference: tuple[NDArray[np.int64], NDArray[np.float64]],
    what: Criterion,
    *,
    has_scores: bool,
) -> tuple[NDArray[np.int32], NDArray[np.floating]]:
    """Take a prediction apart, and score its parts."""
    if pair.prediction is None:
        raise DataError("no prediction")
    labels, affine = read_labels(pair.prediction)
    truth, wanted = reference
    require_same_grid(
        (str(pair.reference), truth.shape, wanted), (str(pair.prediction), labels.shape, affine)
    )
    parts, found = find_lesions(what.mask(labels), affine, what.least_ml)
    scores = np.ones(len(found))
    if has_scores and len(found):
        chances = read_chances(pair.prediction)
        values = list(what.values) or list(range(1, chances.shape[-1]))
        if chances.shape[:3] != labels.shape or max(values) >= chances.shape[-1]:
            raise DataError(
                f"the probabilities of {pair.prediction} have shape {chances.shape}, which does not"
                f" fit a mask of shape {labels.shape} and the values {values}"
            )
        chance = chances[..., values].sum(axis=-1)
        for number in range(len(found)):
            scores[number] = chance[parts == number + 1].max()
    return parts, scores
