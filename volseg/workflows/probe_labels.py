"""Where the labels of a probe come from: a table, masks, or the headers of DICOM."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from volseg.data.case import Case
from volseg.data.cases import label_values
from volseg.data.class_tables import labels_of_table, with_groups
from volseg.data.dicom.tags import read_tags
from volseg.errors import DataError
from volseg.evaluation.grading import grade_of, measure_load, quantile_thresholds
from volseg.evaluation.probing.samples import (
    UNITS,
    Sample,
    patch_samples,
    region_samples,
    volume_samples,
)


@dataclass(frozen=True)
class Labels:
    """Where labels come from; one of them is given.

    Args:
        table: A CSV with the columns ``case`` and ``column``, and perhaps ``group``.
        column: Its column of labels.
        from_segmentation: The classes of the masks: a region or a patch has its class as label.
        grades: The volumes of the masks, divided into so many grades of equal number.
        tag: Keyword of a DICOM attribute, found beside each volume or in its series.
        series: Folder that holds the series of each case under the case's name.
        is_graded: Whether the labels of the table are numbers whose order counts.
    """

    table: Path | None = None
    column: str = "label"
    from_segmentation: bool = False
    grades: int | None = None
    tag: str | None = None
    series: Path | None = None
    is_graded: bool = False

    @property
    def has_order(self) -> bool:
        """Whether the labels are numbers whose order counts."""
        return self.is_graded or self.grades is not None

    def require_one(self) -> None:
        """Refuse none, and several.

        Raises:
            DataError: If there is not exactly one.
        """
        given = [self.table is not None, self.from_segmentation, self.grades is not None]
        if sum([*given, self.tag is not None]) != 1:
            raise DataError(
                "labels come from one place: a table, the classes of masks, the volumes of masks,"
                " or a DICOM tag; give exactly one"
            )


@dataclass(frozen=True)
class Unit:
    """What is described by one vector.

    Args:
        kind: ``volume``, ``patch`` or ``region``; `None`: a region if labels are classes of masks,
            else a volume.
        patches: Patches of a volume, or of each of its classes.
        seed: Of the draw of patches.
    """

    kind: str | None = None
    patches: int = 4
    seed: int = 0

    def of(self, labels: Labels) -> str:
        """Say which it is.

        Args:
            labels: Where labels come from.

        Returns:
            ``volume``, ``patch`` or ``region``.

        Raises:
            DataError: If there is no such unit, or a whole volume is to have the class of a mask.
        """
        kind = self.kind or ("region" if labels.from_segmentation else "volume")
        if kind not in UNITS or (kind == "volume" and labels.from_segmentation):
            raise DataError(
                f"the unit {kind!r} does not go with these labels; use one of {', '.join(UNITS)},"
                " and patch or region for classes of masks"
            )
        return kind


def find_samples(
    cases: Sequence[Case], source: str | Path, labels: Labels, unit: Unit
) -> list[Sample]:
    """List what is described, with its labels.

    Args:
        cases: The cases of the source.
        source: Where they were found; it may name the classes of masks.
        labels: Where labels come from.
        unit: What is described by one vector.

    Returns:
        The samples.

    Raises:
        DataError: If no case has a label.
    """
    labels.require_one()
    kind = unit.of(labels)
    known = list(cases)
    given: dict[str, str] | None = None
    if labels.table is not None:
        given, rows = labels_of_table(labels.table, labels.column)
        known = with_groups(known, rows)
    elif labels.grades is not None:
        given = _grades(known, labels.grades)
    elif labels.tag is not None:
        given = read_tags(known, labels.tag, labels.series)
    if given is not None:
        known = [case for case in known if case.name in given]
        if not known:
            raise DataError(
                f"no label is of a case of {source} (such as {next(iter(given), 'none')!r} and"
                f" {cases[0].name!r}); use the names of the cases"
            )
    if labels.has_order and given is not None:
        _require_numbers(given)
    if kind == "volume":
        return volume_samples(known, given or {})
    return _local_samples(known, source, given, unit, kind)


def _local_samples(
    cases: Sequence[Case],
    source: str | Path,
    given: dict[str, str] | None,
    unit: Unit,
    kind: str,
) -> list[Sample]:
    classes = label_values(source)
    if kind == "region" or given is None:
        cases = [case for case in cases if case.label is not None]
    names = [None if given is None else given[case.name] for case in cases]

    def draw(*, has_background: bool = False) -> list[Sample]:
        return [
            sample
            for case, label in zip(cases, names, strict=True)
            for sample in (
                region_samples(case, classes, label)
                if kind == "region"
                else patch_samples(
                    case, classes, label, unit.patches, unit.seed, has_background=has_background
                )
            )
        ]

    samples = draw()
    if kind == "patch" and given is None and len({sample.label for sample in samples}) == 1:
        samples = draw(has_background=True)  # what else is one class to be told from?
    if not samples:
        raise DataError(f"{source} holds no mask with a class, so there is no {kind}")
    return samples


def _grades(cases: Sequence[Case], grades: int) -> dict[str, str]:
    loads = {case.name: measure_load(case.label).ml for case in cases if case.label is not None}
    if not loads:
        raise DataError("no case has a mask, so none has a volume to be graded by")
    edges = quantile_thresholds(list(loads.values()), grades)
    return {name: str(grade_of(load, edges)) for name, load in loads.items()}


def _require_numbers(labels: dict[str, str]) -> None:
    for name, label in labels.items():
        try:
            float(label)
        except ValueError as error:
            raise DataError(f"grades are numbers; that of {name} is {label!r}") from error
