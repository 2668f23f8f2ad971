"""Crop, flip, turn, scale and bend in one interpolation.

A chain of MONAI's transforms would interpolate several times over whole volumes; here only the
voxels of the patch are read, once.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from monai.transforms import MapTransform, RandomizableTransform
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from torch import Tensor
from torch.nn import functional

from volseg.transforms.resection.noise import band_noise
from volseg.types import Size, Spacing

BEND_WAVELENGTH = 64.0
"""Shortest wavelength of the bending, in mm."""

STRAY = 0.3
"""How far the focus may lie from the patch's centre, as a part of the patch's size."""

OVERHANG = 0.15
"""How far a patch may reach beyond the volume, as a part of the patch's size."""


@dataclass(frozen=True)
class WarpRanges:
    """How strong a warp may be.

    Args:
        affine: Probability of turning and scaling.
        rotation: Largest angle about each axis, in degrees.
        scale: Largest relative change of size along each axis.
        elastic: Probability of bending.
        bend: Largest standard deviation of the displacement along each axis, in mm.
        flip_axes: Axes that are flipped every other time; 0 is left and right of a RAS volume.
    """

    affine: float = 0.7
    rotation: float = 15.0
    scale: float = 0.15
    elastic: float = 0.4
    bend: float = 3.0
    flip_axes: tuple[int, ...] = (0,)


@dataclass(frozen=True)
class Warp:
    """A drawn warp.

    Args:
        centre: Where the patch's centre is read, in voxels.
        matrix: From mm in the patch to mm in the volume, three rows.
        bend: Standard deviation of the displacement along each axis, in mm.
        seed: Seed of the bending.
    """

    centre: tuple[float, float, float]
    matrix: tuple[tuple[float, float, float], ...]
    bend: float
    seed: int


def sample_warp(random: np.random.RandomState, ranges: WarpRanges, centre: Spacing) -> Warp:
    """Draw a warp.

    Args:
        random: Source of randomness.
        ranges: How strong it may be.
        centre: Where the patch's centre is read, in voxels.

    Returns:
        The warp.
    """
    matrix = np.eye(3)
    if random.uniform() < ranges.affine:
        angles = random.uniform(-ranges.rotation, ranges.rotation, size=3)
        scales = np.exp(random.uniform(-1, 1, size=3) * np.log1p(ranges.scale))
        matrix = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() * scales
    for axis in ranges.flip_axes:
        if random.uniform() < 0.5:
            matrix[:, axis] *= -1
    is_bent = random.uniform() < ranges.elastic
    bend = float(random.uniform(0, ranges.bend)) if is_bent else 0.0
    rows = tuple((float(row[0]), float(row[1]), float(row[2])) for row in matrix)
    return Warp(centre, rows, bend, int(random.randint(2**31)))


def warp_places(drawn: Warp, size: Size, spacing: Spacing) -> Tensor:
    """Say where each voxel of a patch is read.

    Args:
        drawn: The warp.
        size: Voxels of the patch along each axis.
        spacing: Voxel edge along each axis, in mm.

    Returns:
        Voxel indices in the volume, ``(3, D, H, W)``, float32.
    """
    matrix: NDArray[np.float64] = np.asarray(drawn.matrix)
    edges = np.asarray(spacing)
    matrix = matrix * edges[None, :] / edges[:, None]
    places = torch.empty(3, *size)
    for row in range(3):
        parts = []
        for axis, count in enumerate(size):
            view = [1, 1, 1]
            view[axis] = -1
            offsets = torch.arange(count) - (count - 1) / 2
            parts.append((offsets * float(matrix[row, axis])).view(view))
        torch.add(parts[0] + parts[1] + drawn.centre[row], parts[2], out=places[row])
    if drawn.bend > 0:
        generator = torch.Generator().manual_seed(drawn.seed)
        for row in range(3):
            noise = band_noise(size, spacing, BEND_WAVELENGTH, generator)
            places[row].add_(noise, alpha=drawn.bend / spacing[row])
    return places


def read_places(volume: Tensor, places: Tensor, mode: str) -> Tensor:
    """Read a volume at given places; beyond its border it is continued.

    Args:
        volume: ``(C, D, H, W)``.
        places: Voxel indices, ``(3, d, h, w)``.
        mode: ``bilinear`` or ``nearest``.

    Returns:
        ``(C, d, h, w)``, of the volume's type.
    """
    lengths = torch.tensor(volume.shape[1:], dtype=torch.float32).view(3, 1, 1, 1)
    grid = places * (2 / lengths) + (1 / lengths - 1)
    values = functional.grid_sample(
        volume[None].float(),
        grid.flip(0).permute(1, 2, 3, 0)[None].to(volume.device),
        mode=mode,
        padding_mode="border",
        align_corners=False,
    )[0]
    return values.to(volume.dtype)


class RandWarpd(RandomizableTransform, MapTransform):
    """Cuts a random patch out of a case, warped.

    Some patches lie around a random voxel of the label; the others, and those of a case whose label
    is empty, around a random voxel that is brighter than the mean.

    Args:
        keys: Keys to warp, ``(C, D, H, W)`` each, all on one grid.
        modes: ``bilinear`` or ``nearest`` for each key.
        patch_size: Voxels of the patch along each axis.
        spacing: Voxel edge along each axis, in mm.
        focus_key: Key of the label, ``(1, D, H, W)``.
        focus: Probability of a patch around a voxel of the label.
        ranges: How strong the warp may be.
    """

    def __init__(
        self,
        keys: Sequence[Hashable],
        modes: Sequence[str],
        patch_size: Size,
        spacing: Spacing = (1.0, 1.0, 1.0),
        focus_key: Hashable = "label",
        focus: float = 0.7,
        ranges: WarpRanges | None = None,
    ) -> None:
        MapTransform.__init__(self, keys)
        RandomizableTransform.__init__(self, 1.0)
        self.modes = tuple(modes)
        self.patch_size: Size = (patch_size[0], patch_size[1], patch_size[2])
        self.spacing: Spacing = (spacing[0], spacing[1], spacing[2])
        self.focus_key = focus_key
        self.focus = focus
        self.ranges = ranges or WarpRanges()

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Cut a patch.

        Args:
            data: The case.

        Returns:
            The case, its keys being plain tensors of the patch's size.
        """
        result = dict(data)
        volumes = {key: torch.as_tensor(result[key]).as_subclass(Tensor) for key in self.keys}
        drawn = sample_warp(self.R, self.ranges, self.sample_centre(volumes))
        places = warp_places(drawn, self.patch_size, self.spacing)
        for key, mode in zip(self.keys, self.modes, strict=True):
            result[key] = read_places(volumes[key], places, mode)
        return result

    def sample_centre(self, volumes: Mapping[Hashable, Tensor]) -> Spacing:
        """Draw where a patch lies.

        Args:
            volumes: ``(C, D, H, W)`` each.

        Returns:
            Its centre, in voxels; the patch's own voxels then lie on the volume's.
        """
        is_focused = self.R.uniform() < self.focus
        strays = self.R.uniform(-STRAY, STRAY, size=3)
        pick = float(self.R.uniform())
        label = volumes.get(self.focus_key)
        voxel = _pick(label[0] > 0, pick, 1) if is_focused and label is not None else None
        if voxel is None:
            image = volumes[self.keys[0]][0]
            thinned = image[::4, ::4, ::4].float()
            voxel = _pick(thinned > thinned.mean(), pick, 4) or (0, 0, 0)
        size = volumes[self.keys[0]].shape[1:]
        first, second, third = (
            _place(*each) for each in zip(voxel, strays, self.patch_size, size, strict=True)
        )
        return first, second, third


def _pick(mask: Tensor, pick: float, step: int) -> Size | None:
    """The voxel at a part of all that are true, in voxels of a grid ``step`` times as fine."""
    places = mask.flatten().nonzero().flatten()
    if not len(places):
        return None
    flat = int(places[min(int(pick * len(places)), len(places) - 1)])
    first, second, third = np.unravel_index(flat, tuple(mask.shape))
    return int(first) * step, int(second) * step, int(third) * step


def _place(voxel: int, stray: float, length: int, available: int) -> float:
    """Centre of a patch near a voxel; a volume that is too small lies in its middle."""
    wanted = round(voxel + stray * length - (length - 1) / 2)
    overhang = int(OVERHANG * length)
    lowest, highest = -overhang, available - length + overhang
    is_small = lowest > highest
    start = (available - length) // 2 if is_small else min(max(wanted, lowest), highest)
    return start + (length - 1) / 2
