"""The random view of the masked tasks: a crop, which voxels are real, which blocks are hidden."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from monai.transforms import Randomizable
from torch import Tensor

from volseg.errors import DataError
from volseg.transforms.masking import draw_block_mask
from volseg.types import Size


@dataclass(frozen=True)
class CropDraw:
    """What is random about a crop.

    Args:
        start: First voxel along each axis; negative where the volume is padded.
        flips: Axes to flip, 0 to 2.
        mask_seed: Seed of the block mask.
    """

    start: Size
    flips: tuple[int, ...]
    mask_seed: int


class MaskedCrop(Randomizable):
    """Crop at random and draw the blocks to hide.

    A voxel is valid if it is not padding, finite in every channel, and in some channel above the
    volume's minimum: what lies at the minimum is air, or was clipped.

    Args:
        patch_size: Voxels of the crop along each axis, multiples of ``block``; a smaller volume is
            padded with zeros, as at inference. Its border repeated would show what a hidden block
            at the border holds.
        block: Voxels of one hidden block along each axis.
        ratio: Fraction of the eligible blocks to hide.
        flip_axes: Axes to flip, each with probability one half.
    """

    def __init__(
        self, patch_size: Size, block: Size, ratio: float, flip_axes: tuple[int, ...] = ()
    ) -> None:
        self.patch_size = patch_size
        self.block = block
        self.ratio = ratio
        self.flip_axes = flip_axes

    def __call__(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """Make a view of one case.

        Args:
            data: The case: ``image``, ``(C, X, Y, Z)``; an array, a tensor, or MONAI's tensor with
                metadata. Other keys are left out.

        Returns:
            Plain tensors: ``image`` ``(C, D, H, W)``, ``mask`` ``(d, h, w)``, `True` where a block
            is hidden, and ``valid`` ``(1, D, H, W)``.

        Raises:
            DataError: If the image has not four axes.
        """
        image = torch.as_tensor(data["image"]).as_subclass(Tensor).float()
        if image.ndim != 4:
            raise DataError(f"image has shape {tuple(image.shape)}; use (C, X, Y, Z)")
        image, valid = find_valid(image)
        draw = self.sample((image.shape[1], image.shape[2], image.shape[3]))
        image, valid = (
            crop_padded(volume, self.patch_size, draw.start).flip([a + 1 for a in draw.flips])
            for volume in (image, valid)
        )
        generator = torch.Generator().manual_seed(draw.mask_seed)
        mask = draw_block_mask(self.patch_size, self.block, self.ratio, generator, valid[0])
        return {"image": image, "mask": mask, "valid": valid}

    def sample(self, size: Size) -> CropDraw:
        """Draw a crop of a volume.

        Args:
            size: Voxels of the volume along each axis.

        Returns:
            A place inside the volume, or around its middle where it is smaller than the crop.
        """
        room = [n - p for n, p in zip(size, self.patch_size, strict=True)]
        start = [int(self.R.randint(free + 1)) if free > 0 else free // 2 for free in room]
        flips = tuple(axis for axis in self.flip_axes if self.R.random_sample() < 0.5)
        seed = int(self.R.randint(2**31))
        return CropDraw((start[0], start[1], start[2]), flips, seed)


def find_valid(image: Tensor) -> tuple[Tensor, Tensor]:
    """Mark the voxels that hold signal, and clean the others.

    Args:
        image: Volume, ``(C, X, Y, Z)``.

    Returns:
        The volume with its channels' minimum where it was not finite, zero if it was so nowhere;
        and `True` for the voxels that are finite in every channel and above the minimum in some,
        ``(1, X, Y, Z)``.

    Examples:
        >>> image, valid = find_valid(torch.tensor([-1, 3, float("nan")]).view(1, 1, 1, 3))
        >>> image.flatten().tolist(), valid.flatten().tolist()
        ([-1.0, 3.0, -1.0], [False, True, False])
    """
    finite = image.isfinite()
    highest = torch.finfo(image.dtype).max
    lowest = torch.where(finite, image, highest).amin(dim=(1, 2, 3), keepdim=True)
    lowest = torch.where(lowest < highest, lowest, 0)
    clean = torch.where(finite, image, lowest)
    valid = (clean > lowest).any(dim=0, keepdim=True) & finite.all(dim=0, keepdim=True)
    return clean, valid


def crop_padded(volume: Tensor, patch_size: Size, start: Size) -> Tensor:
    """Copy a box out of a volume, with zeros where it reaches beyond.

    Args:
        volume: Volume, ``(C, X, Y, Z)``.
        patch_size: Voxels of the box along each axis.
        start: Its first voxel along each axis; may be negative.

    Returns:
        The box, ``(C, D, H, W)``, of the volume's type.

    Examples:
        >>> crop_padded(torch.arange(1, 5).view(1, 1, 1, 4), (1, 1, 3), (0, 0, -1))
        tensor([[[[0, 1, 2]]]])
    """
    source, target = [slice(None)], [slice(None)]
    for length, edge, first in zip(volume.shape[1:], patch_size, start, strict=True):
        begin, end = max(first, 0), min(first + edge, length)
        source.append(slice(begin, end))
        target.append(slice(begin - first, end - first))
    box = volume.new_zeros((volume.shape[0], *patch_size))
    box[tuple(target)] = volume[tuple(source)]
    return box
