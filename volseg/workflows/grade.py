"""Measure how much lesion masks hold, and grade them."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from volseg.data.case import stem
from volseg.data.cases import find_cases
from volseg.data.volumes import ENDINGS
from volseg.errors import DataError, VolsegError
from volseg.evaluation.grading import Load, grade_of, measure_load, quantile_thresholds
from volseg.workflows.bars import Histogram
from volseg.workflows.beside import PAGE, require_room


@dataclass(frozen=True)
class Masks:
    """What is graded.

    Args:
        source: Where they were found.
        files: The mask of each case.
        images: The image of each case, if it is known.
        groups: Whom each case is of, if that is known.
    """

    source: Path
    files: Mapping[str, Path]
    images: Mapping[str, Path]
    groups: Mapping[str, str]


@dataclass(frozen=True)
class Scale:
    """What is measured, and where grades begin.

    Args:
        lesion: Label values that are lesion; `None`: all but 0.
        organ: Label values of the organ around it; then the share of the organ is graded, else the
            volume in mL.
        thresholds: The least load of each grade but the first.
        grades: So many grades of equal number, instead of thresholds.
    """

    lesion: Sequence[int] | None = None
    organ: Sequence[int] = ()
    thresholds: Sequence[float] = ()
    grades: int | None = None


@dataclass(frozen=True)
class GradeResult:
    """What was found.

    Args:
        loads: Load of each case.
        grades: Grade of each case.
        thresholds: Where grades begin.
        failures: Why a mask could not be graded, by name.
        output: The table; page and figures stand beside it.
        is_share: Whether shares of an organ are graded, not volumes in mL.
    """

    loads: Mapping[str, Load]
    grades: Mapping[str, int]
    thresholds: Sequence[float]
    failures: Mapping[str, str]
    output: Path
    is_share: bool = False

    @property
    def is_complete(self) -> bool:
        """Whether every mask was graded."""
        return not self.failures

    @property
    def graded(self) -> dict[str, float]:
        """Give the number of each case that its grade follows from."""
        return {name: each.share if self.is_share else each.ml for name, each in self.loads.items()}

    def gap(self, name: str) -> float:
        """Measure how far a case lies from where its grade would change.

        Args:
            name: The case.

        Returns:
            Distance to the nearest threshold, in the unit of the thresholds.
        """
        return min(abs(self.graded[name] - edge) for edge in self.thresholds)

    def histogram(self) -> Histogram:
        """Count the cases by what is graded."""
        return Histogram.of(list(self.graded.values()))

    def to_json(self) -> dict[str, Any]:
        """Give everything as plain values."""
        return {
            "thresholds": list(self.thresholds),
            "graded": "share" if self.is_share else "ml",
            "histogram": self.histogram().to_json(),
            "cases": {
                name: {
                    "ml": load.ml,
                    "share": load.share if isfinite(load.share) else None,
                    "grade": self.grades[name],
                    "gap": self.gap(name),
                }
                for name, load in self.loads.items()
            },
            "failures": dict(self.failures),
            "output": str(self.output),
        }

    def __str__(self) -> str:
        """Count the grades."""
        values = list(self.grades.values())
        counts = [f"{values.count(grade)} of grade {grade}" for grade in sorted(set(values))]
        edges = ", ".join(f"{edge:.4g}" for edge in self.thresholds)
        lines = [f"{', '.join(counts)}; grades begin at {edges}"]
        lines += [f"failed: {name}: {reason}" for name, reason in self.failures.items()]
        return "\n".join([*lines, f"wrote {self.output} and {self.output.with_suffix(PAGE).name}"])


def grade(
    masks: str | Path, output: str | Path, scale: Scale, *, overwrite: bool = False
) -> GradeResult:
    """Measure the load of each mask, and write a table of grades and a page.

    Args:
        masks: A folder of masks, or a data set whose labels are the masks.
        output: The table, ``*.csv``: ``case``, ``label`` (the grade), ``ml``, ``share``, and
            ``group`` if the data set says it. A page ``*.html`` and its figures ``*.json`` are
            written beside it.
        scale: What is measured, and where grades begin.
        overwrite: Whether a table that is there already may be replaced.

    Returns:
        Loads and grades.

    Raises:
        DataError: If the scale says neither or both, there is no mask, or the table is there.
    """
    table = Path(output)
    if bool(scale.thresholds) == (scale.grades is not None):
        raise DataError("grades begin at thresholds, or are so many of equal number; give one")
    require_room(table, overwrite=overwrite)
    given = _find_masks(Path(masks))
    loads, failures = _measure(given, scale)
    values = [load.share if scale.organ else load.ml for load in loads.values()]
    edges = list(scale.thresholds)
    if scale.grades is not None:
        edges = quantile_thresholds(values, scale.grades)
    grades = {name: grade_of(value, edges) for name, value in zip(loads, values, strict=True)}
    result = GradeResult(loads, grades, edges, failures, table, bool(scale.organ))
    _write(table, loads, grades, given.groups)
    _write_page(result, given, scale)
    return result


def _measure(masks: Masks, scale: Scale) -> tuple[dict[str, Load], dict[str, str]]:
    """Measure each mask, or say why not."""
    loads: dict[str, Load] = {}
    failures: dict[str, str] = {}
    for name, path in masks.files.items():
        try:
            load = measure_load(path, scale.lesion, scale.organ)
            if scale.organ and not isfinite(load.share):
                raise DataError(f"{path} holds nothing of the organ {list(scale.organ)}")
            loads[name] = load
        except VolsegError as error:
            failures[name] = str(error)
    if not loads:
        raise DataError(f"no mask can be graded, such as: {next(iter(failures.values()))}")
    return loads, failures


def _find_masks(source: Path) -> Masks:
    """Take the labels of a data set, or the files of a folder."""
    cases = find_cases(source)
    labelled = {case.name: case.label for case in cases if case.label is not None}
    groups = {case.name: case.group for case in cases if case.group}
    if labelled:
        images = {case.name: case.images[0] for case in cases if case.images}
        return Masks(source, labelled, images, groups)
    files = [image for case in cases for image in case.images if image.name.endswith(ENDINGS)]
    root = source if source.is_dir() else source.parent
    named = {stem(path.relative_to(root)): path for path in files}
    return Masks(source, named, {}, groups)


def _write_page(result: GradeResult, masks: Masks, scale: Scale) -> None:
    from volseg.workflows.grade_report import write_report

    write_report(result, masks, scale)


def _write(
    table: Path, loads: Mapping[str, Load], grades: Mapping[str, int], groups: Mapping[str, str]
) -> None:
    heads = ["case", "label", "ml", "share", *(["group"] if groups else [])]
    try:
        table.parent.mkdir(parents=True, exist_ok=True)
        with table.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(heads)
            for name, load in loads.items():
                share = f"{load.share:.6f}" if isfinite(load.share) else ""
                row = [name, grades[name], f"{load.ml:.6f}", share]
                writer.writerow([*row, groups.get(name, "")] if groups else row)
    except OSError as error:
        raise DataError(f"cannot write {table}: {error.strerror or error}") from error
