"""Results as a derivative data set of BIDS, the Brain Imaging Data Structure.

Masks are named by `volseg.data.listing.bids`; `write_segmentation` writes the table and the sidecar
beside each. https://bids-specification.readthedocs.io
"""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from volseg import __version__
from volseg.errors import DataError
from volseg.inference.outputs.whole import write_text

VERSION = "1.10.0"
"""The version of BIDS that is followed."""

DESCRIPTION = "dataset_description.json"

IGNORE = ".bidsignore"
"""Names what validators are to pass over."""

README = """Segmentations that volseg has made of another data set.

Each mask, *_dseg.nii.gz, lies on the grid of its image. The table beside it names its labels, and
the sidecar gives their volumes. They were made by a machine: look at them before you rely on them.
"""


IGNORED = """# what a run leaves beside the masks, and maps for which BIDS has no suffix
manifest.jsonl
run.json
report.html
volumes.csv
volumes.json
**/*_entropy.*
**/*_variance.*
"""
"""The content of ``.bidsignore``."""


def write_bids_description(
    folder: Path, source: Path | None = None, settings: Mapping[str, Any] | None = None
) -> None:
    """Write ``dataset_description.json``, and ``README`` and ``.bidsignore`` where there are none.

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
    if not (folder / IGNORE).exists():
        write_text(folder / IGNORE, IGNORED)


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
