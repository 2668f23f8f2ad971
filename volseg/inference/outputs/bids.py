"""Results as a derivative data set of BIDS, the Brain Imaging Data Structure.

A mask lies at ``sub-01/ses-1/anat/sub-01_ses-1_desc-volseg_dseg.nii.gz``; `write_segmentation`
writes the table and the sidecar beside it. https://bids-specification.readthedocs.io
"""

import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from volseg import __version__
from volseg.errors import DataError
from volseg.inference.outputs.whole import write_text

VERSION = "1.10.0"
"""The version of BIDS that is followed."""

DESCRIPTION = "dataset_description.json"

README = """Segmentations that volseg has made of another data set.

Each mask, *_dseg.nii.gz, lies on the grid of its image. The table beside it names its labels, and
the sidecar gives their volumes. They were made by a machine: look at them before you rely on them.
"""


def write_bids_description(
    folder: Path, source: Path | None = None, settings: Mapping[str, Any] | None = None
) -> None:
    """Write ``dataset_description.json``, and a ``README`` where there is none.

    Args:
        folder: The root of the derivatives.
        source: The root of the data set that was segmented; masks refer to it as ``bids:raw:``.
        settings: What else to say of the program that made them, such as its container.
    """
    content: dict[str, Any] = {
        "Name": "Segmentations by volseg",
        "BIDSVersion": VERSION,
        "DatasetType": "derivative",
        "GeneratedBy": [{"Name": "volseg", "Version": __version__, **(settings or {})}],
    }
    if source is not None:
        content["SourceDatasets"] = [{"URL": source.absolute().as_uri()}]
        relative = os.path.relpath(source.absolute(), folder.absolute())
        content["DatasetLinks"] = {"raw": Path(relative).as_posix()}
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / DESCRIPTION, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    if not any(folder.glob("README*")):
        write_text(folder / "README", README)


def bids_path(name: str, description: str = "volseg", suffix: str = "dseg") -> PurePosixPath:
    """Say where the result for an image of a BIDS data set lies.

    Args:
        name: The image below the root, without ending: ``sub-01/anat/sub-01_T1w``.
        description: The value of the entity ``desc``, which replaces one that is there.
        suffix: What it is: ``dseg`` for masks, ``probseg`` for probabilities.

    Returns:
        The path below the root of the derivatives, with ``.nii.gz``.

    Raises:
        DataError: If the name is none of BIDS, or the description not letters and digits.

    Examples:
        >>> str(bids_path("sub-01/anat/sub-01_T1w"))
        'sub-01/anat/sub-01_desc-volseg_dseg.nii.gz'
    """
    path = PurePosixPath(name)
    *entities, _ = path.name.split("_")
    if not entities or not all(re.fullmatch(r"[a-z]+-[A-Za-z0-9+]+", part) for part in entities):
        raise DataError(f"{name}: is no name of BIDS; it has the form sub-01/anat/sub-01_T1w")
    if not entities[0].startswith("sub-"):
        raise DataError(f"{name}: names no subject; it has the form sub-01/anat/sub-01_T1w")
    if not re.fullmatch(r"[A-Za-z0-9]+", description):
        raise DataError(f"{description!r} is no value of a BIDS entity; use letters and digits")
    kept = [part for part in entities if not part.startswith("desc-")]
    return path.with_name("_".join([*kept, f"desc-{description}", f"{suffix}.nii.gz"]))


def bids_sources(files: Sequence[Path], root: Path) -> list[str]:
    """Refer to files of the data set that was segmented, for the sidecar of a mask.

    Args:
        files: The files.
        root: The root of the data set.

    Returns:
        One reference a file, ``bids:raw:sub-01/anat/sub-01_T1w.nii.gz``.

    Raises:
        DataError: If a file is not in the data set.
    """
    base, references = root.absolute(), []
    for file in files:
        if not file.absolute().is_relative_to(base):
            raise DataError(f"{file}: is not in the data set {root}")
        references.append(f"bids:raw:{file.absolute().relative_to(base).as_posix()}")
    return references
