"""Finding the series in a folder: which files make one volume.

Files of one SeriesInstanceUID belong together, and those of them whose planes agree in size,
spacing and directions make a volume: a series of localisers in three directions has three.
"""

import logging
import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from volseg.data.dicom.headers import is_dicom, kind_of, load_pydicom, read_dataset, unreadable
from volseg.data.dicom.planes import Plane, planes_of
from volseg.data.dicom.stack import is_parallel
from volseg.data.source import Source
from volseg.errors import DataError

logger = logging.getLogger(__name__)

NO_SCANS = (
    *("DICOMDIR", "DOC", "FID", "KO", "PR", "REG", "SEG", "SR"),
    *("RTDOSE", "RTPLAN", "RTRECORD", "RTSTRUCT"),
)
"""Modalities whose objects are no scans, even if their class of objects was removed."""

SCANS = ("CT", "MR", "PT", "NM")
"""Modalities whose images belong to a volume; where one of them is damaged, something is lost."""


@dataclass(frozen=True)
class Instance:
    """A file of a series.

    Args:
        path: The file.
        series: What the files of its series have in common.
        label: Number and description of the series.
        identity: Its SOPInstanceUID.
        plane: Its first plane; `None` if it is damaged.
    """

    path: Path
    series: str
    label: str = ""
    identity: str = ""
    plane: Plane | None = None


@dataclass
class Volume:
    """The files of a volume, as far as they were found.

    Args:
        instances: The files, at least one.
    """

    instances: list[Instance] = field(default_factory=list)

    @property
    def folder(self) -> Path:
        """Give the folder that holds all its files."""
        return Path(os.path.commonpath([instance.path.parent for instance in self.instances]))

    @property
    def label(self) -> str:
        """Give number and description of its series."""
        return self.instances[0].label


def find_series(folder: Path) -> list[Source]:
    """Find the DICOM series in a folder and the folders below it.

    Objects that are no scans (reports, contours, segmentations, localisers) are left out, and the
    log says how many of each there were. A damaged file goes to the series beside which it lies,
    so that reading that series names it, and no slice is lost without a word.

    Args:
        folder: The folder.

    Returns:
        A source for each volume, by name: the folder of the series; where a folder holds several,
        followed by number and description of the series.

    Raises:
        DataError: If there is no such folder, or pydicom is not installed.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: is no folder")
    instances, left_out = _look_through(folder)
    if left_out:
        listed = ", ".join(f"{count} {kind}" for kind, count in sorted(left_out.items()))
        logger.info("%s: left out %s", folder, listed)
    whole = [instance for instance in instances if instance.plane is not None]
    volumes = [volume for series in _by_series(whole) for volume in _by_grid(series)]
    _add_damaged(volumes, [instance for instance in instances if instance.plane is None])
    return _name(volumes, folder)


def _look_through(folder: Path) -> tuple[list[Instance], Counter[str]]:
    instances, left_out = [], Counter[str]()
    for path in sorted(folder.rglob("*")):
        is_hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if is_hidden or not path.is_file() or not is_dicom(path):
            continue
        found = _look_at(path)
        if isinstance(found, Instance):
            instances.append(found)
        else:
            left_out[found] += 1
    return instances, left_out


def _look_at(path: Path) -> Instance | str:
    """Give the instance that a file is, or what it is instead."""
    try:
        dataset = read_dataset(path)
        reason = _reason_to_leave_out(dataset)
        if reason:
            return reason
        series = str(dataset.get("SeriesInstanceUID", "") or "") or f"in {path.parent}"
        identity = str(dataset.get("SOPInstanceUID", "") or "")
        found = Instance(path, series, _label(dataset), identity)
    except unreadable(DataError):
        return Instance(path, "")
    try:
        return replace(found, plane=planes_of(path, dataset)[0])
    except DataError:
        return found


def _reason_to_leave_out(dataset: Any) -> str:
    """Say what an object is if it is known to be no scan; a damaged one is not known to be."""
    kind, uid = kind_of(dataset), dataset.get("SOPClassUID")
    name = str(uid.name) if uid in load_pydicom("pydicom.uid").UID_dictionary else ""
    if "LOCALIZER" in (dataset.get("ImageType") or []):
        return "localiser"
    if kind in NO_SCANS:
        return kind
    if name and "Image Storage" not in name:
        return name
    has_place = "ImagePositionPatient" in dataset or "PerFrameFunctionalGroupsSequence" in dataset
    may_lack_one = name and (kind not in SCANS or "Secondary Capture" in name)
    if dataset.get("Rows") and not has_place and may_lack_one:
        return f"{kind} without a place in space"
    return ""


def _by_series(instances: Iterable[Instance]) -> list[list[Instance]]:
    """Group by series; copies of a series in two folders are two."""
    found = defaultdict(list)
    for instance in instances:
        found[instance.series].append(instance)
    groups: list[list[Instance]] = []
    for series in found.values():
        known = [instance.identity for instance in series if instance.identity]
        folders = defaultdict(list)
        for instance in series:
            has_copies = len(set(known)) < len(known)
            folders[instance.path.parent if has_copies else None].append(instance)
        groups.extend(folders.values())
    return groups


def _by_grid(series: Iterable[Instance]) -> list[Volume]:
    volumes: list[Volume] = []
    for instance in series:
        plane = instance.plane
        fitting = (
            volume
            for volume in volumes
            if plane is not None
            and volume.instances[0].plane is not None
            and is_parallel(volume.instances[0].plane, plane)
        )
        volume = next(fitting, None)
        if volume is None:
            volumes.append(Volume([instance]))
        else:
            volume.instances.append(instance)
    return volumes


def _add_damaged(volumes: list[Volume], damaged: Sequence[Instance]) -> None:
    """Give each damaged file to the one volume of its series or folder; else it is its own."""
    whole = list(volumes)
    for instance in damaged:
        same = [volume for volume in whole if volume.instances[0].series == instance.series]
        beside = [volume for volume in whole if volume.folder == instance.path.parent]
        home = next((group[0] for group in (same, beside) if len(group) == 1), None)
        if home is None:
            volumes.append(Volume([instance]))
        else:
            home.instances.append(instance)


def _name(volumes: Sequence[Volume], root: Path) -> list[Source]:
    sharing = Counter(volume.folder for volume in volumes)
    taken, sources = Counter[str](), []
    for volume in sorted(volumes, key=lambda volume: (volume.label, volume.instances[0].path)):
        below = volume.folder.relative_to(root).as_posix()
        is_alone = sharing[volume.folder] == 1
        parts = [below] if below != "." else [root.resolve().name] if is_alone else []
        name = "/".join(parts if is_alone else [*parts, volume.label or "series"])
        taken[name] += 1
        suffix = f"_{taken[name]}" if taken[name] > 1 else ""
        files = tuple(instance.path for instance in volume.instances)
        sources.append(Source(f"{name}{suffix}", files, "dicom"))
    return sorted(sources, key=lambda source: source.name)


def _label(dataset: Any) -> str:
    number, text = dataset.get("SeriesNumber"), str(dataset.get("SeriesDescription", "") or "")
    words = [f"{int(number):03d}"] if number not in (None, "") else []
    return "_".join([*words, *re.findall(r"\w+", text)])
