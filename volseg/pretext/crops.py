"""The random view of the masked tasks: a crop, which voxels are real, which blocks are hidden."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from monai.transforms import Randomizable
from numpy.random import RandomState
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
        """
        image, valid = read_volume(data)
        return self.cut(image, valid, self.sample((image.shape[1], image.shape[2], image.shape[3])))

    def cut(self, image: Tensor, valid: Tensor, draw: CropDraw) -> dict[str, Any]:
        """Make the view of a draw: a function of its arguments alone.

        Args:
            image: Volume, ``(C, X, Y, Z)``.
            valid: Voxels that hold signal, ``(1, X, Y, Z)``.
            draw: What is random about the view.

        Returns:
            ``image``, ``mask`` and ``valid``.
        """
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
        start = draw_start(self.R, size, self.patch_size)
        return self._finish(start)

    def _finish(self, start: Size) -> CropDraw:
        flips = tuple(axis for axis in self.flip_axes if self.R.random_sample() < 0.5)
        seed = int(self.R.randint(2**31))
        return CropDraw(start, flips, seed)


class MaskedCropPair(MaskedCrop):
    """Draw two neighbouring masked crops of a volume; the arguments are those of `MaskedCrop`.

    The second is shifted by at most a third of the crop along each axis, as two crops of 96 voxels
    in a region of 128 are.
    """

    def __call__(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """Make two views of one case.

        Args:
            data: The case: ``image``, ``(C, X, Y, Z)``; other keys are left out.

        Returns:
            ``image``, ``mask`` and ``valid`` as `MaskedCrop` gives them, both views of each
            stacked along a new first axis.
        """
        image, valid = read_volume(data)
        size = (image.shape[1], image.shape[2], image.shape[3])
        first = self.sample(size)
        near = draw_near(self.R, size, self.patch_size, first.start, fraction=3)
        views = [self.cut(image, valid, draw) for draw in (first, self._finish(near))]
        return {key: torch.stack([view[key] for view in views]) for key in views[0]}


def read_volume(data: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
    """Take the volume out of a case.

    Args:
        data: The case: ``image``, ``(C, X, Y, Z)``; an array, a tensor, or MONAI's tensor with
            metadata.

    Returns:
        The volume, a plain tensor in single precision without broken voxels, and which voxels hold
        signal, from `find_valid`.

    Raises:
        DataError: If the image has not four axes.
    """
    image = torch.as_tensor(data["image"]).as_subclass(Tensor).float()
    if image.ndim != 4:
        raise DataError(f"image has shape {tuple(image.shape)}; use (C, X, Y, Z)")
    return find_valid(image)


def draw_start(random: RandomState, size: Size, patch_size: Size) -> Size:
    """Draw where a crop begins.

    Args:
        random: The source of randomness.
        size: Voxels of the volume along each axis.
        patch_size: Voxels of the crop along each axis.

    Returns:
        First voxel along each axis; where the volume is smaller, so that it lies in the middle.
    """
    room = [n - p for n, p in zip(size, patch_size, strict=True)]
    start = [int(random.randint(free + 1)) if free > 0 else free // 2 for free in room]
    return start[0], start[1], start[2]


def draw_near(
    random: RandomState, size: Size, patch_size: Size, start: Size, fraction: int
) -> Size:
    """Draw where a neighbour of a crop begins.

    Args:
        random: The source of randomness.
        size: Voxels of the volume along each axis.
        patch_size: Voxels of the crop along each axis.
        start: First voxel of the crop.
        fraction: The neighbour is shifted by this part of the crop at most, along each axis.

    Returns:
        First voxel along each axis, inside the volume wherever the crop is.
    """
    near = []
    for n, edge, first in zip(size, patch_size, start, strict=True):
        shift = int(random.randint(-(edge // fraction), edge // fraction + 1))
        near.append(min(max(first + shift, 0), n - edge) if n > edge else first)
    return near[0], near[1], near[2]


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
