"""The 48 ways in which a scanner may order and point the axes of the same volume."""

from itertools import permutations, product

import nibabel as nib
import numpy as np

TURNS = [
    np.column_stack([order, signs])
    for order in permutations((0, 1, 2))
    for signs in product((1, -1), repeat=3)
]


def turned(values, affine, turn):
    """Store a volume with its axes in another order and direction; no voxel moves in space."""
    there = nib.orientations.inv_ornt_aff(turn, values.shape)
    return nib.apply_orientation(values, turn), affine @ there
