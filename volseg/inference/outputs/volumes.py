"""Volumes of the labels in mL, of a case and of a batch.

The volume of a voxel is the determinant of the affine, which holds for oblique, left-handed and
sheared grids. A batch is one table, rewritten whole whenever a case is added, so that it can be
read at any moment.
"""

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from volseg.errors import DataError
from volseg.inference.outputs.order import slices_of
from volseg.inference.outputs.whole import write_text

TABLE = "volumes.csv"

DOCUMENT = "volumes.json"

DIGITS = 6
"""Digits after the point of a volume in mL: thousandths of a cubic millimetre."""


def count_voxels(labels: NDArray[Any], highest: int) -> NDArray[np.int64]:
    """Count the voxels of each value, a slice at a time.

    Args:
        labels: Label of each voxel, ``(X, Y, Z)``, 0 to ``highest``.
        highest: The highest value.

    Returns:
        Voxels of each value from 0 on.
    """
    counts = np.zeros(highest + 1, dtype=np.int64)
    for piece in slices_of(labels):  # numpy counts in 64 bits a voxel: never all voxels at once
        counts += np.bincount(piece.ravel(), minlength=highest + 1)
    return counts


def measure_volumes(
    labels: NDArray[Any], affine: NDArray[np.floating[Any]], classes: Mapping[int, str]
) -> dict[str, float]:
    """Measure the labels of a case.

    Args:
        labels: Label of each voxel, ``(X, Y, Z)``.
        affine: From voxel indices to mm, ``(4, 4)``.
        classes: Name of each label value; the background, 0, is left out.

    Returns:
        Volume of each label in mL, by name, in the order of the values. Two labels of one name are
        refused, for they would share a column.
    """
    names = _columns(classes)
    highest = max(*classes, int(labels.max()))
    counts = count_voxels(labels, highest)
    return {name: float(counts[value] * voxel_volume(affine)) for name, value in names.items()}


def voxel_volume(affine: NDArray[np.floating[Any]]) -> float:
    """Give the volume of a voxel.

    Args:
        affine: From voxel indices to mm, ``(4, 4)``.

    Returns:
        The volume, in mL.
    """
    return abs(float(np.linalg.det(np.asarray(affine, dtype=np.float64)[:3, :3]))) / 1000


def write_volumes(
    cases: Mapping[str, Mapping[str, float]], classes: Mapping[int, str], folder: Path
) -> None:
    """Write the volumes of a batch to `TABLE` and `DOCUMENT`; both are replaced whole.

    Args:
        cases: Volume of each label in mL by name, for each case; the rows keep this order. A case
            that failed may be an empty mapping and has empty cells.
        classes: Name of each label value, which gives the columns.
        folder: Where the two files lie.

    Raises:
        DataError: If a case has a volume under a name that no class has.
    """
    names = list(_columns(classes))
    for case, volumes in cases.items():
        unknown = sorted(set(volumes) - set(names))
        if unknown:
            raise DataError(f"{case}: has a volume of {unknown[0]!r}; the classes are {names}")
    rounded = {
        case: {name: round(volumes[name], DIGITS) for name in names if name in volumes}
        for case, volumes in cases.items()
    }
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["case", *names])
    writer.writerows(
        [case, *(volumes.get(name, "") for name in names)] for case, volumes in rounded.items()
    )
    write_text(folder / TABLE, text.getvalue())
    document = {"unit": "mL", "labels": names, "cases": rounded}
    write_text(folder / DOCUMENT, json.dumps(document, indent=1, ensure_ascii=False) + "\n")


def _columns(classes: Mapping[int, str]) -> dict[str, int]:
    """Give the value of each name, background left out, in the order of the values."""
    columns: dict[str, int] = {}
    for value in sorted(classes):
        name = classes[value]
        if value and name in columns:
            raise DataError(f"labels {columns[name]} and {value} are both called {name!r}; rename")
        if value:
            columns[name] = value
    return columns
