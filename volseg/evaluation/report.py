"""Score a set of label maps and sum it up: a table to read, JSON to keep.

A reference without a usable prediction (none at all, an unreadable file, another grid, label values
that nobody knows) is *missed*: it is scored as an empty prediction, which is the worst case, and
named with the reason. A reference that cannot be used itself has *failed* and is scored nowhere.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isnan
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from volseg.data.volumes import require_same_grid
from volseg.errors import DataError, VolsegError
from volseg.evaluation.intervals import Interval, mean_intervals
from volseg.evaluation.metrics import TOLERANCE, Score, score_classes
from volseg.evaluation.pairs import Pair, read_labels
from volseg.evaluation.regions import Regions
from volseg.types import Spacing

METRICS = ("dice", "hausdorff95", "surface_dice")

ALL_CLASSES = "all classes"
"""Row of the summary that takes the mean over a case's classes first."""

LabelMap = tuple[NDArray[np.int64], NDArray[np.float64]]


@dataclass(frozen=True)
class CaseScores:
    """The scores of one case.

    Args:
        name: Name of the case.
        status: ``scored``, ``missed`` (scored as an empty prediction) or ``failed`` (not scored).
        reason: Why it was missed or has failed.
        scores: Score of each class, by name.
    """

    name: str
    status: str
    reason: str | None = None
    scores: Mapping[str, Score] = field(default_factory=dict)


@dataclass(frozen=True)
class Report:
    """What an evaluation found.

    Args:
        cases: Scores of each case.
        summary: Mean and 95 % interval of each metric, by class.
        tolerance: Tolerance of surface Dice, in mm.
        unmatched: Predictions for which there was no reference; they count nowhere.
    """

    cases: Sequence[CaseScores]
    summary: Mapping[str, Mapping[str, Interval]]
    tolerance: float
    unmatched: Sequence[Path] = ()

    @property
    def is_complete(self) -> bool:
        """Whether every reference was scored against a usable prediction."""
        return all(case.status == "scored" for case in self.cases)

    def table(self) -> str:
        """Lay the scores out as text.

        Returns:
            One line a case and class, one line a class with means and 95 % intervals, and one
            line about each case that was missed or has failed.
        """
        heads = ["Dice", "HD95 mm", f"surface Dice at {self.tolerance:g} mm"]
        rows = [["case", "class", *heads]]
        for case in self.cases:
            for name, score in case.scores.items():
                rows.append([case.name, name, *(_number(getattr(score, key)) for key in METRICS)])
        means = [["mean [95 % interval]", "cases", *heads]]
        for name, metrics in self.summary.items():
            cells = [_interval(metrics[key]) for key in METRICS]
            means.append([name, str(metrics["dice"].cases), *cells])
        notes = [
            f"{case.status}: {case.name}: {case.reason}"
            for case in self.cases
            if case.status != "scored"
        ]
        notes += [f"no reference for {path}: left out" for path in self.unmatched]
        blocks = ["\n".join(block) for block in (_align(rows), _align(means), notes) if block]
        return "\n\n".join(blocks)

    def to_json(self) -> dict[str, Any]:
        """Give everything as JSON-able values.

        Returns:
            Tolerance, summary, cases and unmatched predictions; what has no value is `None`.
        """
        return {
            "tolerance_mm": self.tolerance,
            "summary": {
                name: {key: _plain(interval) for key, interval in metrics.items()}
                for name, metrics in self.summary.items()
            },
            "cases": [
                {
                    "name": case.name,
                    "status": case.status,
                    "reason": case.reason,
                    "scores": {name: _plain(score) for name, score in case.scores.items()},
                }
                for case in self.cases
            ],
            "unmatched": [str(path) for path in self.unmatched],
        }


def evaluate_pairs(
    pairs: Sequence[Pair],
    classes: Mapping[int, str] | None = None,
    *,
    tolerance: float = TOLERANCE,
    groups: Mapping[str, str] | None = None,
    unmatched: Sequence[Path] = (),
    seed: int = 0,
    progress: bool = False,
    regions: Regions | None = None,
) -> Report:
    """Score predictions against their references.

    Args:
        pairs: What to compare.
        classes: Name of each label value; by default every value that occurs, by its number.
        tolerance: Tolerance of surface Dice, in mm.
        groups: Group of each case, by name; the bootstrap draws whole groups, by default cases.
        unmatched: Predictions without a reference, for the report.
        seed: Of the bootstrap.
        progress: Whether to draw a bar on stderr.
        regions: What is scored beside the classes, and how the values of references are read.

    Returns:
        Scores of every case, and their means with 95 % bootstrap intervals.

    Raises:
        DataError: If a case is in no group, though there are groups.
    """
    lost = [pair.name for pair in pairs if groups is not None and pair.name not in groups]
    if lost:
        raise DataError(f"no group for case {lost[0]!r} and {len(lost) - 1} more; name each")
    beside = regions or Regions()
    if classes is not None:
        beside.require_known(classes)
    cases = [
        _score_pair(pair, classes, tolerance, beside)
        for pair in tqdm(pairs, desc="evaluate", unit="case", disable=not progress)
    ]
    if classes is None:
        found = {name for case in cases for name in case.scores if name not in beside.values}
        values = sorted(found, key=int)
        names = {int(value): value for value in values}
    else:
        names = {value: name for value, name in classes.items() if value != 0}
    groups_of = None if groups is None else [groups[case.name] for case in cases]
    summary = _summarise(cases, list(names.values()), list(beside.values), groups_of, seed)
    return Report(cases, summary, tolerance, unmatched)


def _score_pair(
    pair: Pair, classes: Mapping[int, str] | None, tolerance: float, regions: Regions
) -> CaseScores:
    try:
        reference = _read_known(pair.reference, classes, regions)
    except VolsegError as error:
        return CaseScores(pair.name, "failed", str(error))
    labels, reason = np.zeros_like(reference[0]), None
    try:
        labels = _read_prediction(pair, classes, reference)
    except VolsegError as error:
        reason = str(error)
    if classes is None:
        found = np.union1d(labels, reference[0])
        classes = {int(value): str(value) for value in found}
    edges = np.linalg.norm(reference[1][:3, :3], axis=0)
    spacing: Spacing = (float(edges[0]), float(edges[1]), float(edges[2]))
    scores = score_classes(labels, reference[0], spacing, classes, tolerance)
    scores |= regions.score(labels, reference[0], spacing, tolerance)
    return CaseScores(pair.name, "scored" if reason is None else "missed", reason, scores)


def _read_prediction(
    pair: Pair, classes: Mapping[int, str] | None, reference: LabelMap
) -> NDArray[np.int64]:
    if pair.prediction is None:
        raise DataError("no prediction")
    labels, affine = _read_known(pair.prediction, classes, Regions())
    truth, wanted = reference
    require_same_grid(
        (str(pair.reference), truth.shape, wanted), (str(pair.prediction), labels.shape, affine)
    )
    return labels


def _read_known(path: Path, classes: Mapping[int, str] | None, regions: Regions) -> LabelMap:
    """Read a label map and refuse values that stand for no class."""
    stored, affine = read_labels(path)
    labels = regions.read(stored)
    if classes is not None:
        unknown = sorted(set(np.unique(labels).tolist()) - {0, *classes})
        if unknown:
            known = ", ".join(f"{value} ({name})" for value, name in classes.items())
            raise DataError(f"{path} holds label {unknown[0]}, which is not among {known}")
    return labels, affine


def _summarise(
    cases: Sequence[CaseScores],
    names: Sequence[str],
    regions: Sequence[str],
    groups: Sequence[str] | None,
    seed: int,
) -> dict[str, dict[str, Interval]]:
    """Give mean and interval of each metric by class, and over all classes if there are several."""
    every = [*names, *regions]
    table = np.full((len(cases), len(every) + 1, len(METRICS)), np.nan)
    for row, case in zip(table, cases, strict=True):
        for place, name in enumerate(every):
            score = case.scores.get(name, Score())
            row[place] = [getattr(score, key) for key in METRICS]
        if case.scores and not np.isnan(row[: len(names)]).all():
            row[-1] = np.nanmean(row[: len(names)], axis=0)
    intervals = mean_intervals(table.reshape(len(cases), -1), groups, seed=seed)
    rows = [*every, ALL_CLASSES] if len(names) > 1 else every
    return {
        name: dict(zip(METRICS, intervals[place * len(METRICS) :], strict=False))
        for place, name in enumerate(rows)
    }


def _plain(values: Score | Interval) -> dict[str, float | None]:
    """Give the fields of a record, with `None` for `nan`, which JSON lacks."""
    return {key: None if isnan(value) else value for key, value in vars(values).items()}


def _number(value: float) -> str:
    return "-" if isnan(value) else f"{value:.3f}"


def _interval(interval: Interval) -> str:
    mean, low, high = map(_number, (interval.mean, interval.low, interval.high))
    return mean if isnan(interval.low) else f"{mean} [{low}, {high}]"


def _align(rows: Sequence[Sequence[str]]) -> list[str]:
    """Pad every column to its widest cell."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
