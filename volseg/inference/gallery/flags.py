"""What is suspicious about a mask, in words that a table can be filtered by."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from volseg.errors import DataError

EMPTY = "empty"
BORDER = "touches the border"
VOLUME = "outside the usual volume range"
CONFIDENCE = "low confidence"

LOW_CONFIDENCE = 0.7
"""Below this mean probability of the chosen class; a coin's, of two classes, is 0.5."""


def flags_of(
    labels: NDArray[Any],
    affine: NDArray[np.float64],
    classes: Mapping[int, str],
    usual_ml: Mapping[str, tuple[float, float]] | None = None,
    confidence: float | None = None,
) -> tuple[str, ...]:
    """Say what is suspicious about a label map.

    Args:
        labels: Label map, ``(X, Y, Z)``; 0 is background.
        affine: Voxel index to mm, ``(4, 4)``.
        classes: Name of each label value.
        usual_ml: Lowest and highest usual volume of a class, in mL; an absent class has 0 mL.
        confidence: Mean probability of the chosen class over the mask; `None`: not known.

    Returns:
        Any of ``empty``, ``touches the border``, ``outside the usual volume range`` and
        ``low confidence``.
    """
    found = {
        EMPTY: not np.any(labels),
        BORDER: _touches_border(labels),
        VOLUME: _is_unusual(labels, affine, classes, usual_ml or {}),
        CONFIDENCE: confidence is not None and not confidence >= LOW_CONFIDENCE,
    }
    return tuple(flag for flag, is_so in found.items() if is_so)


def _touches_border(labels: NDArray[Any]) -> bool:
    """Look at the six faces; an axis of one voxel has no inside, so its faces say nothing."""
    faces = (
        np.moveaxis(labels, axis, 0)[side]
        for axis, size in enumerate(labels.shape)
        if size > 1
        for side in (0, -1)
    )
    return any(bool(np.any(face)) for face in faces)


def _is_unusual(
    labels: NDArray[Any],
    affine: NDArray[np.float64],
    classes: Mapping[int, str],
    usual_ml: Mapping[str, tuple[float, float]],
) -> bool:
    values = {name: value for value, name in classes.items()}
    unknown = sorted(set(usual_ml) - set(values))
    if unknown:
        raise DataError(
            f"the usual volumes name the class {unknown[0]!r}; the classes are"
            f" {', '.join(values) or 'none'}"
        )
    voxel_ml = abs(float(np.linalg.det(affine[:3, :3]))) / 1000
    return any(
        not low <= np.count_nonzero(labels == values[name]) * voxel_ml <= high
        for name, (low, high) in usual_ml.items()
    )
