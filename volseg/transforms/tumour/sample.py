"""Draw a tumour: its kind, where it lies, how large it is and what it is made of."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from volseg.transforms.anatomy.maps import DEPTH_STEP, Anatomy, Lobe, Tissue
from volseg.transforms.resection.candidates import resectable
from volseg.transforms.resection.carve import carve
from volseg.transforms.resection.cavity import Point, Solid
from volseg.transforms.resection.scout import Scout, as_point
from volseg.transforms.resection.solid import equivalent_radius
from volseg.transforms.tumour.prior import TumourPrior
from volseg.transforms.tumour.tumour import Tumour

ATTEMPTS = 8
"""Tumours that are planned before a draw is given up."""

LARGEST_SHARE = 0.15
"""No tumour takes up more of the hull than this."""

Range = tuple[float, float]

LOOKS: Mapping[str, Mapping[str, Range]] = {
    "glioblastoma": {
        "rim": (1.0, 4.0),
        "necrosis": (0.4, 1.0),
        "quiet": (0.0, 0.5),
        "enhancement": (0.5, 1.0),
        "oedema": (8.0, 32.0),
        "oedema_strength": (0.6, 1.0),
        "mass_effect": (0.05, 0.35),
        "infiltration": (0.0, 0.1),
        "heterogeneity": (0.08, 0.25),
        "blur": (0.6, 1.1),
        "roughness": (0.4, 0.9),
        "elongation": (1.0, 1.6),
    },
    "low_grade": {
        "oedema": (0.0, 10.0),
        "oedema_strength": (0.4, 0.9),
        "mass_effect": (0.0, 0.2),
        "infiltration": (0.05, 0.3),
        "heterogeneity": (0.05, 0.2),
        "blur": (0.8, 1.8),
        "roughness": (0.5, 1.0),
        "elongation": (1.0, 1.7),
    },
    "metastasis": {
        "rim": (1.0, 3.5),
        "necrosis": (0.0, 1.0),
        "enhancement": (0.6, 1.0),
        "oedema": (6.0, 26.0),
        "oedema_strength": (0.6, 1.0),
        "mass_effect": (0.0, 0.3),
        "heterogeneity": (0.04, 0.15),
        "blur": (0.5, 0.8),
        "roughness": (0.05, 0.3),
        "elongation": (1.0, 1.2),
    },
    "meningioma": {
        "rim": (60.0, 60.0),
        "enhancement": (0.7, 1.0),
        "oedema": (0.0, 18.0),
        "oedema_strength": (0.4, 0.9),
        "mass_effect": (0.25, 0.5),
        "heterogeneity": (0.03, 0.1),
        "blur": (0.5, 0.8),
        "roughness": (0.1, 0.35),
        "elongation": (1.0, 1.3),
    },
    "mass": {
        "rim": (2.0, 12.0),
        "necrosis": (0.0, 0.8),
        "quiet": (0.1, 0.7),
        "enhancement": (0.3, 1.0),
        "mass_effect": (0.1, 0.45),
        "heterogeneity": (0.15, 0.4),
        "blur": (0.6, 1.2),
        "roughness": (0.2, 0.7),
        "elongation": (1.0, 2.0),
    },
}
"""Ranges of each kind; ``mass_effect`` is relative to the radius. What is not named is 0."""

QUIET_SHARE = 0.4
"""So often a mass takes up no contrast agent."""


def sample_tumour(
    anatomy: Anatomy, random: np.random.RandomState, prior: TumourPrior | None = None
) -> Tumour:
    """Draw a tumour.

    Args:
        anatomy: The maps of the head or body.
        random: Source of all draws.
        prior: What is drawn how often; `None`: the defaults of `TumourPrior`.

    Returns:
        What was drawn; not ``is_ok`` if there was no place for it.
    """
    prior = TumourPrior() if prior is None else prior
    kind, seed = prior.draw_kind(random), int(random.randint(2**31 - 1))
    if kind == "none":
        return Tumour(seed=seed)
    scout = Scout.of(anatomy)
    for _ in range(ATTEMPTS):
        is_low = kind == "metastasis" and random.uniform() < prior.infratentorial
        look: dict[str, Any] = {
            name: float(random.uniform(*ends)) for name, ends in LOOKS[kind].items()
        }
        volume = min(prior.draw_volume(kind, random), LARGEST_SHARE * _hull_ml(scout))
        shape = look.pop("roughness"), look.pop("elongation")
        count = 1 + random.geometric(0.6) if kind == "metastasis" and random.uniform() < 0.4 else 1
        lobe = int(Lobe.INFRATENTORIAL) if is_low else prior.draw_lobe(random)
        solids = [
            _draw_focus(scout, kind, lobe, volume * (0.6**place), shape, random)
            for place in range(int(min(count, 5)))
        ]
        kept = tuple(each for each in solids if each is not None)
        look["mass_effect"] *= equivalent_radius(volume)
        if kind == "mass" and random.uniform() < QUIET_SHARE:
            look["enhancement"] = 0.0
        side = 0 if len(kept) != 1 else _side_at(scout, kept[0].centre)
        drawn = Tumour(kind, side, is_low, kept, **look, seed=seed)
        if kept and len(kept) == len(solids) and _is_possible(scout, drawn):
            return drawn
    return Tumour(kind=kind, seed=seed, is_ok=False)


def _hull_ml(scout: Scout) -> float:
    return float((scout.anatomy.depth > 0).sum()) * scout.anatomy.voxel_ml


def _draw_focus(
    scout: Scout,
    kind: str,
    lobe: int,
    volume: float,
    shape: tuple[float, float],
    random: np.random.RandomState,
) -> Solid | None:
    """Draw one focus; `None` if there is no place for it."""
    pick, turns, roll = random.uniform(), random.uniform(0, 360, 3), random.uniform(0.8, 1.25)
    seed = int(random.randint(2**31 - 1))
    places = _places(scout, kind, lobe, equivalent_radius(volume))
    if not bool(places.any()):
        places = _places(scout, kind, 0, 0.0)
    found = scout.places(places)
    if len(found) == 0:
        return None
    roughness, elongation = shape
    radius = equivalent_radius(volume)
    radii = radius * elongation, radius * roll / elongation**0.5, radius / roll / elongation**0.5
    return Solid(
        as_point(found[int(pick * len(found))]), radii, as_point(turns), volume, roughness, seed
    )


def _places(scout: Scout, kind: str, lobe: int, radius: float) -> Tensor:
    """Mark where the centre of a focus may lie, on the thinned maps."""
    maps, depth = scout.anatomy, scout.anatomy.depth.float() * DEPTH_STEP
    is_low = lobe == int(Lobe.INFRATENTORIAL)
    mask = resectable(maps, 0, is_infratentorial=is_low)
    if lobe and not is_low:
        mask &= maps.lobe == lobe
    if kind == "meningioma":
        return mask & (depth <= 4.0)
    if kind != "mass":
        mask &= scout.tissue(Tissue.WHITE, Tissue.CORTEX, Tissue.CEREBELLUM_WHITE, Tissue.LIMBIC)
        mask &= depth >= min(0.4 * radius, 9.0)
    return mask & (depth >= min(0.3 * radius, 8.0))


def _side_at(scout: Scout, centre: Point) -> int:
    affine = scout.anatomy.affine
    voxel = np.linalg.solve(affine[:3, :3], np.asarray(centre) - affine[:3, 3])
    first, second, third = np.round(voxel).astype(int).tolist()
    return int(scout.anatomy.side[first, second, third])


def _is_possible(scout: Scout, tumour: Tumour) -> bool:
    """Tell on the thinned maps whether about the wanted volume would be taken."""
    carved = carve(scout.anatomy, tumour.cavity)
    wanted = sum(solid.volume_ml for solid in tumour.solids) / scout.anatomy.voxel_ml
    if wanted < 4:
        return True
    return carved is not None and int(torch.count_nonzero(carved.mask)) >= 0.8 * wanted
