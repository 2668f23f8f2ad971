"""Scans of a head of ellipsoids, in which every tissue has its own level on each contrast."""

import torch

from volseg.transforms.anatomy.maps import Tissue

LEVELS = {
    "T1": {"fluid": 30.0, "grey": 90.0, "white": 130.0},
    "T1c": {"fluid": 30.0, "grey": 90.0, "white": 130.0},
    "T2": {"fluid": 220.0, "grey": 110.0, "white": 80.0},
    "FLAIR": {"fluid": 20.0, "grey": 110.0, "white": 90.0},
    "PD": {"fluid": 120.0, "grey": 115.0, "white": 95.0},
    "CT": {"fluid": 8.0, "grey": 37.0, "white": 28.0},
}
FLUIDS = (Tissue.FLUID, Tissue.VENTRICLE)
WHITES = (Tissue.WHITE, Tissue.CALLOSUM, Tissue.CEREBELLUM_WHITE, Tissue.BRAINSTEM)
BONE = {"CT": 900.0}
AIR = {"CT": -1000.0}


def paint(anatomy, contrast, seed=0, noise=2.0):
    """Paint one channel, ``(1, D, H, W)``."""
    levels = LEVELS[contrast]
    table = torch.full((len(Tissue),), levels["grey"])
    table[list(FLUIDS)] = levels["fluid"]
    table[list(WHITES)] = levels["white"]
    table[Tissue.AIR] = AIR.get(contrast, 0.0)
    table[Tissue.SKULL] = BONE.get(contrast, 10.0)
    grain = torch.randn(anatomy.tissue.shape, generator=torch.Generator().manual_seed(seed))
    return (table[anatomy.tissue.long()] + noise * grain)[None]
