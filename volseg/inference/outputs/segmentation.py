"""A segmentation in the format that its file's name asks for."""

from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from volseg.data.reading import Reading
from volseg.errors import DataError
from volseg.inference.outputs.legend import Rgb, make_legend, require_labels
from volseg.inference.outputs.nifti import write_nifti
from volseg.inference.outputs.seg_nrrd import write_seg_nrrd

ENDINGS = (".nii.gz", ".nii", ".seg.nrrd", ".dcm")
"""How the files of segmentations end."""

DicomKind = Literal["BINARY", "LABELMAP"]
"""One plane of bits a label, which every viewer knows; or one of values, small, from DICOM 2024."""


def write_segmentation(
    labels: NDArray[np.integer[Any]],
    reading: Reading,
    classes: Mapping[int, str],
    path: Path,
    *,
    colors: Mapping[int, Rgb] | None = None,
    sources: Sequence[str] | None = None,
    dicom_kind: DicomKind = "BINARY",
) -> None:
    """Write a segmentation; it gets its name once it was read back and compared.

    Beside ``.nii.gz`` stands ``.json`` with names, volumes and colours, and beside
    ``_dseg.nii.gz`` also ``_dseg.tsv``. A ``.seg.nrrd`` and a ``.dcm`` hold them themselves.

    Args:
        labels: Label of each voxel on the image's grid, ``(X, Y, Z)``.
        reading: The image.
        classes: Name of each label value; the background, 0, may be left out.
        path: The file; its ending, one of `ENDINGS`, chooses the format. Replaced if it is there.
        colors: Red, green and blue of some label values; the others get those of the report.
        sources: What the sidecar calls the image's files; `None`: their paths from the mask.
        dicom_kind: How a ``.dcm`` stores the labels.

    Raises:
        DataError: If the format is unknown or cannot hold this mask.
    """
    legend = make_legend(classes, colors)
    stored = require_labels(labels, reading.values.shape, legend)
    ending = next((ending for ending in ENDINGS if path.name.lower().endswith(ending)), None)
    path.parent.mkdir(parents=True, exist_ok=True)
    if ending in (".nii.gz", ".nii"):
        write_nifti(stored, reading, legend, path, sources)
    elif ending == ".seg.nrrd":
        write_seg_nrrd(stored, reading, legend, path)
    elif ending == ".dcm":
        _dicom_module().write_dicom_seg(stored, reading, legend, path, dicom_kind)
    else:
        raise DataError(f"{path}: has an ending of no segmentation; use {', '.join(ENDINGS)}")


def _dicom_module() -> Any:
    """Load what needs the extra only when it is needed."""
    try:
        return import_module("volseg.inference.outputs.dicom_seg")
    except ModuleNotFoundError as error:
        raise DataError(
            f"writing DICOM needs {error.name}; install it with pip install 'volseg[dicom]'"
        ) from error
