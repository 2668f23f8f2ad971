"""What stands beside the masks of a batch: a report to look at, and a table of volumes."""

import os
from collections.abc import Mapping
from pathlib import Path

from volseg.errors import DataError
from volseg.inference.gallery.case import CasePicture, ReportCase, load_picture
from volseg.inference.gallery.page import write_report
from volseg.inference.outputs.volumes import write_volumes
from volseg.inference.results import CaseResult, Summary

REPORT = "report.html"

PICTURES = ".pictures"
"""Hidden folder of the pictures, so that a resumed run has those of the cases that it skips."""


def picture_path(output: Path, name: str) -> Path:
    """Say where the pictures of a case lie.

    Args:
        output: Folder of the masks.
        name: Name of the case.

    Returns:
        The file.
    """
    return output / PICTURES / f"{name}.json"


def relative_to(path: Path, folder: Path) -> str:
    """Write a path as it is seen from a folder.

    Args:
        path: The path.
        folder: The folder.

    Returns:
        The relative path; the absolute one if they lie on two drives.
    """
    try:
        return Path(os.path.relpath(path.absolute(), folder.absolute())).as_posix()
    except ValueError:
        return path.absolute().as_posix()


def write_overview(
    summary: Summary,
    classes: Mapping[int, str],
    output: Path,
    facts: Mapping[str, str],
    *,
    with_report: bool = True,
) -> None:
    """Write ``volumes.csv`` and ``volumes.json``, and the report.

    Args:
        summary: What became of each case.
        classes: Name of each label value.
        output: Folder of the masks.
        facts: What the report says of the batch, by name.
        with_report: Whether to write the report.
    """
    write_volumes({case.name: case.volumes_ml for case in summary.cases}, classes, output)
    if with_report:
        rows = [_row(case, output) for case in summary.cases]
        write_report(output / REPORT, rows, f"Segmentations in {output.name}", facts)


def _row(case: CaseResult, output: Path) -> ReportCase:
    has_mask = case.status in ("done", "skipped")
    return ReportCase(
        case.name,
        case.source,
        case.target if has_mask else None,
        "done" if has_mask else "failed" if case.status == "failed" else "skipped",
        case.reason,
        case.seconds,
        case.volumes_ml,
        (*case.flags, *case.warnings),
        _picture(picture_path(output, case.name)) if has_mask else None,
    )


def _picture(path: Path) -> CasePicture | None:
    try:
        return load_picture(path)
    except (DataError, OSError):
        return None
