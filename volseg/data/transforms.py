"""Files of linear transforms, as ITK writes them."""

from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813 - the name that its own documentation uses
from numpy.typing import NDArray

from volseg.errors import DataError

TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
"""ITK's axes point to the left, posterior and superior; those of an affine here to RAS."""

RIGID = 0.02
"""How far the edges of a unit cube may be from 1 after a transform that is called rigid."""


def read_transform(path: str | Path) -> NDArray[np.float64]:
    """Read a linear transform.

    Args:
        path: A file that ITK reads (``.tfm``, ``.txt``, ``.mat``, ``.h5``); it leads from the
            points of the fixed image to those of the moving one, as ITK means it.

    Returns:
        The same in RAS mm, ``(4, 4)``.

    Raises:
        DataError: If the file cannot be read, or the transform is not rigid.
    """
    if not Path(path).is_file():
        raise DataError(f"{path}: does not exist")
    try:
        transform: Any = sitk.ReadTransform(str(path))  # type: ignore[no-untyped-call] # half typed
    except RuntimeError as error:
        raise DataError(f"{path}: is no transform that ITK can read") from error
    if not transform.IsLinear():
        raise DataError(f"{path}: holds a transform that is not linear; give a rigid one")
    origin = np.asarray(transform.TransformPoint((0.0, 0.0, 0.0)))
    matrix = np.eye(4)
    matrix[:3, 3] = origin
    for axis, point in enumerate(np.eye(3)):
        matrix[:3, axis] = np.asarray(transform.TransformPoint(point.tolist())) - origin
    if np.abs(np.linalg.svd(matrix[:3, :3], compute_uv=False) - 1).max() > RIGID:
        raise DataError(f"{path}: scales or shears, which would change volumes; give a rigid one")
    if np.linalg.det(matrix[:3, :3]) < 0:
        raise DataError(f"{path}: mirrors; give a rigid one")
    return np.asarray(TO_LPS @ matrix @ TO_LPS)


def write_transform(path: str | Path, matrix: NDArray[np.float64]) -> None:
    """Write a linear transform for ITK.

    Args:
        path: The file, ``*.tfm``.
        matrix: From the fixed image to the moving one, RAS mm, ``(4, 4)``.

    Raises:
        DataError: If it cannot be written.
    """
    lps = TO_LPS @ matrix @ TO_LPS
    transform: Any = sitk.AffineTransform(lps[:3, :3].ravel().tolist(), lps[:3, 3].tolist())  # type: ignore[no-untyped-call] # half typed
    try:
        sitk.WriteTransform(transform, str(path))  # type: ignore[no-untyped-call] # half typed
    except RuntimeError as error:
        raise DataError(f"cannot write {path}") from error
