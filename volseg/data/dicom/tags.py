"""One value of the header of a series, such as the scanner's maker."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from volseg.data.case import Case, stem
from volseg.data.dicom.headers import load_pydicom, read_dataset
from volseg.data.reading import source_of
from volseg.errors import DataError


def read_tag(image: Path, keyword: str, series: Path | None = None) -> str | None:
    """Read what a DICOM header says, where a volume was converted from one.

    Args:
        image: The volume; the file ``*.json`` of its name, as dcm2niix writes it, is looked into.
        keyword: The attribute's keyword, such as ``Manufacturer``.
        series: Folder of the series; it is asked first.

    Returns:
        The value as text; `None` if nobody says it.

    Raises:
        DataError: If the keyword is unknown, or a file cannot be read.
    """
    if series is not None:
        return _of_series(series, keyword)
    sidecar = image.with_name(f"{stem(image.name)}.json")
    if not sidecar.is_file():
        return None
    try:
        content = json.loads(sidecar.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{sidecar} cannot be read as JSON: {error}") from error
    return _text(content.get(keyword)) if isinstance(content, dict) else None


def read_tags(cases: Sequence[Case], keyword: str, series: Path | None = None) -> dict[str, str]:
    """Read what the headers of several cases say.

    Args:
        cases: The cases; the first image of each counts.
        keyword: The attribute's keyword.
        series: Folder that holds the series of each case under the case's name; `None`: only what
            stands beside the volumes is read.

    Returns:
        The value of each case that has one.

    Raises:
        DataError: If nobody has one.
    """
    found = {}
    for case in cases:
        folder = None if series is None else series / case.name
        if folder is not None and not folder.is_dir():
            continue
        value = read_tag(case.images[0], keyword, folder)
        if value is not None:
            found[case.name] = value
    if not found:
        where = "beside the volumes (*.json)" if series is None else f"in the series of {series}"
        raise DataError(f"no value of {keyword} was found {where}")
    return found


def _of_series(series: Path, keyword: str) -> str | None:
    if load_pydicom("pydicom.datadict").tag_for_keyword(keyword) is None:
        raise DataError(f"{keyword!r} is no keyword of DICOM; use one such as Manufacturer")
    source = source_of(series)
    if source.format != "dicom":
        raise DataError(f"{series} is no DICOM series")
    return _text(getattr(read_dataset(source.files[0]), keyword, None))


def _text(value: Any) -> str | None:
    if value is None or value == "":
        return None
    if isinstance(value, Sequence) and not isinstance(value, str):  # pydicom has its own lists
        return "\\".join(map(str, value))
    return str(value)
