"""Find one's way in a head: seeds, poles, entries and the skull, on a thinned copy of its maps."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from volseg.transforms.anatomy.maps import DEPTH_STEP, Anatomy, Lobe, Side, Tissue
from volseg.transforms.resection.candidates import resectable
from volseg.transforms.resection.cavity import Point
from volseg.transforms.resection.thinning import strides

PITCH = 3.0
"""Maps are thinned to about this grid, in mm."""

SKULL_REACH = 40.0
"""The skull is looked for so far from the brain's surface, in mm."""

MIDLINE = 14.0
"""Nearer to the midline than this, a corridor would run along the falx, in mm."""

Places = NDArray[np.float64]
"""RAS mm, ``(N, 3)``."""


@dataclass(frozen=True)
class Scout:
    """The thinned maps of a head.

    Args:
        anatomy: Every n-th voxel of the maps, ``(d, h, w)``.
    """

    anatomy: Anatomy

    @classmethod
    def of(cls, anatomy: Anatomy) -> "Scout":
        """Thin the maps of a head.

        Args:
            anatomy: The maps.

        Returns:
            The scout.
        """
        thinned = anatomy.every(strides(anatomy, PITCH))
        maps = (thinned.tissue, thinned.side, thinned.lobe, thinned.depth)
        tissue, side, lobe, depth = (each.contiguous().cpu() for each in maps)
        return cls(Anatomy(tissue, side, lobe, depth, affine=thinned.affine))

    def places(self, mask: Tensor) -> Places:
        """Give the positions of marked voxels.

        Args:
            mask: ``(d, h, w)``, bool.

        Returns:
            RAS mm, ``(N, 3)``.
        """
        affine = self.anatomy.affine
        return mask.nonzero().double().numpy() @ affine[:3, :3].T + affine[:3, 3]

    def tissue(self, *tissues: Tissue) -> Tensor:
        """Mark tissues.

        Args:
            *tissues: Any of them.

        Returns:
            Boolean mask, ``(d, h, w)``.
        """
        mask = self.anatomy.tissue == tissues[0]
        for each in tissues[1:]:
            mask |= self.anatomy.tissue == each
        return mask

    def lobe(self, lobe: int, side: int) -> Tensor:
        """Mark what can be resected in a lobe.

        Args:
            lobe: A `Lobe`; 0: the cerebrum.
            side: A `Side`.

        Returns:
            Boolean mask, ``(d, h, w)``.
        """
        mask = resectable(self.anatomy, side, is_infratentorial=lobe == Lobe.INFRATENTORIAL)
        mask &= self.anatomy.side == side
        return mask & (self.anatomy.lobe == lobe) if lobe else mask

    @cached_property
    def midline(self) -> float:
        """Where the midline lies, along the RAS axis from left to right, in mm."""
        sides = [self._middle(self.anatomy.side == side) for side in (Side.LEFT, Side.RIGHT)]
        means = [float(each[0]) for each in sides if each is not None]
        return sum(means) / max(len(means), 1)

    @cached_property
    def shell(self) -> Places:
        """Positions in the outermost layer of the hull."""
        depth = self.anatomy.depth
        limit = max(PITCH, float(self.anatomy.spacing.max())) / DEPTH_STEP
        return self.places((depth > 0) & (depth <= limit))

    @cached_property
    def centre(self) -> Places:
        """Centre of the hull, ``(3,)``."""
        middle = self._middle(self.anatomy.depth > 0)
        return np.zeros(3) if middle is None else middle

    def _middle(self, mask: Tensor) -> Places | None:
        """Mean position of marked voxels, ``(3,)``; `None` if there are none."""
        ones = mask.float()
        flat = ones.sum(dim=0)
        lines = (ones.flatten(1).sum(dim=1), flat.sum(dim=1), flat.sum(dim=0))
        total = float(lines[1].sum())
        if total == 0:
            return None
        means = [float(line.double().numpy() @ np.arange(len(line))) / total for line in lines]
        affine = self.anatomy.affine
        middle: Places = affine[:3, :3] @ np.array(means) + affine[:3, 3]
        return middle

    def depth_at(self, place: Places) -> float:
        """Look up the depth below the hull's surface.

        Args:
            place: RAS mm, ``(3,)``.

        Returns:
            In mm; 0 outside.
        """
        return DEPTH_STEP * float(self._look_up(self.anatomy.depth, place[None])[0])

    def _look_up(self, volume: Tensor, places: Places) -> NDArray[np.int_]:
        """Values at the nearest voxels; 0 outside of the volume."""
        affine = self.anatomy.affine
        voxels = np.linalg.solve(affine[:3, :3], (places - affine[:3, 3]).T).T
        nearest = np.round(voxels).astype(int)
        inside = ((nearest >= 0) & (nearest < np.array(volume.shape))).all(axis=1)
        nearest[~inside] = 0
        values = volume.numpy()[tuple(nearest.T)].astype(int)
        return np.where(inside, values, 0)

    def find_entry(self, place: Places, avoid: Callable[[Places], Places]) -> Point | None:
        """Find where a surgeon would come in.

        Args:
            place: Where to get to, RAS mm, ``(3,)``.
            avoid: Extra distance in mm of each place on the surface, by outward direction.

        Returns:
            The place on the surface that is nearest, all in all.
        """
        shell = self.shell
        across = (place[0] - self.midline) * (shell[:, 0] - self.midline)
        shell = shell[across >= 0]
        if len(shell) == 0:
            return None
        outward = shell - self.centre
        outward = outward / np.linalg.norm(outward, axis=1, keepdims=True)
        medial = np.clip(MIDLINE - np.abs(shell[:, 0] - self.midline), 0, None)
        costs = np.linalg.norm(shell - place, axis=1) + 2 * medial + avoid(outward)
        return as_point(shell[int(costs.argmin())])

    def skull_over(self, place: Places, outward: Places) -> Point | None:
        """Go outward through the skull.

        Args:
            place: On the brain's surface, RAS mm, ``(3,)``.
            outward: Unit vector, ``(3,)``.

        Returns:
            Where the skull's outer surface is, RAS mm; `None`: no head is in view there.
        """
        steps = np.arange(0, SKULL_REACH, 1.0)
        line = place + steps[:, None] * outward
        tissue = self._look_up(self.anatomy.tissue, line)
        is_out = self._look_up(self.anatomy.depth, line) == 0
        bone = np.flatnonzero(is_out & (tissue == Tissue.SKULL))
        head = np.flatnonzero(is_out & (tissue == Tissue.HEAD))
        if len(bone):
            return as_point(line[bone[-1]])
        if len(head) < 3:
            return None
        return as_point(line[head[min(len(head) // 2, 8)]])


def avoid_base(outward: Places) -> Places:
    """Keep away from the base of the skull.

    Args:
        outward: Directions, ``(N, 3)``.

    Returns:
        Extra distance in mm, ``(N,)``.
    """
    return 40 * np.clip(-outward[:, 2] - 0.35, 0, None)


def avoid_front(outward: Places) -> Places:
    """Keep to the back of the head, as for the cerebellum.

    Args:
        outward: Directions, ``(N, 3)``.

    Returns:
        Extra distance in mm, ``(N,)``.
    """
    return 60 * np.clip(outward[:, 1] + 0.3, 0, None) + 40 * np.clip(outward[:, 2], 0, None)


def avoid_other_than_lateral(outward: Places) -> Places:
    """Keep to the side of the head.

    Args:
        outward: Directions, ``(N, 3)``.

    Returns:
        Extra distance in mm, ``(N,)``.
    """
    return 40 * np.clip(0.85 - np.abs(outward[:, 0]), 0, None)


def as_point(place: Places) -> Point:
    """Make plain numbers of a position.

    Args:
        place: ``(3,)``.

    Returns:
        The same.
    """
    return float(place[0]), float(place[1]), float(place[2])


def draw_place(places: Places, random: np.random.RandomState, pitch: float = PITCH) -> Places:
    """Draw one of some positions, and move it by up to half the pitch.

    Args:
        places: RAS mm, ``(N, 3)``, at least one.
        random: Source of the draw.
        pitch: Distance between the positions, in mm.

    Returns:
        RAS mm, ``(3,)``.
    """
    index = int(random.uniform() * len(places))
    place: Places = places[index] + random.uniform(-pitch / 2, pitch / 2, 3)
    return place


def tilt(direction: Places, angles: Places) -> Places:
    """Turn a direction about two axes across it.

    Args:
        direction: RAS, ``(3,)``.
        angles: In degrees, ``(2,)``.

    Returns:
        Unit vector, ``(3,)``.
    """
    helper = np.array([1.0, 0, 0]) if abs(direction[0]) < 0.9 else np.array([0, 1.0, 0])
    first = np.cross(direction, helper)
    first /= np.linalg.norm(first)
    second = np.cross(direction, first) / np.linalg.norm(direction)
    steps = np.tan(np.deg2rad(angles))
    turned = direction / np.linalg.norm(direction) + steps[0] * first + steps[1] * second
    result: Places = turned / np.linalg.norm(turned)
    return result
