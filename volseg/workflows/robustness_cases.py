"""One case under all conditions: changed, segmented by every network, scored on its own grid."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from volseg.data.case import Case
from volseg.data.geometry import Grid
from volseg.data.reading import read_source, source_of
from volseg.data.scan import Scan
from volseg.data.volumes import require_same_grid
from volseg.errors import DataError
from volseg.evaluation.metrics import score_classes
from volseg.evaluation.outcomes import UNCHANGED, Condition, Measure, Outcome
from volseg.evaluation.pairs import read_labels
from volseg.evaluation.shifts.grids import seen
from volseg.evaluation.shifts.shift import Shift
from volseg.inference.predictor import Predictor

Labels = NDArray[np.integer]

Measures = dict[str, Measure]
"""What is said of each class, by name."""

Runs = Sequence[Sequence[Predictor]]
"""The predictors of each run of each arm."""


@dataclass(frozen=True)
class Subject:
    """A case in memory.

    Args:
        name: Its name.
        scans: Its channels, on one grid.
        reference: Its reference, on the same grid.
    """

    name: str
    scans: tuple[Scan, ...]
    reference: Labels

    @property
    def grid(self) -> Grid:
        """Where its voxels lie."""
        return Grid(tuple(self.reference.shape), self.scans[0].affine)

    def changed(self, shift: Shift, strength: float, seed: int) -> tuple[Scan, ...]:
        """Change its scans; each channel has its own noise, and all share one geometry.

        Args:
            shift: What changes.
            strength: How strongly.
            seed: Of the run; the case's name is mixed in.

        Returns:
            The changed channels.
        """
        own = crc32(f"{seed} {self.name} {shift.name}".encode())
        is_geometric = len(shift.modalities) > 1
        return tuple(
            shift.apply(scan, strength, own if is_geometric else own + channel)
            for channel, scan in enumerate(self.scans)
        )


def read_subject(case: Case, classes: Mapping[int, str]) -> Subject:
    """Read a case with its reference.

    Args:
        case: The case.
        classes: Name of each label value.

    Returns:
        The case.

    Raises:
        DataError: If it has no label, or one with values that stand for no class.
    """
    if case.label is None:
        raise DataError(f"{case.name} has no label")
    readings = [read_source(source_of(path)) for path in case.images]
    labels, affine = read_labels(case.label)
    first = readings[0]
    require_same_grid(
        (str(case.images[0]), first.values.shape, first.affine),
        (str(case.label), labels.shape, affine),
    )
    unknown = sorted(set(np.unique(labels).tolist()) - set(classes))
    if unknown:
        raise DataError(f"{case.label} holds label {unknown[0]}, which stands for no class")
    scans = [Scan(np.asarray(each.values, np.float32), each.affine) for each in readings]
    return Subject(case.name, tuple(scans), labels)


def measure_case(
    subject: Subject,
    arms: Runs,
    shifts: Sequence[Shift],
    tolerance: float,
    seed: int,
) -> Iterator[Outcome]:
    """Segment a case under every condition.

    Args:
        subject: The case.
        arms: The networks.
        shifts: What changes.
        tolerance: Of surface Dice, in mm.
        seed: Of the changes.

    Yields:
        One outcome an arm, run and condition.
    """
    scorer = _Scorer(subject, tolerance, arms[0][0].classes)
    places = [(arm, run) for arm, runs in enumerate(arms) for run in range(len(runs))]
    before = {(a, r): segment(arms[a][r], subject, subject.scans) for a, r in places}
    everywhere = np.ones(subject.reference.shape, dtype=bool)
    whole = {place: scorer.score(before[place], everywhere) for place in places}
    for place in places:
        yield Outcome(*place, subject.name, UNCHANGED, whole[place], whole[place])
    for shift in shifts:
        for strength in shift.strengths:
            scans = subject.changed(shift, strength, seed)
            visible = seen(subject.grid, scans[0])
            for arm, run in places:
                labels = segment(arms[arm][run], subject, scans)
                then = whole[arm, run]
                if not visible.all():
                    then = scorer.score(before[arm, run], visible)
                now = scorer.score(labels, visible)
                condition = Condition(shift.name, strength)
                yield Outcome(arm, run, subject.name, condition, now, then)


def segment(predictor: Predictor, subject: Subject, scans: Sequence[Scan]) -> Labels:
    """Segment changed scans on the grid of the unchanged ones.

    Args:
        predictor: The network.
        subject: The case.
        scans: Its channels, changed.

    Returns:
        The label map.
    """
    pairs = [(scan.values, scan.affine) for scan in scans]
    return predictor.predict_on(subject.grid, *pairs).labels


class _Scorer:
    """Scores label maps of one case."""

    def __init__(self, subject: Subject, tolerance: float, classes: Mapping[int, str]) -> None:
        edges = np.linalg.norm(subject.scans[0].affine[:3, :3], axis=0).tolist()
        self._spacing = edges[0], edges[1], edges[2]
        self._voxel = abs(float(np.linalg.det(subject.scans[0].affine[:3, :3]))) / 1000
        self._reference = subject.reference
        self._tolerance = tolerance
        self._classes = {value: name for value, name in classes.items() if value}

    def score(self, labels: Labels, visible: NDArray[np.bool_]) -> Measures:
        """Measure each class on the visible voxels."""
        shown, truth = (np.where(visible, each, 0) for each in (labels, self._reference))
        scores = score_classes(shown, truth, self._spacing, self._classes, self._tolerance)
        sizes = {n: float((shown == v).sum() * self._voxel) for v, n in self._classes.items()}
        return {
            name: Measure(score.dice, score.surface_dice, sizes[name])
            for name, score in scores.items()
        }
