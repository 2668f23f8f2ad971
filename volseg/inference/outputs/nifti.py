"""A mask as NIfTI, with the names and colours of its labels in the header and beside it.

The header extension has the code 30 and the XML of the Caret family of programs, from which
Connectome Workbench takes names and colours; others pass over it. What NIfTI's description holds,
79 letters, is too short for most lists of classes.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from nibabel.nifti1 import Nifti1Extension
from numpy.typing import NDArray

from volseg import __version__
from volseg.data.headers import UNREADABLE, one_line
from volseg.data.reading import Reading
from volseg.errors import DataError, GeometryError
from volseg.inference.outputs.grid import image_on_grid, require_on_grid
from volseg.inference.outputs.legend import Legend
from volseg.inference.outputs.sidecar import describe_sources, label_table
from volseg.inference.outputs.volumes import count_voxels, voxel_volume
from volseg.inference.outputs.whole import whole_files

CARET = 30
"""The code of header extensions of the Caret family, as NIfTI's registry of codes has it."""

INTENT_LABEL = 1002
"""NIfTI's code for voxels that are indices into a list of labels."""

LABEL_TABLE = "_dseg"
"""A file whose name ends so belongs to a BIDS data set, where a table stands beside it."""

ENDINGS = (".nii.gz", ".nii")


def write_nifti(
    labels: NDArray[Any],
    reading: Reading,
    legend: Legend,
    path: Path,
    sources: Sequence[str] | None = None,
) -> None:
    """Write a mask beside its image, with ``NAME.json``; in BIDS also ``NAME.tsv``.

    Args:
        labels: Label of each voxel in the type to be stored, ``(X, Y, Z)``.
        reading: The image.
        legend: The labels.
        path: The file, ``*.nii.gz`` or ``*.nii``.
        sources: What the sidecar calls the image's files; `None`: their paths from the mask.

    Raises:
        GeometryError: If what is read back differs.
    """
    ending = next(ending for ending in ENDINGS if path.name.endswith(ending))
    base = path.name.removesuffix(ending)
    texts = {".json": _sidecar(labels, reading, legend, sources or describe_sources(reading, path))}
    if base.endswith(LABEL_TABLE):
        texts[".tsv"] = label_table(legend)
    companions = [path.with_name(base + suffix) for suffix in texts]
    with whole_files(path, *companions) as (partial, *hidden):
        image = image_on_grid(reading, labels)
        _add_legend(image.header, legend)
        image.to_filename(partial)
        try:
            _require_equal(partial, labels, reading, legend)
        except GeometryError as error:
            raise GeometryError(f"{path}: {error}") from error
        for file, text in zip(hidden, texts.values(), strict=True):
            file.write_text(text, "utf-8", "backslashreplace", "\n")


def read_legend(image: Any) -> dict[int, tuple[str, tuple[int, int, int]]]:
    """Read names and colours from the header of a mask.

    Args:
        image: An image of nibabel, opened from a file.

    Returns:
        Name and colour of each label value.

    Raises:
        DataError: If the header has no such list, or a damaged one.
    """
    path = image.get_filename()
    found = [item.content for item in image.header.extensions if item.get_code() == CARET]
    if not found:
        raise DataError(f"{path}: has no list of labels in its header")
    try:
        root = ElementTree.fromstring(found[0].rstrip(b"\0"))
        return {
            int(item.attrib["Key"]): (item.text or "", _color_of(item.attrib))
            for item in root.iter("Label")
        }
    except (ElementTree.ParseError, KeyError, ValueError) as error:
        raise DataError(f"{path}: its list of labels is damaged ({one_line(error)})") from error


def _add_legend(header: Any, legend: Legend) -> None:
    header["intent_code"] = INTENT_LABEL
    names = ", ".join(f"{label.value} {label.name}" for label in legend)
    header["descrip"] = f"volseg: {names}".encode("ascii", "replace")[:79]
    root = ElementTree.Element("CaretExtension")
    volume = ElementTree.SubElement(root, "VolumeInformation", Index="0")
    table = ElementTree.SubElement(volume, "LabelTable")
    for label in legend:
        parts = (f"{part / 255:.6f}" for part in label.color)
        attributes = {"Key": str(label.value), "Alpha": "1"}
        attributes |= zip(("Red", "Green", "Blue"), parts, strict=True)
        item = ElementTree.SubElement(table, "Label", attributes)
        item.text = label.name
    ElementTree.SubElement(volume, "VolumeType").text = "Label"
    content = ElementTree.tostring(root, encoding="us-ascii", xml_declaration=True)
    header.extensions.append(Nifti1Extension(CARET, content))


def _color_of(attributes: dict[str, str]) -> tuple[int, int, int]:
    red, green, blue = (round(255 * float(attributes[key])) for key in ("Red", "Green", "Blue"))
    return red, green, blue


def _require_equal(path: Path, labels: NDArray[Any], reading: Reading, legend: Legend) -> None:
    written = require_on_grid(path, reading, labels.shape)
    if written.get_data_dtype() != labels.dtype:
        raise GeometryError(f"holds {written.get_data_dtype()} when read back, not {labels.dtype}")
    try:
        values = np.asanyarray(written.dataobj)
    except UNREADABLE as error:
        raise GeometryError(f"cannot be read back ({one_line(error)})") from error
    changed = np.count_nonzero(values != labels)
    if changed:
        raise GeometryError(f"{changed} voxels read back with another label")
    try:
        found = read_legend(written)
    except DataError as error:
        raise GeometryError(f"cannot be read back ({error})") from error
    if found != {label.value: (label.name, label.color) for label in legend}:
        raise GeometryError("the names of its labels read back otherwise")


def _sidecar(labels: NDArray[Any], reading: Reading, legend: Legend, sources: Sequence[str]) -> str:
    counts = count_voxels(labels, legend[-1].value)
    voxel = voxel_volume(reading.affine)
    items = {
        str(label.value): {
            "Name": label.name,
            "Color": label.hex_color,
            "Voxels": int(counts[label.value]),
            "VolumeInMillilitres": round(float(counts[label.value]) * voxel, 6),
        }
        for label in legend
    }
    content = {
        "Description": "Segmentation on the grid of its image",
        "Sources": list(sources),
        "SpatialReference": sources[0],
        "GeneratedBy": f"volseg {__version__}",
        "Labels": items,
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"
