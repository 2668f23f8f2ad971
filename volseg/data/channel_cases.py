"""Cases for training whose channels have names: one file a sequence, or one file of several.

Where the files lie is found as for segmenting (`volseg.data.listing`); here each case also gets its
label. It lies in ``labelsTr`` in nnU-Net's layout, under ``label`` in a list, and otherwise beside
the images, with their name and ``seg`` or another such word at its end.
"""

import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from volseg.data.case import Case, stem
from volseg.data.headers import open_image
from volseg.data.listed_heads import is_list_of_heads, listed_heads
from volseg.data.listing.dataset_json import IMAGE_FOLDERS, layout_of, read_description
from volseg.data.listing.find import find_scans
from volseg.data.listing.lists import ENDINGS as LIST_ENDINGS
from volseg.data.listing.lists import read_list
from volseg.data.listing.scan_case import ScanCase
from volseg.data.listing.sequences import canonical, split_sequence
from volseg.data.volumes import ENDINGS, NamedGrid, read_grid, require_same_grid
from volseg.errors import DataError

LABEL = re.compile(r"(?:^|[_\-. ])(?:seg|dseg|segmentation|labels?|mask|gt)$", re.IGNORECASE)
"""How the name of a label ends."""

PATIENT = re.compile(r"(?:^|/)(BraTS-[A-Za-z]+-\d+)-\d+$|(?:^|/)(sub-[A-Za-z0-9]+)(?=[_/]|$)")
"""The patient in names of BraTS since 2023, whose last number is that of the scan, and of BIDS."""


def is_raw(path: Path) -> bool:
    """Tell a raw data set of nnU-Net.

    Args:
        path: A source of cases.

    Returns:
        Whether it has a ``dataset.json`` with names of channels; one that cannot be read has none.
    """
    file = _description(path)
    try:
        return file is not None and isinstance(read_description(file).get("channel_names"), dict)
    except DataError:
        return False


def raw_label_values(path: Path) -> dict[int, str] | None:
    """Read which label values a raw data set of nnU-Net knows.

    Args:
        path: The data set.

    Returns:
        Name of each value; `None` if it does not say, as where regions overlap.
    """
    file = _description(path)
    labels = None if file is None else read_description(file).get("labels")
    if not isinstance(labels, dict) or not all(isinstance(v, int) for v in labels.values()):
        return None
    return {value: str(name) for name, value in labels.items()}


def channel_cases(
    path: Path, channels: Sequence[str], *, optional_channels: bool = False
) -> list[Case]:
    """Find the cases of a source by their channels.

    Args:
        path: A raw data set of nnU-Net, a data set of the Decathlon, a folder of cases as in BraTS,
            a list with a column for each channel and one for the label, or one of heads as of
            `volseg.data.listed_heads`.
        channels: What a network takes, in its order.
        optional_channels: Whether a case may lack some of them.

    Returns:
        The cases; each has the images, and their names, in the order of the channels.

    Raises:
        DataError: If a case lacks a channel, or all of them.
    """
    if is_list_of_heads(path):
        return listed_heads(path, channels)
    file = _description(path)
    if file is not None and layout_of(file) == "decathlon":
        return [_decathlon_case(file, entry) for entry in read_description(file)["training"]]
    scans = find_scans([path], channels, optional_channels=optional_channels)
    for scan in scans:
        if scan.reason is not None:
            raise DataError(f"{path}: {scan.name}: {scan.reason}")
    rows = _rows(path, channels) if path.suffix.lower() in LIST_ENDINGS else {}
    return [_case_of(scan, file, rows, has_names=len(channels) > 1) for scan in scans]


def case_grid(case: Case) -> NamedGrid:
    """Read where a case lies; its channels must share a grid.

    Args:
        case: The case.

    Returns:
        Name, shape and affine of its first image.

    Raises:
        DataError: If a file of several channels has another number of them than names.
    """
    if len(case.channels) <= len(case.images):
        first, *others = [read_grid(image) for image in case.images]
        for other in others:
            require_same_grid(first, other)
        return first
    (path,) = case.images
    image = open_image(path)
    if len(image.shape) != 4 or image.shape[3] != len(case.channels):
        raise DataError(
            f"{path}: has shape {image.shape}, and {', '.join(case.channels)} are named; give one"
            " channel a name along the 4th axis"
        )
    return str(path), tuple(image.shape[:3]), np.asarray(image.affine, np.float64)


def patient_of(name: str) -> str | None:
    """Read from a case's name whom it is of, where names follow a known habit.

    Args:
        name: The name.

    Returns:
        The patient; `None` if the name does not tell.

    Examples:
        >>> patient_of("BraTS-GLI-00005-101"), patient_of("sub-03/ses-2/anat/sub-03_ses-2")
        ('BraTS-GLI-00005', 'sub-03')
    """
    found = PATIENT.search(name)
    return None if found is None else found[1] or found[2]


def _description(path: Path) -> Path | None:
    file = path / "dataset.json" if path.is_dir() else path
    return file if file.suffix == ".json" and file.is_file() else None


def _decathlon_case(file: Path, given: Any) -> Case:
    """Make a case of an entry; its channels are those of the data set, or what its name ends in."""
    entry = given if isinstance(given, dict) else {"image": given}
    if not isinstance(entry.get("image"), str):
        raise DataError(f"{file}: {given!r} under 'training' names no image")
    image, label = file.parent / entry["image"], entry.get("label")
    modality = read_description(file).get("modality")
    shown = list(modality.values()) if isinstance(modality, dict) else []
    own = split_sequence(stem(image.name))[1]
    names = shown if shown else [own] if own else []
    if not names:
        raise DataError(
            f"{image}: neither its name nor {file} says which sequence it shows; add 'modality' to"
            " the dataset.json"
        )
    channels = tuple(canonical(str(name)) for name in names)
    return Case(
        stem(image.name), (image,), file.parent / label if label else None, channels=channels
    )


def _case_of(
    scan: ScanCase, file: Path | None, rows: dict[Path, dict[str, str]], *, has_names: bool
) -> Case:
    images = tuple(source.files[0] for source in scan.sources.values())
    for image in images:
        if not image.name.endswith(ENDINGS):
            raise DataError(f"{image}: training reads {' and '.join(ENDINGS)}; convert it")
    name = _short(scan.name)
    row = next((rows[path.resolve()] for path in images if path.resolve() in rows), {})
    label = _label_in_list(row, images[0]) if row else _label_of(scan, name, file)
    group = row.get("group") or patient_of(name)
    channels = tuple(map(canonical, scan.sources)) if has_names else ()
    return Case(row.get("name") or name, images, label, group, channels=channels)


def _short(name: str) -> str:
    """Leave out the folder of images, and that of a case if its files have the same name."""
    parts = PurePosixPath(name).parts
    parts = parts[1:] if parts[0] in IMAGE_FOLDERS and len(parts) > 1 else parts
    parts = parts[:-1] if len(parts) > 1 and parts[-1] == parts[-2] else parts
    return "/".join(parts)


def _label_of(scan: ScanCase, name: str, file: Path | None) -> Path | None:
    """Find the label of a case: in ``labelsTr``, or beside its images."""
    if file is not None:
        found = [file.parent / "labelsTr" / f"{name}{ending}" for ending in ENDINGS]
        return next((path for path in found if path.is_file()), None)
    folder, leaf = next(iter(scan.sources.values())).files[0].parent, PurePosixPath(name).name
    found = [
        path
        for path in sorted(folder.iterdir())
        if path.name.endswith(ENDINGS)
        and LABEL.search(stem(path.name))
        and LABEL.sub("", stem(path.name)) in (leaf, "")
    ]
    if len(found) > 1:
        raise DataError(f"{found[0]} and {found[1]} may both be the label of {name}; keep one")
    return found[0] if found else None


def _rows(path: Path, channels: Sequence[str]) -> dict[Path, dict[str, str]]:
    """Give each row of a list by the files that it names."""
    wanted = {"image", *map(canonical, channels)}
    rows: dict[Path, dict[str, str]] = {}
    for row in read_list(path)[1]:
        own = {**row, "label": str(path.parent / row["label"]) if row.get("label") else ""}
        for column, value in row.items():
            if canonical(column) in wanted and value:
                rows[(path.parent / value).resolve()] = own
    return rows


def _label_in_list(row: dict[str, str], image: Path) -> Path | None:
    label = Path(row["label"]) if row["label"] else None
    if label is not None and not label.is_file():
        raise DataError(f"{label}, the label of {image}, does not exist")
    return label
