"""Compare boxes with reference masks, lesion by lesion."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from volseg.data.box_tables import BoxRow, read_boxes
from volseg.errors import DataError, GeometryError, VolsegError
from volseg.evaluation.boxes import ScanMatch, average_precision, match_boxes
from volseg.evaluation.lesions import CaseLesions, Lesion, find_lesions, sum_up
from volseg.evaluation.pairs import SUFFIXES, Pair, find_pairs, read_labels
from volseg.transforms.boxes import boxes_to_world
from volseg.workflows.calibrate import read_groups
from volseg.workflows.lesions import Criterion, LesionReport

WORLD_TOLERANCE = 0.01
"""How far a box in the world may lie from where the reference's grid puts it, in mm."""


@dataclass(frozen=True)
class BoxReport:
    """What the boxes have found.

    Args:
        lesions: Lesion by lesion, with the curve.
        precision: Average precision, by name.
        least_overlap: Least intersection over union of a box and the lesion that it finds.
    """

    lesions: LesionReport
    precision: Mapping[str, float]
    least_overlap: float

    @property
    def is_complete(self) -> bool:
        """Whether every reference was compared with boxes, or with the news that there are none."""
        return self.lesions.is_complete

    def to_json(self) -> dict[str, Any]:
        """Give everything as plain values."""
        own = {"average_precision": dict(self.precision), "least_overlap": self.least_overlap}
        return {**self.lesions.to_json(), **own}

    def table(self) -> str:
        """Lay everything out as text."""
        values = ", ".join(f"{name} {value:.3f}" for name, value in self.precision.items())
        lines = [
            self.lesions.table(),
            f"found: intersection over union of {self.least_overlap:g} or more",
            f"average precision: {values}",
        ]
        return "\n".join(lines)


def evaluate_boxes(
    table: str | Path,
    references: str | Path,
    criterion: Criterion | None = None,
    least_overlap: float = 0.3,
    groups: str | Path | None = None,
    seed: int = 0,
) -> BoxReport:
    """Compare a table of boxes with references: sensitivity, FROC and average precision.

    Args:
        table: ``boxes.csv``, with the boxes on the references' own grids.
        references: A mask, or a folder of masks with the scans' names.
        criterion: What counts as a lesion; boxes of other label values are left out as well.
        least_overlap: Least intersection over union of a box and the lesion that it finds.
        groups: A CSV with the columns ``case`` and ``group``; `None`: each case is its own.
        seed: Of the bootstrap over groups.

    Returns:
        What was found; a reference that no box and no line of ``boxes.jsonl`` speaks of was missed.

    Raises:
        DataError: If no reference can be used, or the overlap is no share.
    """
    if not 0 <= least_overlap <= 1:
        raise DataError(f"overlap is {least_overlap}; use a share from 0 to 1")
    what, said = criterion or Criterion(), read_boxes(table)
    owners = {} if groups is None else read_groups(Path(groups))
    pairs, _ = find_pairs(Path(references), Path(references))  # the list of the references alone
    cases: list[CaseLesions] = []
    scans: list[ScanMatch] = []
    missed: dict[str, str] = {}
    failed: dict[str, str] = {}
    for pair in pairs:
        try:
            truth, affine = read_labels(pair.reference)
        except VolsegError as error:
            failed[pair.name] = str(error)
            continue
        _, lesions = find_lesions(what.mask(truth), affine, what.least_ml)
        rows: list[BoxRow] = []
        try:
            rows = _rows_of(pair, said, what.values)
            _require_same_places(rows, affine, pair)
        except VolsegError as error:
            missed[pair.name], rows = str(error), []
        scan = _scan(rows, lesions)
        scans.append(scan)
        group = owners.get(pair.name, pair.name)
        cases.append(CaseLesions(pair.name, group, lesions, *match_boxes(scan, least_overlap)))
    if not cases:
        raise DataError(f"no reference can be used, such as: {next(iter(failed.values()))}")
    found = LesionReport(cases, sum_up(cases, seed), has_scores=True, missed=missed, failed=failed)
    return BoxReport(found, average_precision(scans), least_overlap)


def _rows_of(
    pair: Pair, said: Mapping[str, Sequence[BoxRow]], values: Sequence[int]
) -> list[BoxRow]:
    """Take the boxes of a scan, by its name or by its file's."""
    names = [pair.name, Path(pair.name).name]
    names += [f"{name}{suffix}" for name in names for suffix in SUFFIXES]
    name = next((name for name in names if name in said), None)
    if name is None:
        raise DataError("no box, and no line in boxes.jsonl says that there is none")
    return [row for row in said[name] if not values or row.label in values]


def _require_same_places(rows: Sequence[BoxRow], affine: NDArray[np.float64], pair: Pair) -> None:
    """Refuse boxes whose voxels lie elsewhere in the world than the reference's."""
    if not rows:
        return
    there = boxes_to_world(np.array([row.voxels for row in rows]), affine)
    worst = float(np.abs(there - np.array([row.world for row in rows])).max())
    if not worst <= WORLD_TOLERANCE:
        raise GeometryError(
            f"its boxes lie up to {worst:.3g} mm from where the grid of {pair.reference} puts them;"
            " use the reference of the scan in which they were found"
        )


def _scan(rows: Sequence[BoxRow], lesions: Sequence[Lesion]) -> ScanMatch:
    boxes = np.array([row.voxels for row in rows], float).reshape(-1, 6)
    truth = np.array([[*each.start, *each.stop] for each in lesions], float).reshape(-1, 6)
    return ScanMatch(boxes, np.array([row.score for row in rows], float), truth)
