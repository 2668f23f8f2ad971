"""A brain without a skull, with something brighter inside, and with cavities."""

import numpy as np
from scipy.spatial.transform import Rotation

RADII = np.array([62.0, 80, 58])
"""Of the brain along left to right, front to back and bottom to top, in mm."""

UPRIGHT = np.eye(3)


def places(shape, affine):
    """Give the place of each voxel, RAS mm."""
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    return index @ affine[:3, :3].T + affine[:3, 3]


def centred(order=UPRIGHT, spacing=4.0, size=48):
    """Give a grid about the origin of RAS; its axes run as the columns of ``order``."""
    affine = np.eye(4)
    affine[:3, :3] = spacing * np.asarray(order)
    affine[:3, 3] = -(affine[:3, :3] @ np.full(3, (size - 1) / 2))
    return (size,) * 3, affine


def brain(shape, affine, turn=(0, 0, 0)):
    """Draw a brain of about 1.2 L at the origin, turned; ventricles and a stem break its likeness
    between front and back, top and bottom, but not between left and right."""
    here = (
        Rotation.from_euler("xyz", turn, degrees=True)
        .inv()
        .apply(places(shape, affine).reshape(-1, 3))
    )
    mirrored = np.abs(here * (1, 0, 0)) + here * (0, 1, 1)
    inside = np.linalg.norm(here / RADII, axis=1) < 1
    values = 100.0 * inside
    values[inside & (np.linalg.norm((mirrored - (12, 5, 10)) / (7, 25, 9), axis=1) < 1)] = 40
    values[inside & (np.linalg.norm((mirrored - (30, 45, -5)) / (12, 14, 20), axis=1) < 1)] = 130
    return values.reshape(shape)
