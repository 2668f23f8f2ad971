"""Component trees: how the bright, or the dark, regions of a volume lie within each other.

Every connected region above a threshold is a component, and lies in a component of each lower
threshold; they form the max-tree (Salembier et al. 1998, https://doi.org/10.1109/83.663500). The
min-tree is that of dark regions. Trees are built by higra (Perret et al. 2019,
https://doi.org/10.1016/j.softx.2019.100335), which comes with the extra ``trees``.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from volseg.errors import DataError, GeometryError

ATTRIBUTES = ("area_ratio", "log_area")
TREES = ("max", "min")

FLAT = 1e-6
"""A volume whose intensities differ by less than this share of them has one level."""

FACES = [
    [[0, 0, 0], [0, 1, 0], [0, 0, 0]],
    [[0, 1, 0], [1, 1, 1], [0, 1, 0]],
    [[0, 0, 0], [0, 1, 0], [0, 0, 0]],
]
"""A voxel touches those with which it shares a face."""


def quantize(
    volume: NDArray[np.float32], valid: NDArray[np.bool_], levels: int, sigma: float
) -> NDArray[np.uint8]:
    """Smooth a volume and sort its intensities into a few levels.

    Without it nearly every voxel of an image with noise is a component of its own.

    Args:
        volume: ``(D, H, W)``.
        valid: Voxels that count; the others take no part in smoothing.
        levels: Levels of equal width, from the smallest to the largest smoothed value, 2 to 256.
        sigma: Standard deviation of the smoothing, in voxels; 0: none.

    Returns:
        Level of each voxel, 0 to ``levels - 1``; 0 where not valid.

    Raises:
        GeometryError: If there are fewer than 2 or more than 256 levels.

    Examples:
        >>> row = np.array([[[0.0, 1.0, 2.0, 9.0]]], dtype=np.float32)
        >>> quantize(row, row < 5, levels=2, sigma=0).tolist()
        [[[0, 1, 1, 0]]]
    """
    if not 2 <= levels <= 256:
        raise GeometryError(f"{levels} levels of intensity are no tree; use 2 to 256, such as 16")
    if not valid.any():
        return np.zeros(volume.shape, dtype=np.uint8)
    weight = valid.astype(np.float32)
    smooth = np.where(valid, volume, 0)
    if sigma > 0:
        weight = gaussian_filter(weight, sigma)
        smooth = gaussian_filter(smooth, sigma) / np.maximum(weight, 1e-6)
    low, high = smooth[valid].min(), smooth[valid].max()
    if high - low <= FLAT * max(abs(low), abs(high)):
        return np.zeros(volume.shape, dtype=np.uint8)
    scaled = (smooth - low) * (levels / (high - low))
    return np.where(valid, np.clip(scaled, 0, levels - 1), 0).astype(np.uint8)


def component_map(
    level: NDArray[np.uint8], tree: str = "max", attribute: str = "area_ratio"
) -> NDArray[np.float32]:
    """Tell of each voxel about the smallest component that it lies in.

    Args:
        level: Level of each voxel, ``(D, H, W)``.
        tree: ``max``, for bright components, or ``min``, for dark ones.
        attribute: ``area_ratio``, the component's voxels as a share of those of the component
            around it, 1 for the whole volume; or ``log_area``, the logarithm of its voxels as a
            share of that of the volume's.

    Returns:
        The attribute of each voxel, from 0 to 1, ``(D, H, W)``.

    Raises:
        DataError: If higra is not installed.
        GeometryError: If the tree or the attribute is unknown.
    """
    if tree not in TREES or attribute not in ATTRIBUTES:
        raise GeometryError(
            f"tree {tree!r} with attribute {attribute!r} is unknown; use a tree of {list(TREES)}"
            f" and an attribute of {list(ATTRIBUTES)}"
        )
    try:
        import higra  # noqa: PLC0415 - optional
    except ImportError as error:
        raise DataError(
            "component trees need higra, which is not installed; pip install 'volseg[trees]'"
        ) from error
    graph = higra.get_nd_regular_implicit_graph(
        level.shape, higra.mask_2_neighbours(np.array(FACES))
    )
    heights = level.ravel().astype(np.int16)
    nodes, _ = higra.component_tree_max_tree(graph, heights if tree == "max" else -heights)
    area = higra.attribute_area(nodes)
    if attribute == "area_ratio":
        values = area / area[nodes.parents()]
    else:
        values = np.log(area) / max(np.log(level.size), 1e-6)
    voxels = higra.reconstruct_leaf_data(nodes, values)
    return np.asarray(voxels, dtype=np.float32).reshape(level.shape)
