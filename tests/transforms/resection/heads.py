"""A head made of ellipsoids, the same in mm on every grid."""

import numpy as np
import torch

from volseg.transforms.anatomy.maps import Anatomy, Lobe, Side, Tissue

BRAIN = (68.0, 85.0, 62.0)
"""Semi-axes of the brain's hull, in mm; it is centred at the origin of RAS space."""

SKULL_THICKNESS = 6.0
SCALP_THICKNESS = 8.0


def make_affine(spacing=(1.0, 1.0, 1.0), turn=None, signs=(1, 1, 1), extent=200.0):
    """Give the affine and shape of a grid whose centre is the origin of RAS space."""
    linear = (np.eye(3) if turn is None else turn) * (np.array(spacing) * signs)
    shape = tuple(int(np.ceil(extent / each)) for each in spacing)
    affine = np.eye(4)
    affine[:3, :3] = linear
    affine[:3, 3] = -linear @ ((np.array(shape) - 1) / 2)
    return affine, shape


def make_head(spacing=(2.0, 2.0, 2.0), turn=None, signs=(1, 1, 1)):
    """Draw the head on a grid."""
    affine, shape = make_affine(spacing, turn, signs)
    index = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"))
    x, y, z = np.einsum("ij,j...->i...", affine[:3, :3], index) + affine[:3, 3][:, None, None, None]
    depth = surface_depth(x, y, z)
    tissue = _tissue(x, y, z, depth)
    inside = depth > 0
    lobe = np.where(inside, _lobe(x, y, z), Lobe.NONE)
    tissue[(lobe == Lobe.INFRATENTORIAL) & (tissue == Tissue.CORTEX)] = Tissue.CEREBELLUM_CORTEX
    tissue[(lobe == Lobe.INFRATENTORIAL) & (tissue == Tissue.WHITE)] = Tissue.CEREBELLUM_WHITE
    tissue[ellipsoid(x, y, z, (0, -20, -35), (10, 10, 25)) & inside] = Tissue.BRAINSTEM
    side = np.where(inside, np.where(x > 0, Side.RIGHT, Side.LEFT), Side.NONE)
    steps = np.clip(np.round(depth / 0.5), 0, 255)
    steps[inside & (steps == 0)] = 1
    maps = (torch.from_numpy(each.astype(np.uint8)) for each in (tissue, side, lobe, steps))
    return Anatomy(*maps, affine=affine)


def surface_depth(x, y, z):
    """Distance to the ellipsoid of the brain in mm, to first order; negative outside."""
    a, b, c = BRAIN
    level = np.sqrt((x / a) ** 2 + (y / b) ** 2 + (z / c) ** 2) + 1e-9
    slope = np.sqrt((x / a**2) ** 2 + (y / b**2) ** 2 + (z / c**2) ** 2) / level + 1e-9
    return (1 - level) / slope


def ellipsoid(x, y, z, centre, radii):
    """Mark an axis-aligned ellipsoid; ``x`` may be an absolute value to get both sides."""
    parts = zip((x, y, z), centre, radii, strict=True)
    return sum(((place - c) / r) ** 2 for place, c, r in parts) <= 1


def _tissue(x, y, z, depth):
    tissue = np.full(x.shape, Tissue.AIR)
    tissue[depth > -(SKULL_THICKNESS + SCALP_THICKNESS)] = Tissue.HEAD
    tissue[depth > -SKULL_THICKNESS] = Tissue.SKULL
    tissue[depth > 0] = Tissue.FLUID
    tissue[depth > 2] = Tissue.CORTEX
    tissue[depth > 6] = Tissue.WHITE
    both = np.abs(x)
    tissue[ellipsoid(both, y, z, (14, 0, 5), (9, 18, 12))] = Tissue.DEEP
    tissue[ellipsoid(both, y, z, (9, 0, 15), (4, 28, 6))] = Tissue.VENTRICLE
    tissue[ellipsoid(both, y, z, (0, 0, 24), (10, 32, 3))] = Tissue.CALLOSUM
    tissue[ellipsoid(both, y, z, (25, -12, -18), (6, 20, 6))] = Tissue.LIMBIC
    return tissue


def _lobe(x, y, z):
    lobe = np.full(x.shape, Lobe.FRONTAL)
    lobe[y < -5] = Lobe.PARIETAL
    lobe[y < -50] = Lobe.OCCIPITAL
    lobe[(np.abs(x) > 15) & (z < -5) & (y > -50) & (y < 45)] = Lobe.TEMPORAL
    lobe[(z < -22) & (y < -15) & (np.abs(x) < 45)] = Lobe.INFRATENTORIAL
    lobe[(z < -22) & (np.abs(x) < 12) & (y < 0)] = Lobe.INFRATENTORIAL
    return lobe
