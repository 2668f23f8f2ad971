"""Probabilities, entropy and variance as NIfTI on the grid of the image.

NIfTI has no 16-bit float. Whole numbers with the header's slope take half the room of 32-bit
floats and pack far better; every program that reads NIfTI applies the slope. Several maps are one
file with a fourth axis, which 3D Slicer opens as a sequence of volumes and ITK-SNAP as a 4D image.
Files are written and read back piece by piece, so that no more than a piece is in memory.
"""

import gzip
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from nibabel.openers import Opener
from nibabel.volumeutils import seek_tell
from numpy.typing import NDArray

from volseg import __version__
from volseg.data.headers import UNREADABLE, one_line
from volseg.data.reading import Reading
from volseg.errors import DataError, GeometryError
from volseg.inference.outputs.grid import image_on_grid, require_on_grid
from volseg.inference.outputs.nifti import LABEL_TABLE
from volseg.inference.outputs.order import in_file_order
from volseg.inference.outputs.sidecar import describe_sources
from volseg.inference.outputs.whole import whole_files
from volseg.inference.survey import NativeMap

ENDING = ".nii.gz"

PIECE_VOXELS = 1 << 22
"""Voxels that are written or compared at once."""

MEANINGS = {
    "probabilities": "Probability of each class, along the fourth axis",
    "entropy": "Entropy of the class probabilities, in nats",
    "variance": "Variance of the probability over flipped views, of the class where it is greatest",
}

BIDS_SUFFIXES = {"probabilities": "probseg"}
"""The suffixes that BIDS has for maps; the others keep their names."""


def map_path(mask: Path, kind: str) -> Path:
    """Name a map.

    Args:
        mask: The mask of the same image.
        kind: ``probabilities``, ``entropy`` or ``variance``.

    Returns:
        A file beside it.

    Examples:
        >>> map_path(Path("a.seg.nrrd"), "entropy").name
        'a_entropy.nii.gz'
        >>> map_path(Path("sub-1_space-orig_dseg.nii.gz"), "probabilities").name
        'sub-1_space-orig_probseg.nii.gz'
    """
    base = mask.name
    for ending in (".gz", ".nii", ".seg.nrrd", ".dcm"):
        base = base.removesuffix(ending)
    if base.endswith(LABEL_TABLE):
        stem = base.removesuffix(LABEL_TABLE)
        return mask.with_name(f"{stem}_{BIDS_SUFFIXES.get(kind, kind)}{ENDING}")
    return mask.with_name(f"{base}_{kind}{ENDING}")


def write_map(
    kind: str,
    chart: NativeMap,
    reading: Reading,
    path: Path,
    sources: Sequence[str] | None = None,
) -> None:
    """Write a map; the file gets its name once it was read back and compared.

    Beside it stands ``.json`` with what it is and, for several maps, what each is.

    Args:
        kind: ``probabilities``, ``entropy`` or ``variance``.
        chart: The map.
        reading: The image.
        path: The file, ``*.nii.gz``. Replaced if it is there.
        sources: What the sidecar calls the image's files; `None`: their paths from the map.

    Raises:
        DataError: If the name has another ending.
        GeometryError: If the map is not on the image's grid, or what is read back differs.
    """
    if not path.name.endswith(ENDING):
        raise DataError(f"{path}: maps are {ENDING}")
    steps = chart.scratch.values
    if steps.shape[1:] != reading.values.shape:
        raise GeometryError(f"map is {steps.shape[1:]} voxels and its image {reading.values.shape}")
    path.parent.mkdir(parents=True, exist_ok=True)
    sidecar = path.with_name(path.name.removesuffix(ENDING) + ".json")
    with whole_files(path, sidecar) as (partial, hidden):
        image = image_on_grid(reading, steps[0] if len(steps) == 1 else np.moveaxis(steps, 0, -1))
        image.header.set_slope_inter(chart.slope, 0)
        image.header["descrip"] = f"volseg: {kind}".encode()
        _write(image.header, chart, partial)
        try:
            _require_equal(partial, chart, reading)
        except GeometryError as error:
            raise GeometryError(f"{path}: {error}") from error
        named = list(sources or describe_sources(reading, path))
        hidden.write_text(_describe(kind, chart, named), "utf-8", "backslashreplace", "\n")


def _write(header: Any, chart: NativeMap, path: Path) -> None:
    with Opener(str(path), "wb") as stream:
        header.write_to(stream)
        seek_tell(stream, header.get_data_offset(), write0=True)
        for piece in _pieces(chart):
            stream.write(piece.tobytes(order="F"))


def _require_equal(path: Path, chart: NativeMap, reading: Reading) -> None:
    steps = chart.scratch.values
    shape = steps.shape[1:] if len(steps) == 1 else (*steps.shape[1:], len(steps))
    proxy = require_on_grid(path, reading, shape).dataobj
    if (proxy.slope, proxy.inter) != (chart.slope, 0) or proxy.dtype != np.uint16:
        raise GeometryError(f"has the scaling {(proxy.slope, proxy.inter)} when read back")
    changed = 0
    try:
        with gzip.open(path) as stream:
            stream.seek(proxy.offset)
            for piece in _pieces(chart):
                found = np.frombuffer(stream.read(piece.nbytes), proxy.dtype)
                changed += int(np.count_nonzero(found != piece.ravel(order="F")))
            changed += len(stream.read())  # at its end the stream's checksum is compared
    except (*UNREADABLE, ValueError) as error:
        raise GeometryError(f"cannot be read back ({one_line(error)})") from error
    if changed:
        raise GeometryError(f"{changed} voxels read back with another value")


def _pieces(chart: NativeMap) -> Iterator[NDArray[np.uint16]]:
    """Give the steps in the order of the file."""
    steps = chart.scratch.values
    depth = max(1, PIECE_VOXELS // (steps.shape[1] * steps.shape[2]))
    for each in steps:
        for first in range(0, steps.shape[3], depth):
            yield in_file_order(each[:, :, first : first + depth], np.uint16)
            chart.scratch.let_go()


def _describe(kind: str, chart: NativeMap, sources: Sequence[str]) -> str:
    content = {
        "Description": MEANINGS[kind],
        "Sources": list(sources),
        "SpatialReference": sources[0],
        "GeneratedBy": f"volseg {__version__}",
    }
    labels = {"LabelMap": list(chart.names)} if len(chart.names) > 1 else {}
    return json.dumps({**content, **labels}, indent=1, ensure_ascii=False) + "\n"
