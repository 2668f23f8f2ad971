"""Cases: which image belongs to which label, and which patient they are of."""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from volseg.data.case import Case, stem
from volseg.data.channel_cases import case_grid, channel_cases, is_raw, raw_label_values
from volseg.data.splits import select_cases
from volseg.data.tables import read_rows
from volseg.data.volumes import ENDINGS, check_label
from volseg.errors import DataError

GROUP_COLUMNS = ("group", "subject group")
"""Names under which a CSV may state whom a case is of."""

FILE_COLUMNS = ("image", "label", "anatomy", "brain")
"""Columns of a CSV that hold paths."""


__all__ = [
    "Case",
    "find_cases",
    "items",
    "label_values",
    "read_dataset_json",
    "require_usable",
    "select_cases",
    "stem",
]


def find_cases(
    source: str | Path,
    groups: str | Path | None = None,
    channels: Sequence[str] = (),
    *,
    optional_channels: bool = False,
) -> list[Case]:
    """Find the cases of a source.

    Args:
        source: A NIfTI file; a folder, searched for NIfTI files; a ``dataset.json`` of the Medical
            Segmentation Decathlon or of nnU-Net, or its folder; or a CSV with the columns ``image``
            and, as there are, ``label``, ``name`` and ``group``, whose paths are relative to it.
            For several channels also a folder of cases as in BraTS, or a CSV with a column for
            each channel.
        groups: A CSV with the columns ``case`` and ``group``; `None`: ``cases.csv`` beside a
            ``dataset.json``, if it is there.
        channels: What a network takes, in its order.
        optional_channels: Whether a case may lack some of them.

    Returns:
        The cases, by name.

    Raises:
        DataError: If there is no case, a file is missing, or two cases have one name.
    """
    path = Path(source)
    if not path.exists():
        raise DataError(f"{path} does not exist; give a file, a folder, a dataset.json or a CSV")
    if is_raw(path) or len(channels) > 1:
        cases = channel_cases(path, channels, optional_channels=optional_channels)
    else:
        cases = _finder(path)(path)
    table = _table_beside(path) if groups is None else Path(groups)
    if table is not None:
        cases = _with_groups(cases, table)
    if not cases:
        raise DataError(f"{path} holds no NIfTI file (*.nii, *.nii.gz) and no dataset.json")
    _require_distinct(cases, path)
    _require_files(cases, path)
    return sorted(cases, key=lambda case: case.name)


def items(
    source: str | Path | Sequence[Case],
    split: str | Path | None = None,
    part: str | None = None,
    channels: Sequence[str] = (),
    *,
    optional_channels: bool = False,
    divides: bool = False,
    with_labels: bool = True,
) -> list[dict[str, Any]]:
    """List cases as MONAI takes them, once every one of them was found usable.

    Headers of images are read; labels are read as a whole, since one unknown value would spoil a
    training after hours.

    Args:
        source: What `find_cases` takes, or cases.
        split: A file that `volseg.data.splits.write_split` wrote; `None` takes every case.
        part: Part of the split, such as ``training``.
        channels: What a network takes, in its order.
        optional_channels: Whether a case may lack some of them.
        divides: Whether the cases are divided by group if there is no such file.
        with_labels: Whether to list and check the labels.

    Returns:
        ``{"image": path, "label": path}`` for each case and no other key; the label only where
        there is one, the image a list if it has several files. For several channels also
        ``"channels"``, the names of those that there are.
    """
    is_source = isinstance(source, (str, Path))
    cases = (
        find_cases(source, None, channels, optional_channels=optional_channels)
        if isinstance(source, (str, Path))
        else list(source)
    )
    if split is not None:
        cases = select_cases(cases, Path(split), part, divides=divides)
    if not with_labels:
        cases = [replace(case, label=None) for case in cases]
    values = label_values(str(source)) if is_source and with_labels else None
    listed = [_item(case) for case in cases]
    for case in cases:
        require_usable(case, values)
    return listed


def require_usable(case: Case, values: Collection[int] | None = None) -> None:
    """Refuse a case whose image cannot be read or whose label does not belong to it.

    Args:
        case: The case.
        values: The label values that the data set knows; `None`: any whole number from 0.
    """
    grid = case_grid(case)
    if case.label is not None:
        check_label(grid, case.label, values)


def _finder(path: Path) -> Callable[[Path], list[Case]]:
    if path.is_dir():
        return _read_decathlon if (path / "dataset.json").is_file() else _search
    if path.suffix == ".json":
        return _read_decathlon
    return _read_csv if path.suffix == ".csv" else _take_file


def _take_file(path: Path) -> list[Case]:
    return [Case(stem(path.name), (path,))]


def _search(folder: Path) -> list[Case]:
    relatives = [path.relative_to(folder) for path in sorted(folder.rglob("*"))]
    return [
        Case(stem(path), (folder / path,))
        for path in relatives
        if path.name.endswith(ENDINGS)
        and not any(part.startswith(".") for part in path.parts)
        and (folder / path).is_file()
    ]


def read_dataset_json(path: Path) -> dict[str, Any]:
    """Read a ``dataset.json`` of the Medical Segmentation Decathlon.

    Args:
        path: The file or its folder.

    Returns:
        Its content, with a list under ``training``.

    Raises:
        DataError: If it is not such a file.
    """
    file = path / "dataset.json" if path.is_dir() else path
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{file} cannot be read as JSON: {error}") from error
    if not isinstance(content, dict) or not isinstance(content.get("training"), list):
        raise DataError(
            f"{file} lists no cases under 'training', as a dataset.json of the Decathlon does"
        )
    return content


def label_values(source: str | Path) -> dict[int, str] | None:
    """Read which label values a data set knows.

    Args:
        source: What `find_cases` takes.

    Returns:
        Name of each value; `None` if the source does not say.

    Raises:
        DataError: If a value is not a whole number.
    """
    path = Path(source)
    if is_raw(path):
        return raw_label_values(path)
    if _finder(path) is not _read_decathlon:
        return None
    labels = read_dataset_json(path).get("labels")
    if not isinstance(labels, Mapping):
        return None
    try:
        return {int(value): str(name) for value, name in labels.items()}
    except ValueError as error:
        raise DataError(f"{path}: label values are {list(labels)}; use whole numbers") from error


def _read_decathlon(path: Path) -> list[Case]:
    root = path if path.is_dir() else path.parent
    cases = []
    for given in read_dataset_json(path)["training"]:
        entry = {"image": given} if isinstance(given, str) else given
        if not isinstance(entry, dict) or not isinstance(entry.get("image"), str):
            raise DataError(f"{path}: {entry!r} under 'training' names no image")
        image, label = root / entry["image"], entry.get("label")
        cases.append(Case(stem(image.name), (image,), root / label if label else None))
    return cases


def _read_csv(path: Path) -> list[Case]:
    cases = []
    for row in read_rows(path, ("image", "anatomy")):
        files = {key: path.parent / row[key] for key in FILE_COLUMNS if row.get(key)}
        image, label, anatomy, brain = map(files.get, FILE_COLUMNS)
        if image is None and anatomy is None:
            raise DataError(f"{path}: a row names neither an image nor an anatomy: {row}")
        name = row.get("name") or stem(row.get("image") or row["anatomy"])
        facts = row.get("group") or None, anatomy, brain, row.get("contrast") or ""
        cases.append(Case(name, () if image is None else (image,), label, *facts))
    return cases


def _table_beside(path: Path) -> Path | None:
    """Give the table of groups beside a ``dataset.json``."""
    root = path.parent if path.suffix == ".json" else path
    names = ("dataset.json", "cases.csv") if root == path else ("cases.csv",)
    return root / "cases.csv" if all((root / name).is_file() for name in names) else None


def _with_groups(cases: Sequence[Case], table: Path) -> list[Case]:
    rows = read_rows(table, ("case",))
    column = next((name for name in GROUP_COLUMNS if rows and name in rows[0]), None)
    if column is None:
        raise DataError(f"{table} has no column 'group'; it says whom each case is of")
    known = {row["case"]: row[column] for row in rows}
    if lost := [case.name for case in cases if not known.get(case.name)]:
        raise DataError(f"{table} gives no group for {lost[0]} ({len(lost)} of {len(cases)} cases)")
    return [replace(case, group=known[case.name]) for case in cases]


def _require_distinct(cases: Sequence[Case], source: Path) -> None:
    seen: dict[str, Case] = {}
    for case in cases:
        other = seen.setdefault(case.name, case)
        if other is not case:
            raise DataError(
                f"{source}: {other.images[0]} and {case.images[0]} are both named {case.name};"
                " rename one"
            )


def _require_files(cases: Sequence[Case], source: Path) -> None:
    files = [path for case in cases for path in case.files]
    if lost := [path for path in files if not path.is_file()]:
        raise DataError(f"{source}: {lost[0]} does not exist ({len(lost)} of {len(files)} files)")


def _item(case: Case) -> dict[str, Any]:
    images = [str(path) for path in case.images]
    if not images:
        raise DataError(f"{case.name} has no image; a label map alone serves in a simulation only")
    item: dict[str, Any] = {"image": images[0] if len(images) == 1 else images}
    if case.channels:
        item["channels"] = list(case.channels)
    return item if case.label is None else {**item, "label": str(case.label)}
