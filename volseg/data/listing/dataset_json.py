"""Data sets that a ``dataset.json`` describes: of the Decathlon, or of nnU-Net (version 2)."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from volseg.data.listing.folders import is_image, name_below
from volseg.data.listing.naming import Naming
from volseg.data.listing.scan_case import FoundImage
from volseg.data.listing.walk import list_folder
from volseg.data.reading import source_of
from volseg.data.source import Source
from volseg.errors import DataError

IMAGE_FOLDERS = ("imagesTs", "imagesTr")
"""Folders of images of an nnU-Net data set; test images come first."""

PARTS = ("test", "training")
"""Lists of images in a ``dataset.json`` of the Decathlon; test images come first."""

NUMBERED = re.compile(r"(.+)_(\d{4})")
"""A file's name of nnU-Net: case and number of the channel."""


def read_description(path: Path) -> dict[str, Any]:
    """Read a ``dataset.json``.

    Args:
        path: The file.

    Returns:
        Its content.

    Raises:
        DataError: If it cannot be read.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(content, dict):
        raise DataError(f"{path} holds no JSON object, as a dataset.json does")
    return content


def layout_of(path: Path) -> str:
    """Tell whose ``dataset.json`` a file is.

    Args:
        path: The file.

    Returns:
        ``nnunet`` or ``decathlon``.

    Raises:
        DataError: If it is neither.
    """
    content = read_description(path)
    if isinstance(content.get("channel_names"), dict):
        return "nnunet"
    if any(isinstance(content.get(part), list) for part in PARTS):
        return "decathlon"
    raise DataError(
        f"{path} has neither 'channel_names' as in nnU-Net nor 'training' or 'test' as in the"
        f" Decathlon, and in the folder of a data set labels would be taken for images; give its"
        " folder of images, such as imagesTr"
    )


def decathlon_images(path: Path) -> list[FoundImage]:
    """List the images of a data set of the Medical Segmentation Decathlon.

    Args:
        path: Its ``dataset.json``.

    Returns:
        Its test images, then its training images.

    Raises:
        DataError: If an entry names no image.
    """
    content = read_description(path)
    modality = content.get("modality")
    channels = [str(name) for name in modality.values()] if isinstance(modality, dict) else []
    images = []
    for part in PARTS:
        for entry in content.get(part) or ():
            given = entry.get("image") if isinstance(entry, dict) else entry
            if not isinstance(given, str):
                raise DataError(f"{path}: {entry!r} under {part!r} names no image; give its path")
            images.append(_decathlon_image(path.parent, given, channels))
    return images


def _decathlon_image(root: Path, given: str, channels: Sequence[str]) -> FoundImage:
    source = listed_source(root, given)
    reason = missing(source.files[0])
    if len(channels) > 1:
        names = ", ".join(channels)
        reason = f"holds {len(channels)} channels ({names}) in one 4D file; give one file a channel"
    channel = channels[0] if len(channels) == 1 else None
    return FoundImage(source, root, source.name, channel, "dataset", reason=reason)


def listed_source(root: Path, given: str) -> Source:
    """Make a source of a path in a list.

    Args:
        root: The folder of the list.
        given: The path, relative to it or absolute.

    Returns:
        The source, named by its path below the folder, or else by its file's name.
    """
    path = root / given
    own = source_of(path)
    parts = PurePosixPath(Path(given).as_posix()).parent.parts
    is_below = not Path(given).is_absolute() and ".." not in parts
    folders = [part for part in parts if part != "."] if is_below else []
    return Source("/".join([*folders, own.name]), own.files, own.format)


def missing(path: Path) -> str | None:
    """Say that a file is not there.

    Args:
        path: The file.

    Returns:
        The reason why it cannot be used; `None` if it is there.
    """
    return None if path.is_file() else "does not exist"


def nnunet_images(
    path: Path, naming: Naming, folders: Sequence[str] = IMAGE_FOLDERS, base: Path | None = None
) -> list[FoundImage]:
    """List the images of a raw data set of nnU-Net.

    Args:
        path: Its ``dataset.json``.
        naming: A map from names to channels that overrules the file.
        folders: Folders of images to look into; those that are absent have none.
        base: The folder that names are relative to; `None`: that of the file.

    Returns:
        The images, with the channels that ``dataset.json`` gives to their numbers. Where it names
        the training images one by one, these are taken instead of a folder.

    Raises:
        DataError: If ``channel_names`` is none.
    """
    content, root = read_description(path), path.parent
    channels = content.get("channel_names")
    if not isinstance(channels, dict) or not channels:
        raise DataError(f'{path} has no \'channel_names\', such as {{"0": "T1"}}, as nnU-Net has')
    listed = content.get("dataset") if base is None else None
    explicit = _explicit_images(path, listed, channels) if isinstance(listed, dict) else ()
    folders = IMAGE_FOLDERS[:1] if explicit else folders
    files = [
        file
        for folder in folders
        if (root / folder).is_dir()
        for file in list_folder(root / folder)
        if is_image(file)
    ]
    return [*(_numbered_image(file, base or root, channels, naming) for file in files), *explicit]


def _numbered_image(
    path: Path, base: Path, channels: Mapping[str, Any], naming: Naming
) -> FoundImage:
    name = name_below(path, base)
    source, found = source_of(path, name), NUMBERED.fullmatch(name)
    if found is None:
        wrong = "its name ends in no channel's number, such as _0000, as nnU-Net wants it"
        return FoundImage(source, base, name, origin="dataset", reason=wrong)
    case, number = found[1], str(int(found[2]))
    unknown = f"dataset.json knows no channel {number}; it has {', '.join(channels)}"
    reason = None if number in channels else unknown
    channel = naming.channel_of(name, str(channels.get(number, number)))
    own = Source(case, source.files, source.format) if len(channels) == 1 else source
    return FoundImage(own, base, case, channel, "dataset", reason=reason)


def _explicit_images(
    path: Path, listed: Mapping[str, Any], channels: Mapping[str, Any]
) -> Iterator[FoundImage]:
    """List the images that ``dataset.json`` names one by one."""
    for case, entry in listed.items():
        files = entry.get("images") if isinstance(entry, dict) else None
        if not isinstance(files, list) or len(files) != len(channels):
            raise DataError(
                f"{path}: {case} under 'dataset' needs {len(channels)} images, one a channel"
            )
        for number, file in enumerate(files):
            source = listed_source(path.parent, str(file))
            name = case if len(channels) == 1 else f"{case}_{number:04d}"
            source = Source(name, source.files, source.format)
            channel = str(channels.get(str(number), number))
            reason = missing(source.files[0])
            yield FoundImage(source, path.parent, case, channel, "dataset", reason=reason)
