"""Probabilities, entropy and variance as NIfTI on the grid of the image.

NIfTI has no 16-bit float. Whole numbers with the header's slope take half the room of 32-bit
floats, a quarter at 8 bits, and pack far better; every program that reads NIfTI applies the slope.
Several maps are one file with a fourth axis, which 3D Slicer opens as a sequence of volumes and
ITK-SNAP as a 4D image.
"""

import json
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from volseg import __version__
from volseg.data.headers import UNREADABLE, one_line
from volseg.data.reading import Reading
from volseg.errors import DataError, GeometryError
from volseg.inference.outputs.grid import image_on_grid, require_on_grid
from volseg.inference.outputs.order import blocks_of
from volseg.inference.outputs.sidecar import describe_sources
from volseg.inference.outputs.whole import whole_files

ENDINGS = (".nii.gz", ".nii")

STORED: dict[int, np.dtype[Any]] = {
    8: np.dtype(np.uint8),
    16: np.dtype(np.uint16),
    32: np.dtype(np.float32),
}
"""The stored type for each number of bits a voxel."""


def write_map(
    values: NDArray[np.floating[Any]],
    reading: Reading,
    path: Path,
    *,
    bits: int = 16,
    names: Sequence[str] | None = None,
    sources: Sequence[str] | None = None,
) -> None:
    """Write one map or several; the file gets its name once it was read back and compared.

    Args:
        values: Finite numbers on the image's grid, ``(X, Y, Z)`` or ``(K, X, Y, Z)``.
        reading: The image.
        path: The file, ``*.nii.gz`` or ``*.nii``. Replaced if it is there.
        bits: 8 or 16: steps of a 255th or 65535th of the range from 0 to the greatest value; 32:
            floats.
        names: What each map is, for a sidecar ``NAME.json``; `None`: no sidecar.
        sources: What the sidecar calls the image's files; `None`: their paths from the map.

    Raises:
        DataError: If the values are not finite, or the format is unknown.
        GeometryError: If the maps are not on the image's grid, or what is read back differs.
    """
    ending = next((ending for ending in ENDINGS if path.name.lower().endswith(ending)), None)
    if ending is None or bits not in STORED:
        raise DataError(f"{path}: maps are {' or '.join(ENDINGS)} of 8, 16 or 32 bits")
    if values.ndim not in (3, 4) or values.shape[-3:] != reading.values.shape:
        raise GeometryError(
            f"maps are {values.shape} and their image {reading.values.shape}; use (X, Y, Z) or"
            " (K, X, Y, Z)"
        )
    count = 1 if values.ndim == 3 else len(values)
    if names is not None and len(names) != count:
        raise DataError(f"{path}: {len(names)} names for {count} maps")
    stored, slope, offset = _quantise(values.reshape(-1, *reading.values.shape), bits)
    stored = stored if values.ndim == 4 else stored[..., 0]
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_files(path, *_sidecar_path(path, ending, names)) as (partial, *hidden):
        image = image_on_grid(reading, stored)
        image.header.set_slope_inter(slope, offset)
        image.header["descrip"] = f"volseg: {', '.join(names or ())}".encode("ascii", "replace")[
            :79
        ]
        image.to_filename(partial)
        try:
            _require_equal(partial, stored, (slope, offset), reading)
        except GeometryError as error:
            raise GeometryError(f"{path}: {error}") from error
        for file in hidden:
            file.write_text(_sidecar(names or (), sources or describe_sources(reading, path)))


def _quantise(values: NDArray[Any], bits: int) -> tuple[NDArray[Any], float, float]:
    """Give stored numbers, ``(X, Y, Z, K)``, slope and offset; block by block."""
    low, high = float(values.min()), float(values.max())
    if not max(-low, high) <= np.finfo(np.float32).max:  # NaN is not, either
        raise DataError(f"maps hold values from {low} to {high}; give finite numbers")
    shape, slope, offset, steps = values.shape[1:], 1.0, 0.0, 0
    if bits < 32:
        steps = int(np.iinfo(STORED[bits]).max)
        offset = float(np.float32(min(low, 0.0)))
        slope = float(np.float32((max(high, 0.0) - offset) / steps)) or 1.0
    stored = np.empty((*shape, len(values)), STORED[bits], order="F")
    for index, block in product(range(len(values)), blocks_of(shape)):
        piece = values[index][block]
        if bits < 32:
            piece = np.clip(np.rint((piece.astype(np.float64) - offset) / slope), 0, steps)
        stored[..., index][block] = piece
    return stored, slope, offset


def _require_equal(
    path: Path, stored: NDArray[Any], scaling: tuple[float, float], reading: Reading
) -> None:
    written = require_on_grid(path, reading, stored.shape)
    proxy = written.dataobj
    if (proxy.slope, proxy.inter) != scaling or proxy.dtype != stored.dtype:
        raise GeometryError(f"has the scaling {(proxy.slope, proxy.inter)} when read back")
    try:
        values = proxy.get_unscaled()
    except UNREADABLE as error:
        raise GeometryError(f"cannot be read back ({one_line(error)})") from error
    changed = np.count_nonzero(values != stored)
    if changed:
        raise GeometryError(f"{changed} voxels read back with another value")


def _sidecar_path(path: Path, ending: str, names: Sequence[str] | None) -> list[Path]:
    return [] if names is None else [path.with_name(path.name[: -len(ending)] + ".json")]


def _sidecar(names: Sequence[str], sources: Sequence[str]) -> str:
    content = {
        "Sources": list(sources),
        "GeneratedBy": f"volseg {__version__}",
        "LabelMap": list(names),
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"
