"""Work on every n-th voxel, and read the result linearly between them."""

from collections.abc import Sequence

import torch
from torch import Tensor

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
    for axis, (size, step) in enumerate(zip(shape, steps, strict=True), start=1):
        count = volumes.shape[axis]
        if step == 1 and count >= size:
            volumes = volumes.narrow(axis, 0, size)
        else:
            weights = _weights(size, count, step, volumes.device)
            volumes = torch.tensordot(volumes, weights, dims=([axis], [1])).movedim(-1, axis)
    return volumes


def _weights(size: int, count: int, step: int, device: torch.device) -> Tensor:
    """Weights of the samples in each voxel, ``(size, count)``."""
    places = (torch.arange(size, device=device) / step).clamp_(max=count - 1)
    samples = torch.arange(count, device=device)
    return (1 - (places[:, None] - samples).abs()).clamp_(min=0)
