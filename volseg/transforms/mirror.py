"""The other side of the head as more channels, so that a network can compare the two.

Surgery is done on one side, and what the two sides have in common is hardly ever its trace. A
network that sees the mirror image beside the image has only to find where they differ, and need not
learn what each part of a healthy brain looks like in every contrast. Raina et al. 2020
(https://arxiv.org/abs/1907.08196) did so for strokes, with an affine and a non-linear reflection;
here it is that of a rigid head.
"""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.transforms import MapTransform, RandomizableTransform
from monai.utils import convert_to_dst_type
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from volseg.errors import DataError
from volseg.transforms.anatomy.lobes import Plane
from volseg.transforms.anatomy.plane import find_symmetry_plane
from volseg.transforms.standardize import tissue_threshold

MIDLINE = "midline"
"""Key of a plane that was found before."""


class AppendMirrord(MapTransform):
    """Adds the mirror image of each channel about the plane between the sides.

    ``(C, D, H, W)`` becomes ``(2 C, D, H, W)``: the channels as they are, then their mirror images.
    What is mirrored from beyond the border continues it. The plane is the case's ``midline``, if it
    has one, and else that about which the first channel's tissue is most nearly symmetric.

    Args:
        keys: Keys of the volumes.
    """

    def __init__(self, keys: Sequence[Hashable] | Hashable) -> None:
        super().__init__(keys)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Add the mirror images to one case.

        Args:
            data: Volumes; a plain tensor takes the case's ``affine``, from voxel indices to RAS mm.

        Returns:
            The case with twice the channels.

        Raises:
            DataError: If it is not known where a volume lies.
        """
        result = dict(data)
        for key in self.key_iterator(result):
            affine = getattr(result[key], "affine", result.get("affine"))
            if affine is None:
                raise DataError(
                    f"{key} has no affine, so its sides are not known; give a MetaTensor"
                )
            matrix = np.asarray(torch.as_tensor(affine).cpu(), dtype=np.float64)
            plain = torch.as_tensor(result[key]).as_subclass(Tensor)
            plane = result.get(MIDLINE) or midline_of(plain[0], matrix)
            both = torch.cat([plain, mirror(plain, plane, matrix)])
            result[key] = convert_to_dst_type(both, result[key])[0]
        return result


class RandMidlined(RandomizableTransform):
    """Moves a case's ``midline`` a little, as one that was found in a scan is off.

    A case without one is left alone.

    Args:
        shift: Standard deviation of the shift, in mm.
        turn: Standard deviation of the turn and of the tilt, in degrees.
    """

    def __init__(self, shift: float = 1.5, turn: float = 2.0) -> None:
        super().__init__(1.0)
        self.shift = shift
        self.turn = turn

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Move the midline of one case.

        Args:
            data: The case.

        Returns:
            The case with another midline.
        """
        result = dict(data)
        drawn = self.R.normal(size=3)
        if result.get(MIDLINE) is not None:
            plane: Plane = result[MIDLINE]
            slopes = np.tan(np.radians(self.turn * drawn[1:]))
            normal = plane.normal + np.array([0.0, *slopes])
            moved = plane.point + self.shift * drawn[0] * plane.normal
            result[MIDLINE] = Plane(moved, normal / np.linalg.norm(normal))
        return result


def midline_of(channel: Tensor, affine: NDArray[np.float64]) -> Plane:
    """Find the plane between the sides of what a scan shows, whole head or brain.

    Args:
        channel: ``(D, H, W)``.
        affine: From voxel indices to RAS mm, ``(4, 4)``.

    Returns:
        The plane; where there is no tissue, the middle of the volume, across RAS x.
    """
    plain = channel.detach().float().cpu()
    tissue = plain > tissue_threshold(plain[::2, ::2, ::2])
    if not bool(tissue.any()):
        middle = (np.asarray(plain.shape) - 1) / 2
        return Plane(affine[:3, :3] @ middle + affine[:3, 3], np.array([1.0, 0.0, 0.0]))
    return find_symmetry_plane(plain, tissue, affine)


def mirror(volume: Tensor, plane: Plane, affine: NDArray[np.float64]) -> Tensor:
    """Mirror a volume about a plane, on its own grid.

    Args:
        volume: ``(C, D, H, W)``.
        plane: The plane.
        affine: From voxel indices to RAS mm, ``(4, 4)``.

    Returns:
        The mirror image, trilinear, ``(C, D, H, W)``, of the volume's type.
    """
    reflection = np.eye(4)
    reflection[:3, :3] -= 2 * np.outer(plane.normal, plane.normal)
    reflection[:3, 3] = 2 * (plane.normal @ plane.point) * plane.normal
    voxels = np.linalg.inv(affine) @ reflection @ affine
    # torch counts from -1 to 1 between the outer faces of the volume, last axis first
    sizes = np.asarray(volume.shape[1:], dtype=np.float64)
    scaling = np.diag([*(2 / sizes), 1.0])
    scaling[:3, 3] = 1 / sizes - 1
    theta = (scaling @ voxels @ np.linalg.inv(scaling))[:3]
    theta = np.concatenate([theta[::-1, 2::-1], theta[::-1, 3:]], axis=1)
    grid = functional.affine_grid(
        torch.from_numpy(theta)[None].to(volume.device, torch.float32),
        [1, *volume.shape],
        align_corners=False,
    )
    values = functional.grid_sample(
        volume[None].float(), grid, padding_mode="border", align_corners=False
    )
    return values[0].to(volume.dtype)
