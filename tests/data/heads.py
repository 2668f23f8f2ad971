"""A small head that can be registered: an ellipsoid with folds and blobs inside."""

import numpy as np
from scipy.spatial.transform import Rotation

from volseg.data.scan import Scan

CENTRE = np.array([2.0, -5.0, 4.0])
"""Of the head, RAS mm."""

BLOBS = (((-14, 7, 8), 6, 60), ((11, -13, 6), 8, -50), ((6, 15, -10), 5, 90))
"""Place from the centre in mm, radius in mm and brightness."""

WAVES = ((0.35, 0.14, 0), (0, 0.28, -0.2), (-0.17, 0.07, 0.35))
"""Of the folds, in radians per mm."""


def grid(shape, affine):
    """Give the place of each voxel, RAS mm."""
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    return index @ affine[:3, :3].T + affine[:3, 3]


def head(shape=(29, 33, 29), affine=None, matrix=None, *, is_inverted=False):
    """Draw the head on a grid; ``matrix`` leads from the grid's mm to the head's."""
    if affine is None:
        affine = np.diag([2.5, 2.5, 2.5, 1])
        affine[:3, 3] = CENTRE - 1.25 * np.array(shape)
    places = grid(shape, affine)
    if matrix is not None:
        places = places @ matrix[:3, :3].T + matrix[:3, 3]
    places = places - CENTRE
    folds = np.sin(places @ np.array(WAVES).T).sum(axis=-1)
    values = (100.0 + 25 * folds) * (np.linalg.norm(places / (23, 30, 24), axis=-1) < 1)
    for place, radius, brightness in BLOBS:
        values += brightness * (np.linalg.norm(places - place, axis=-1) < radius)
    if is_inverted:
        values = np.where(values > 0, 260 - values, 0)
    noise = np.random.default_rng(0).normal(0, 2, shape)
    return Scan(values + noise, affine)


def rigid(angles, shift):
    """Turn about the head's centre, in degrees, and shift, in mm."""
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    matrix[:3, 3] = CENTRE + shift - matrix[:3, :3] @ CENTRE
    return matrix
