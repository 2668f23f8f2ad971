"""Plan an operation: from a mode to the solids that are taken out.

Each plan draws everything from the random state and returns solids in RAS mm, or `None` if this
head lacks what it needs. Sizes in mm are those of epilepsy and tumour surgery: temporal lobes are
cut 30 to 65 mm behind their pole, hippocampi are followed, corridors are 8 to 20 mm wide.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from volseg.transforms.anatomy.maps import Lobe, Side, Tissue
from volseg.transforms.resection.cavity import HalfSpace, Point, Solid
from volseg.transforms.resection.prior import Prior
from volseg.transforms.resection.scout import (
    Places,
    Scout,
    as_point,
    avoid_base,
    avoid_front,
    avoid_other_than_lateral,
    draw_place,
    tilt,
)
from volseg.transforms.resection.solid import equivalent_radius

LIMBIC_LENGTH = 2.2
"""Hippocampus and amygdala reach so many standard deviations of their positions from the centre."""

SURFACE = 14.0
"""A lobe is taken from its surface: the centre lies so far to its side and its pole, in mm."""

ENOUGH = 12
"""Fewer thinned voxels than this are not taken for a structure."""


@dataclass(frozen=True)
class Lobectomy:
    """How a lobe is cut.

    Args:
        lobe: Which.
        outward: Towards its pole, RAS.
        nearest: Least distance of the cut from the pole, in mm.
        farthest: Largest distance, in mm.
        median_ml: Median of the volume, in mL, where it is free.
    """

    lobe: Lobe
    outward: Point
    nearest: float
    farthest: float
    median_ml: float


TEMPORAL = Lobectomy(Lobe.TEMPORAL, (0.0, 0.98, -0.2), 30, 65, 20)

LOBECTOMIES = (
    (0.6, Lobectomy(Lobe.FRONTAL, (0.0, 0.97, 0.25), 20, 70, 20)),
    (0.2, Lobectomy(Lobe.PARIETAL, (0.0, -0.3, 0.95), 18, 50, 18)),
    (0.2, Lobectomy(Lobe.OCCIPITAL, (0.0, -0.97, 0.1), 18, 55, 18)),
)
"""Share, and how."""


@dataclass(frozen=True)
class Planner:
    """Plans operations on one head.

    Args:
        scout: The head.
        random: Source of all draws.
        prior: What is drawn how often.
        side: `Side` that is operated.
    """

    scout: Scout
    random: np.random.RandomState
    prior: Prior
    side: int

    def plan(self, mode: str) -> tuple[Solid, ...] | None:
        """Plan an operation.

        Args:
            mode: One of `MODES` that takes something out.

        Returns:
            The solids; `None`: this head lacks what it takes.
        """
        plans: dict[str, Callable[[], tuple[Solid, ...] | None]] = {
            "lesionectomy": self._lesionectomy,
            "temporal_lobectomy": self._temporal_lobectomy,
            "lobectomy": self._lobectomy,
            "amygdalohippocampectomy": self._amygdalohippocampectomy,
            "tumour": self._tumour,
            "infratentorial": self._infratentorial,
            "tract": self._tract,
            "two_cavities": self._two_cavities,
        }
        return plans[mode]()

    def _lesionectomy(self) -> tuple[Solid, ...] | None:
        solid = self._lesion(self.prior.draw_volume(self.random))
        return None if solid is None else (solid,)

    def _lesion(self, volume: float) -> Solid | None:
        lobe = self.prior.draw_lobe(self.random)
        tissues = [Tissue.CORTEX]
        if self.prior.sites == "tumour":
            tissues.append(Tissue.WHITE)
        places = self.scout.places(self.scout.lobe(lobe, self.side) & self.scout.tissue(*tissues))
        if len(places) < ENOUGH:
            return None
        return self._ball(draw_place(places, self.random), volume, avoid_base)

    def _ball(self, centre: Places, volume: float, avoid: Callable[[Places], Places]) -> Solid:
        """A rough ellipsoid of any direction, with a corridor if it would be buried."""
        radius, ratio = equivalent_radius(volume), self.random.uniform(1, 1.6)
        angles = as_point(self.random.uniform(0, 360, 3))
        wants_corridor = self.random.uniform() < 0.75
        solid = Solid(
            centre=as_point(centre),
            radii=(radius, ratio * radius, radius / ratio),
            angles=angles,
            volume_ml=volume,
            roughness=self.random.uniform(0.4, 1.0),
            seed=self._seed(),
        )
        width = self.random.uniform(4, 10)
        if not wants_corridor or self.scout.depth_at(centre) < 0.7 * radius:
            return solid
        return self._open(solid, width, avoid)

    def _open(self, solid: Solid, width: float, avoid: Callable[[Places], Places]) -> Solid:
        """Add a corridor that takes less than half of the volume."""
        centre = np.asarray(solid.centre)
        entry = self.scout.find_entry(centre, avoid)
        if entry is None:
            return solid
        length = max(float(np.linalg.norm(np.asarray(entry) - centre)), 1.0)
        limit = float(np.sqrt(450 * solid.volume_ml / (np.pi * length)))
        return replace(solid, corridor=max(min(width, limit), 2.0), entry=entry)

    def _seed(self) -> int:
        return int(self.random.randint(2**31 - 1))

    def _temporal_lobectomy(self) -> tuple[Solid, ...] | None:
        solid = self._cut(TEMPORAL)
        takes_hippocampus = self.random.uniform() < 0.55
        if solid is None or not takes_hippocampus:
            return None if solid is None else (solid,)
        deep = self._limbic(corridor=0.0)
        return (solid,) if deep is None else (solid, deep)

    def _lobectomy(self) -> tuple[Solid, ...] | None:
        shares = np.cumsum([share for share, _ in LOBECTOMIES])
        chosen = int(np.searchsorted(shares, self.random.uniform() * shares[-1], side="right"))
        solid = self._cut(LOBECTOMIES[chosen][1])
        return None if solid is None else (solid,)

    def _cut(self, how: Lobectomy) -> Solid | None:
        """Cut a lobe by a plane so far from its pole that the volume fits what the plane leaves."""
        mask = self.scout.lobe(how.lobe, self.side)
        places = self.scout.places(mask)
        wanted = how.median_ml * float(self.random.lognormal(0, 0.5))
        wanted = min(max(wanted, self.prior.min_ml), self.prior.max_ml)
        fill = self.random.uniform(0.6, 0.97)
        outward = tilt(np.asarray(how.outward), self.random.uniform(-15, 15, 2))
        roughness, seed = self.random.uniform(0.3, 0.7), self._seed()
        if len(places) < ENOUGH:
            return None
        behind = (places @ outward).max() - places @ outward
        voxel = self.scout.anatomy.voxel_ml
        rank = min(max(int(wanted / fill / voxel), 1), len(behind) - 1)
        distance = float(np.clip(np.partition(behind, rank)[rank], how.nearest, how.farthest))
        within = places[behind < distance]
        volume = min(fill * len(within) * voxel, self.prior.max_ml)
        if volume < self.prior.min_ml:
            return None
        pole = places[behind.argmin()]
        lateral = np.array([SURFACE if self.side == Side.RIGHT else -SURFACE, 0, 0])
        centre = within.mean(axis=0) + lateral + SURFACE * outward
        return Solid(
            centre=as_point(centre),
            radii=as_point(1.9 * within.std(axis=0) + 4),
            angles=(0.0, 0.0, 0.0),
            volume_ml=volume,
            roughness=roughness,
            seed=seed,
            planes=(HalfSpace(as_point(pole - distance * outward), as_point(-outward)),),
            lobe=int(how.lobe),
        )

    def _amygdalohippocampectomy(self) -> tuple[Solid, ...] | None:
        solid = self._limbic(corridor=self.random.uniform(4, 6.5))
        return None if solid is None else (solid,)

    def _limbic(self, corridor: float) -> Solid | None:
        """Follow hippocampus and amygdala; without their outline, an ellipsoid in their place."""
        mask = self.scout.tissue(Tissue.LIMBIC) & (self.scout.anatomy.side == self.side)
        share, extra = self.random.uniform(0.9, 1.5), self.random.uniform(1.5, 4.5)
        roughness, seed = self.random.uniform(0.1, 0.35), self._seed()
        places = self.scout.places(mask)
        is_outlined = len(places) >= ENOUGH
        if not is_outlined:
            places = self._deep_temporal()
        if len(places) < ENOUGH:
            return None
        volume = share * len(places) * self.scout.anatomy.voxel_ml if is_outlined else extra
        centre, spread = places.mean(axis=0), np.clip(places.std(axis=0), 3, 12)
        solid = Solid(
            centre=as_point(centre),
            radii=as_point(LIMBIC_LENGTH * spread + 3) if is_outlined else (7.0, 17.0, 7.0),
            angles=(0.0, 0.0, 0.0) if is_outlined else (-20.0, 0.0, 0.0),
            volume_ml=float(np.clip(volume, 1.2, 9.0)),
            roughness=roughness,
            seed=seed,
            tissue=int(Tissue.LIMBIC) if is_outlined else 0,
        )
        if corridor <= 0:
            return solid
        wider = replace(solid, volume_ml=solid.volume_ml + 0.045 * corridor**2)
        return self._open(wider, corridor, avoid_other_than_lateral)

    def _deep_temporal(self) -> Places:
        """Where a hippocampus is to be expected: the medial third of the temporal lobe."""
        places = self.scout.places(self.scout.lobe(Lobe.TEMPORAL, self.side))
        if len(places) < ENOUGH:
            return places
        off = np.abs(places[:, 0] - self.scout.midline)
        front, back = np.quantile(places[:, 1], [0.75, 0.3])
        low, high = np.quantile(off, [0.1, 0.35])
        is_within = (off > low) & (off < high)
        within: Places = places[is_within & (places[:, 1] < front) & (places[:, 1] > back)]
        return within

    def _tumour(self) -> tuple[Solid, ...] | None:
        """Follow the tumour: its core and a margin, or only a part of it."""
        mask = self.scout.tissue(Tissue.LESION) & (self.scout.anatomy.side == self.side)
        places = self.scout.places(mask)
        is_whole, margin = self.random.uniform() < 0.5, self.random.uniform(0, 5)
        part, roughness = self.random.uniform(0.6, 1.0), self.random.uniform(0.3, 0.8)
        seed, width = self._seed(), self.random.uniform(4, 10)
        if len(places) == 0:
            return None
        volume = len(places) * self.scout.anatomy.voxel_ml
        growth = (1 + margin / equivalent_radius(volume)) ** 3
        volume = min(max(volume * (growth if is_whole else part), 0.3), self.prior.max_ml)
        centre = places[np.linalg.norm(places - places.mean(axis=0), axis=1).argmin()]
        radii, angles = as_point(np.abs(places - centre).max(axis=0) + 8), (0.0, 0.0, 0.0)
        solid = Solid(as_point(centre), radii, angles, volume, roughness, seed)
        solid = replace(solid, tissue=int(Tissue.LESION))
        buried = max(0.0, self.scout.depth_at(centre) - equivalent_radius(volume))
        low = mask & self.scout.lobe(Lobe.INFRATENTORIAL, self.side)
        avoid = avoid_front if 2 * low.sum() > mask.sum() else avoid_base
        solid = self._open(solid, width, avoid) if buried > 0 else solid
        volume += np.pi * solid.corridor**2 * buried / 1000
        return (replace(solid, volume_ml=min(volume, self.prior.max_ml)),)

    def _infratentorial(self) -> tuple[Solid, ...] | None:
        mask = self.scout.lobe(Lobe.INFRATENTORIAL, self.side)
        mask &= self.scout.tissue(Tissue.CEREBELLUM_CORTEX, Tissue.CEREBELLUM_WHITE)
        places = self.scout.places(mask)
        volume = float(np.clip(8 * self.random.lognormal(0, 0.8), self.prior.min_ml, 35))
        if len(places) < ENOUGH:
            return None
        return (self._ball(draw_place(places, self.random), volume, avoid_front),)

    def _tract(self) -> tuple[Solid, ...] | None:
        """A laser's track, long and thin, or the sheet of a disconnection."""
        is_laser = self.random.uniform() < 0.6
        mask = self.scout.lobe(0, self.side) & self.scout.tissue(Tissue.WHITE, Tissue.LIMBIC)
        places = self.scout.places(mask)
        volume = float(np.exp(self.random.uniform(np.log(0.8), np.log(7.0))))
        angles = as_point(self.random.uniform(0, 360, 3))
        width, ratio = self.random.uniform(2, 3), self.random.uniform(2.0, 4.0)
        roughness, seed = self.random.uniform(0.2, 0.5), self._seed()
        if len(places) < ENOUGH:
            return None
        radius = equivalent_radius(volume)
        thin = radius / ratio ** (1 / 3) if is_laser else radius / ratio ** (2 / 3)
        radii = (thin, thin, ratio * thin) if is_laser else (thin, ratio * thin, ratio * thin)
        centre = as_point(draw_place(places, self.random))
        solid = Solid(centre, radii, angles, volume, roughness, seed)
        return (self._open(solid, width, avoid_base) if is_laser else solid,)

    def _two_cavities(self) -> tuple[Solid, ...] | None:
        """Two lesions that keep a bridge of brain between them."""
        total, share = self.prior.draw_volume(self.random), self.random.uniform(0.5, 0.9)
        first, second = self._lesion(share * total), self._lesion((1 - share) * total)
        if not (first and second):
            return None
        apart = np.linalg.norm(np.subtract(first.centre, second.centre))
        radii = sum(equivalent_radius(each.volume_ml) for each in (first, second))
        return (first, second) if apart > 1.5 * radii + 8 else None
