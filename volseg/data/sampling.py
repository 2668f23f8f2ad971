"""Reading a volume at places given in millimetres."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Points = NDArray[np.float64]
"""Places in RAS mm, ``(N, 3)``, or a value at each of them, ``(N,)``."""


def sample(
    values: NDArray[np.floating],
    affine: NDArray[np.float64],
    points: Points,
    fill_value: float | None = None,
) -> Points:
    """Read a volume between its voxel centres, linearly.

    Args:
        values: ``(X, Y, Z)``.
        affine: From voxel indices to RAS mm, ``(4, 4)``.
        points: Where, ``(N, 3)``, RAS mm.
        fill_value: What holds outside; `None`: the nearest value.

    Returns:
        The values there, ``(N,)``.
    """
    inverse = np.linalg.inv(affine)
    places = inverse[:3, :3] @ points.T + inverse[:3, 3:]
    mode = "nearest" if fill_value is None else "constant"
    found = ndimage.map_coordinates(
        values, places, output=np.float64, order=1, mode=mode, cval=fill_value or 0.0
    )
    return np.asarray(found)
