"""Which prediction belongs to which reference, and whether the two can be compared.

Files pair by their path below the two folders, without the ending: ``a/b.nii`` and ``a/b.nii.gz``
are the same case. A prediction may also carry a suffix that its reference lacks: nnU-Net's channel
number, or what MONAI's `SaveImaged` appends in our bundles.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from volseg.data.cases import stem
from volseg.data.volumes import ENDINGS, LABEL_TOLERANCE, read_volume
from volseg.errors import DataError

SUFFIXES = ("_0000", "_seg")
"""What a prediction's name may have in addition."""

MAPS = ("_probabilities", "_entropy", "_variance", "_probseg")
"""What the names of maps end in that ``volseg segment`` writes beside masks."""


@dataclass(frozen=True)
class Pair:
    """A reference and the prediction for it.

    Args:
        name: Path below the folder, without the ending.
        prediction: Its file; `None` if there is none.
        reference: Its file.
    """

    name: str
    prediction: Path | None
    reference: Path


def find_pairs(predictions: Path, references: Path) -> tuple[list[Pair], list[Path]]:
    """Match predictions with references by name.

    Args:
        predictions: A NIfTI file, or a folder tree of them.
        references: A NIfTI file, or a folder tree of them, as ``predictions``.

    Returns:
        One pair a reference, in the order of names, with or without a prediction; and the
        predictions for which there is no reference. Maps beside a mask are no predictions.

    Raises:
        DataError: If one is a file and the other a folder, one holds no NIfTI file, two files of
            a folder have the same name, or not a single name matches.
    """
    for path in (predictions, references):
        if not path.exists():
            raise DataError(f"{path} does not exist")
    if predictions.is_dir() != references.is_dir():
        raise DataError(f"{predictions} and {references}: give two files or two folders")
    if references.is_file():
        return [Pair(stem(references.name), predictions, references)], []
    truths = _list_names(references)
    found = _without_maps(_list_names(predictions), truths)
    for name, suffix in product(list(found), SUFFIXES):
        short = name.removesuffix(suffix)
        if name not in truths and short in truths and short not in found:
            found[short] = found.pop(name)
    pairs = [Pair(name, found.pop(name, None), path) for name, path in truths.items()]
    if all(pair.prediction is None for pair in pairs):
        raise DataError(
            f"no file in {predictions} has the name of one in {references}"
            f" (such as {next(iter(found))!r} and {next(iter(truths))!r})"
        )
    return pairs, sorted(found.values())


def read_labels(path: Path) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Read a label map; values are rounded, never cut off.

    Args:
        path: A NIfTI file.

    Returns:
        Labels, ``(D, H, W)``, and the affine, ``(4, 4)``.

    Raises:
        DataError: If the file cannot be read, or holds anything but whole numbers from 0.
    """
    values, affine, _ = read_volume(path)
    labels = np.rint(values)
    worst = float(np.abs(values - labels).max(initial=0))
    if not worst <= LABEL_TOLERANCE or labels.min(initial=0) < 0:
        raise DataError(
            f"{path} is not a label map: its values lie from {values.min():g} to"
            f" {values.max():g}, up to {worst:g} off a whole number"
        )
    return labels.astype(np.int64), np.asarray(affine, dtype=np.float64)


def _without_maps(names: Mapping[str, Path], wanted: Mapping[str, Path]) -> dict[str, Path]:
    """Leave out the maps that stand beside the mask that they belong to."""

    def is_map(name: str) -> bool:
        bases = [name.removesuffix(end) for end in MAPS if name.endswith(end)]
        return any(base in names or f"{base}_dseg" in names for base in bases)

    return {name: path for name, path in names.items() if name in wanted or not is_map(name)}


def _list_names(folder: Path) -> dict[str, Path]:
    """Find the NIfTI files below a folder by name, hidden ones left out."""
    names: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        if not path.name.endswith(ENDINGS) or any(part.startswith(".") for part in relative.parts):
            continue
        name = stem(relative)
        if name in names:
            raise DataError(f"{names[name]} and {path} have the same name; keep one")
        names[name] = path
    if not names:
        raise DataError(f"{folder} holds no NIfTI file (*.nii, *.nii.gz)")
    return names
