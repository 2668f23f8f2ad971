"""Draw a resection: the operation, what is in the cavity, how the brain gave way, the craniotomy.

What fills a cavity depends on when the scan was made: air and fresh clot in the first days, aged
blood and enhancement after weeks, haemosiderin, gliosis and septa later. The stage ``unknown`` is
that of no scan: a clot may fill nearly all of the cavity, whatever its age.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from torch import Tensor

from volseg.transforms.anatomy.maps import Anatomy, Side, Tissue
from volseg.transforms.resection.carve import carve
from volseg.transforms.resection.cavity import Cavity, Content, Flap, Point, Shift, Solid
from volseg.transforms.resection.compat_draw import sample_compat
from volseg.transforms.resection.plan import ENOUGH, Planner
from volseg.transforms.resection.prior import Prior
from volseg.transforms.resection.scout import Scout, as_point, avoid_base
from volseg.transforms.resection.solid import equivalent_radius
from volseg.transforms.resection.tumour import mark_tumour

ATTEMPTS = 8
"""Operations that are planned before a draw is given up."""

WHOLE = ("none", "flap_only")
"""Modes that leave the brain whole."""

Chance = tuple[float, float, float]
"""Probability, and the ends of a uniform law."""

CONTENTS: Mapping[str, Mapping[str, Chance]] = {
    "intraoperative": {
        "protein": (0.4, 0.0, 0.3),
        "clot": (0.5, 0.01, 0.12),
        "air": (0.5, 0.05, 0.4),
        "gliosis": (0.4, 3.0, 10.0),
        "gliosis_strength": (1.0, 0.15, 0.6),
    },
    "early": {
        "protein": (0.6, 0.1, 0.8),
        "clot": (0.7, 0.02, 0.9),
        "air": (0.5, 0.03, 0.35),
        "enhancement": (0.35, 0.8, 1.6),
        "gliosis": (0.7, 3.0, 12.0),
        "gliosis_strength": (1.0, 0.2, 0.9),
    },
    "subacute": {
        "protein": (0.6, 0.1, 0.9),
        "clot": (0.5, 0.02, 0.6),
        "septa": (0.12, 0.02, 0.08),
        "rim": (0.5, 0.5, 1.5),
        "enhancement": (0.7, 1.0, 3.0),
        "gliosis": (0.75, 3.0, 15.0),
        "gliosis_strength": (1.0, 0.2, 1.0),
    },
    "chronic": {
        "protein": (0.25, 0.05, 0.4),
        "clot": (0.03, 0.01, 0.06),
        "septa": (0.25, 0.02, 0.1),
        "rim": (0.55, 0.5, 2.0),
        "enhancement": (0.25, 0.8, 1.6),
        "gliosis": (0.75, 3.0, 15.0),
        "gliosis_strength": (1.0, 0.15, 1.0),
    },
    "unknown": {
        "protein": (0.3, 0.1, 1.0),
        "clot": (0.7, 0.1, 0.95),
        "septa": (0.15, 0.02, 0.1),
        "air": (0.1, 0.03, 0.3),
        "rim": (0.3, 0.5, 2.0),
        "enhancement": (0.3, 0.8, 2.0),
        "gliosis": (0.8, 4.0, 15.0),
        "gliosis_strength": (1.0, 0.4, 1.0),
    },
}
"""What each stage shows, how often and how much of it."""

SHIFTS: Mapping[str, Mapping[str, Chance]] = {
    "intraoperative": {"collapse": (0.5, 0.0, 4.0), "sag": (0.7, 1.0, 12.0)},
    "early": {"collapse": (0.6, 0.0, 5.0), "sag": (0.4, 0.5, 6.0)},
    "subacute": {"collapse": (0.6, 0.0, 6.0), "sag": (0.2, 0.5, 3.0)},
    "chronic": {"collapse": (0.6, 0.0, 6.0), "sag": (0.15, 0.5, 3.0)},
    "unknown": {"collapse": (0.6, 0.0, 6.0), "sag": (0.2, 0.5, 6.0)},
}

COLLECTIONS: Mapping[str, Mapping[str, Chance]] = {
    "intraoperative": {"extradural": (0.1, 1.0, 4.0), "subgaleal": (0.2, 1.0, 6.0)},
    "early": {"extradural": (0.6, 2.0, 8.0), "subgaleal": (0.7, 2.0, 12.0)},
    "subacute": {"extradural": (0.35, 1.0, 5.0), "subgaleal": (0.4, 1.0, 8.0)},
    "chronic": {"extradural": (0.1, 1.0, 3.0), "subgaleal": (0.08, 1.0, 4.0)},
    "unknown": {"extradural": (0.3, 1.0, 8.0), "subgaleal": (0.3, 1.0, 8.0)},
}

COLLAPSE_SHARE = 0.2
"""Walls move by no more of the cavity's radius than this."""

WALL_SHARE = 0.8
"""About so much of a cavity's surface is brain that gives way; the rest lies against the skull."""


def sample_cavity(
    anatomy: Anatomy,
    random: np.random.RandomState,
    prior: Prior | None = None,
    tumour: Tensor | None = None,
) -> Cavity:
    """Draw a resection.

    Args:
        anatomy: The maps of the head.
        random: Source of all draws.
        prior: What is drawn how often; `None`: the defaults of `Prior`.
        tumour: Mask of a tumour to follow, ``(D, H, W)``; `None`: there is none. To carve such a
            cavity, use the maps that `mark_tumour` gives.

    Returns:
        What was drawn; not ``is_ok`` if no operation could be planned.
    """
    prior = Prior() if prior is None else prior
    if prior.compat or (prior.compat_share > 0 and random.uniform() < prior.compat_share):
        return sample_compat(anatomy, random, prior.compat_rich, prior.compat_smooth)
    if tumour is not None:
        anatomy = mark_tumour(anatomy, tumour)
    scout = Scout.of(anatomy)
    has_tumour = tumour is not None and bool(scout.tissue(Tissue.LESION).any())
    mode = prior.draw_mode(random, has_tumour=has_tumour)
    stage, seed = prior.draw_stage(random), int(random.randint(2**31 - 1))
    if mode == "none":
        return Cavity(stage=stage, seed=seed)
    for _ in range(ATTEMPTS):
        side = _draw_side(scout, mode, random)
        if mode in WHOLE:
            flap = _draw_flap(scout, (), side, stage, random)
            return Cavity(mode if flap else "none", stage, side, flap=flap, seed=seed)
        solids = Planner(scout, random, prior, side).plan(mode)
        if solids is None:
            continue
        shift = _draw_shift(solids, side, stage, random)
        solids = tuple(_widen(solid, shift.collapse) for solid in solids)
        if not _is_possible(scout, Cavity(mode, side=side, solids=solids)):
            continue
        content = _draw_content(stage, random)
        flap = _draw_flap(scout, solids, side, stage, random)
        return Cavity(mode, stage, side, solids, content, shift, flap, seed)
    return Cavity(stage=stage, seed=seed, is_ok=False)


def _draw_side(scout: Scout, mode: str, random: np.random.RandomState) -> int:
    """A fair coin, or the tumour's side."""
    side = int(Side.LEFT if random.uniform() < 0.5 else Side.RIGHT)
    if mode != "tumour":
        return side
    sides = scout.anatomy.side[scout.tissue(Tissue.LESION)]
    is_right = int((sides == Side.RIGHT).sum()) > int((sides == Side.LEFT).sum())
    return int(Side.RIGHT if is_right else Side.LEFT)


def _widen(solid: Solid, collapse: float) -> Solid:
    """Make a free solid so much larger that it has its volume after its walls have moved in."""
    if solid.lobe or solid.tissue:
        return solid
    growth = 1 + collapse / equivalent_radius(solid.volume_ml)
    return replace(solid, volume_ml=solid.volume_ml * growth ** (3 * WALL_SHARE))


def _is_possible(scout: Scout, cavity: Cavity) -> bool:
    """Tell on the thinned maps whether about the wanted volume would be taken out."""
    for solid in cavity.solids:
        wanted = solid.volume_ml / scout.anatomy.voxel_ml
        if wanted < ENOUGH:
            continue
        alone = Cavity(cavity.mode, side=cavity.side, solids=(solid,))
        carved = carve(scout.anatomy, alone)
        if carved is None or int(carved.mask.sum()) < 0.8 * wanted:
            return False
    return True


def _draw_chances(chances: Mapping[str, Chance], random: np.random.RandomState) -> dict[str, float]:
    """Draw each part; the number of draws does not depend on their outcome."""
    result = {}
    for name, (probability, low, high) in chances.items():
        is_there, value = random.uniform() < probability, float(random.uniform(low, high))
        result[name] = value if is_there else 0.0
    return result


def _draw_content(stage: str, random: np.random.RandomState) -> Content:
    values = _draw_chances(CONTENTS[stage], random)
    layering, blur = float(random.uniform(0, 1)), float(random.uniform(0.5, 1.0))
    if values["gliosis"] <= 0:
        values["gliosis_strength"] = 0.0
    return Content(**values, layering=layering if values["protein"] > 0 else 0.0, blur=blur)


def _draw_shift(
    solids: tuple[Solid, ...], side: int, stage: str, random: np.random.RandomState
) -> Shift:
    """Patients lie on their back; during surgery often with the operated side up."""
    values = _draw_chances(SHIFTS[stage], random)
    is_turned, tilt = random.uniform() < 0.5, random.normal(0, 0.2, 3)
    down = np.array([0.0, -1.0, 0.0])
    if stage == "intraoperative" and is_turned:
        down = np.array([-1.0 if side == Side.RIGHT else 1.0, -0.3, 0.0])
    down = down + tilt
    radius = min(equivalent_radius(solid.volume_ml) for solid in solids)
    collapse = min(values["collapse"], COLLAPSE_SHARE * radius)
    return Shift(collapse, values["sag"], as_point(down / np.linalg.norm(down)))


def _draw_flap(
    scout: Scout, solids: tuple[Solid, ...], side: int, stage: str, random: np.random.RandomState
) -> Flap | None:
    """The craniotomy over the largest solid, or anywhere; `None` where no head is in view."""
    collections = _draw_chances(COLLECTIONS[stage], random)
    radius, holes = float(random.uniform(20, 45)), int(random.randint(2, 5))
    kerf, burr = float(random.uniform(2, 3)), float(random.uniform(5, 7))
    is_opened, place = random.uniform() < 0.9, random.uniform()
    entry = _find_entry(scout, solids, side, place)
    if entry is None or (solids and not is_opened):
        return None
    outward = np.asarray(entry) - scout.centre
    centre = scout.skull_over(np.asarray(entry), outward / np.linalg.norm(outward))
    if centre is None:
        return None
    if solids and min(solids[0].radii) < 4 and solids[0].corridor < 3.5:
        radius, holes = 8.0, 1
    return Flap(centre, radius, kerf, holes, burr, **collections)


def _find_entry(scout: Scout, solids: tuple[Solid, ...], side: int, place: float) -> Point | None:
    if solids:
        largest = max(solids, key=lambda solid: solid.volume_ml)
        if largest.entry is not None:
            return largest.entry
        return scout.find_entry(np.asarray(largest.centre), avoid_base)
    lateral = scout.shell[:, 0] > scout.midline
    shell = scout.shell[lateral == (side == Side.RIGHT)]
    shell = shell[shell[:, 2] > scout.centre[2]]
    return as_point(shell[int(place * len(shell))]) if len(shell) else None
