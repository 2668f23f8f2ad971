"""Images of a BIDS data set, and the names of its derivatives.

Brain Imaging Data Structure 1.9 (https://bids-specification.readthedocs.io): entities such as
``sub-01`` and a suffix such as ``T1w`` make a name. Only ``anat``, ``ct`` and ``pet`` hold volumes
that are segmented; ``derivatives`` and ``sourcedata`` are no part of the raw data.
"""

import json
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from volseg.data.listing.folders import is_image, name_below
from volseg.data.listing.naming import Naming
from volseg.data.listing.scan_case import FoundImage, ScanCase
from volseg.data.listing.sequences import canonical
from volseg.data.listing.walk import list_folder
from volseg.data.reading import source_of
from volseg.errors import DataError

DESCRIPTION = "dataset_description.json"

DATATYPES = ("anat", "ct", "pet")

NO_SCANS = ("dseg", "probseg", "mask", "defacemask")
"""Suffixes of results."""

LAST = ("space", "desc")
"""Entities that follow those of the image."""

NO_MAGNITUDES = ("part-phase", "part-real", "part-imag")


def bids_images(root: Path, naming: Naming, below: Path | None = None) -> list[FoundImage]:
    """List the images of a data set.

    Args:
        root: Its folder.
        naming: A map from names to channels that overrules the suffixes.
        below: A subject's or session's folder in it, to list no other; `None`: all.

    Returns:
        The images, by subject and session.
    """
    return [
        _describe(path, root, naming)
        for folder in _datatype_folders(root)
        if below is None or folder.is_relative_to(below)
        for path in list_folder(folder)
        if is_image(path) and _is_scan(path)
    ]


def is_derivative(folder: Path) -> bool:
    """Tell a data set of results from one of scans.

    Args:
        folder: The data set.

    Returns:
        Whether its description says that it is derived from another.
    """
    try:
        content = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and content.get("DatasetType") == "derivative"


def bids_root(folder: Path) -> Path:
    """Give the data set that a folder of it would belong to.

    Args:
        folder: A data set, a subject or a session.

    Returns:
        The folder above subject and session; any other folder itself.
    """
    if folder.name.startswith("ses-") and folder.parent.name.startswith("sub-"):
        return folder.parent.parent
    return folder.parent if folder.name.startswith("sub-") else folder


def bids_home(file: Path) -> Path:
    """Give the data set that a file belongs to.

    Args:
        file: A file below a subject's folder.

    Returns:
        The folder that the subject's folder lies in; of any other file, its own.
    """
    subjects = (folder for folder in file.parents if folder.name.startswith("sub-"))
    return next(subjects, file).parent


def bids_output_name(case: ScanCase, suffix: str = "dseg") -> Path:
    """Name a result after the rules of BIDS derivatives.

    Args:
        case: A case whose name begins with its subject, as in ``sub-01/anat/sub-01_T1w``.
        suffix: What the result is.

    Returns:
        Path below the derivative's folder, without ending. The entities are those of the image and
        ``space-orig``; the image's suffix, if the case has one, becomes ``desc``.

    Raises:
        DataError: If the case has no subject.

    Examples:
        >>> bids_output_name(ScanCase("sub-01/ses-2/anat/sub-01_ses-2_acq-a_T1w", {})).name
        'sub-01_ses-2_acq-a_space-orig_desc-T1w_dseg'
    """
    parts = PurePosixPath(case.name).name.split("_")
    pairs = [part.partition("-") for part in parts]
    entities: dict[str, str] = {key: value for key, dash, value in pairs if dash}
    if not entities.get("sub"):
        raise DataError(f"{case.name} names no subject (sub-...), so BIDS has no name for it")
    entities.setdefault("space", "orig")
    if "-" not in parts[-1]:
        entities["desc"] = entities.get("desc", "") + parts[-1]
    order = sorted(entities, key=lambda key: LAST.index(key) if key in LAST else -1)
    name = "_".join([*(f"{key}-{entities[key]}" for key in order), suffix])
    session = [f"ses-{entities['ses']}"] if "ses" in entities else []
    return Path(f"sub-{entities['sub']}", *session, "anat", name)


def _datatype_folders(root: Path) -> Iterator[Path]:
    for subject in list_folder(root):
        if not (subject.name.startswith("sub-") and subject.is_dir()):
            continue
        for folder in (path for path in list_folder(subject) if path.is_dir()):
            if folder.name.startswith("ses-"):
                yield from (path for path in list_folder(folder) if path.name in DATATYPES)
            elif folder.name in DATATYPES:
                yield folder


def _is_scan(path: Path) -> bool:
    parts = source_of(path).name.split("_")
    return parts[-1].lower() not in NO_SCANS and not set(parts) & set(NO_MAGNITUDES)


def _describe(path: Path, root: Path, naming: Naming) -> FoundImage:
    name = name_below(path, root)
    *entities, suffix = PurePosixPath(name).name.split("_")
    place = [entity for entity in entities if entity.startswith(("sub-", "ses-"))]
    case = "/".join([*place, "anat", "_".join(place)])
    channel = naming.channel_of(name, _sequence(entities, suffix))
    return FoundImage(source_of(path, name), root, case, channel, "bids")


def _sequence(entities: list[str], suffix: str) -> str:
    """Say what a suffix shows; a contrast agent in T1 makes it another sequence."""
    sequence = canonical(suffix)
    if not any(entity.startswith("ce-") for entity in entities):
        return sequence
    return "t1c" if sequence == "t1" else f"ce-{sequence}"
