"""What a data set holds, and which of its cases cannot be used."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from volseg.data.cases import Case, find_cases, label_values
from volseg.data.volumes import VolumeReport, check_pair, inspect_volume
from volseg.errors import VolsegError

Watch = Callable[[Sequence[Case]], Iterable[Case]]
"""Passes cases on, such as a progress bar."""


@dataclass(frozen=True)
class DatasetReport:
    """What a data set holds, and what is wrong with it.

    Args:
        path: Where it lies.
        num_cases: Cases found.
        num_labelled: Cases with a label.
        num_groups: Patients, if the source tells whom each case is of; else 0.
        classes: Name of each label value that the data set declares.
        cases_with: Number of cases that hold each label value.
        smallest: Fewest voxels along each axis.
        largest: Most voxels along each axis.
        spacings: Number of images of each voxel edge, in mm.
        orientations: Number of images of each orientation.
        problems: Why a case cannot be used, one line each, with its file.
        warnings: What is unusual, one line each, with its file.
    """

    path: Path
    num_cases: int = 0
    num_labelled: int = 0
    num_groups: int = 0
    classes: dict[int, str] = field(default_factory=dict)
    cases_with: dict[int, int] = field(default_factory=dict)
    smallest: tuple[int, ...] = ()
    largest: tuple[int, ...] = ()
    spacings: dict[str, int] = field(default_factory=dict)
    orientations: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Give everything as plain values."""
        return {**asdict(self), "path": str(self.path)}


def inspect_dataset(source: str | Path, watch: Watch = iter) -> DatasetReport:
    """Read every volume of a data set once, and list what is wrong.

    Args:
        source: What `volseg.data.cases.find_cases` takes.
        watch: Passes the cases on one by one, such as a progress bar.

    Returns:
        What it holds; a bad case is a problem, and the rest are still read.
    """
    cases, classes = find_cases(source), label_values(source)
    images: list[VolumeReport] = []
    problems: list[str] = []
    cases_with: Counter[int] = Counter()
    for case in watch(cases):
        reports = [inspect_volume(path) for path in case.images]
        images += reports
        if case.label is None or any(report.problems for report in reports):
            continue
        try:
            cases_with.update(check_pair(case.images[0], case.label, classes))
        except VolsegError as error:
            problems.append(str(error))
    sound = [report for report in images if not report.problems]
    return DatasetReport(
        Path(source),
        len(cases),
        sum(case.label is not None for case in cases),
        len({case.group for case in cases} - {None}),
        classes or {},
        dict(sorted(cases_with.items())),
        tuple(min(lengths) for lengths in zip(*(report.shape for report in sound), strict=True)),
        tuple(max(lengths) for lengths in zip(*(report.shape for report in sound), strict=True)),
        _count(" x ".join(f"{edge:.3g}" for edge in report.spacing) for report in sound),
        _count(report.orientation for report in sound),
        [f"{report.path}: {line}" for report in images for line in report.problems] + problems,
        [f"{report.path}: {line}" for report in images for line in report.warnings],
    )


def _count(values: Iterable[str]) -> dict[str, int]:
    return dict(Counter(values).most_common())
