"""Work on every n-th voxel, and read the result linearly between them."""

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional

from volseg.transforms.anatomy.maps import Anatomy


def strides(box: Anatomy, pitch: float) -> list[int]:
    """Tell how many voxels make up about a distance.

    Args:
        box: The maps, whose spacing counts.
        pitch: The distance, in mm.

    Returns:
        Voxels along each axis, at least 1.
    """
    return [max(1, round(pitch / float(edge))) for edge in box.spacing]


def refine(volumes: Tensor, shape: Sequence[int], steps: Sequence[int]) -> Tensor:
    """Read volumes of every n-th voxel at all voxels, linearly; the last sample is continued.

    Args:
        volumes: Their first sample lies at the first voxel, ``(C, d, h, w)``.
        shape: Voxels along each axis of the result.
        steps: Voxels from one sample to the next along each axis.

    Returns:
        The volumes, ``(C, *shape)``.
    """
    if max(steps) > 1:
        sizes = [(n - 1) * step + 1 for n, step in zip(volumes.shape[1:], steps, strict=True)]
        volumes = functional.interpolate(
            volumes[None], sizes, mode="trilinear", align_corners=True
        )[0]
    missing = [max(size - n, 0) for size, n in zip(shape, volumes.shape[1:], strict=True)]
    if max(missing) > 0:
        pads = [0, missing[2], 0, missing[1], 0, missing[0]]
        volumes = functional.pad(volumes[None], pads, mode="replicate")[0]
    return volumes[:, : shape[0], : shape[1], : shape[2]]
