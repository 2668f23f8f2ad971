"""The random view of the masked tasks: a crop, which voxels are real, which blocks are hidden."""

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.transforms import Randomizable
from torch import Tensor
from torch.nn import functional

from volseg.transforms.masking import draw_block_mask
from volseg.types import Size


class MaskedCrop(Randomizable):
    """Crop at random and draw the blocks to hide.

    A voxel is valid if it is not padding and, in some channel, above the volume's minimum: what
    lies at the minimum is air, or was clipped.

    Args:
        patch_size: Voxels of the crop along each axis; a smaller volume is padded.
        block: Voxels of one hidden block along each axis.
        ratio: Fraction of the eligible blocks to hide.
        flip_axes: Axes to flip, each with probability one half.
    """

    def __init__(
        self, patch_size: Size, block: Size, ratio: float, flip_axes: tuple[int, ...] = ()
    ) -> None:
        """Draw nothing yet."""
        self.patch_size = patch_size
        self.block = block
        self.ratio = ratio
        self.flip_axes = flip_axes

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[str, Tensor]:
        """Make a view of one case.

        Args:
            data: The case: ``image``, ``(C, X, Y, Z)``.

        Returns:
            ``image`` ``(C, D, H, W)``, ``mask`` ``(d, h, w)``, `True` where a block is hidden, and
            ``valid`` ``(1, D, H, W)``.
        """
        image = torch.as_tensor(data["image"]).as_subclass(Tensor).float()
        lowest = image.amin(dim=(1, 2, 3), keepdim=True)
        valid = (image > lowest).any(dim=0, keepdim=True)
        padding: list[int] = []
        for length, wanted in zip(image.shape[1:], self.patch_size, strict=True):
            lack = max(0, wanted - length)
            padding = [lack // 2, lack - lack // 2, *padding]
        image = functional.pad(image[None], padding, mode="replicate")[0]
        valid = functional.pad(valid, padding)
        window, axes = self._draw_window(tuple(image.shape[1:]))
        image, valid = (volume[window].flip(axes).contiguous() for volume in (image, valid))
        generator = torch.Generator().manual_seed(int(self.R.randint(2**31)))
        mask = draw_block_mask(self.patch_size, self.block, self.ratio, generator, valid[0])
        return {"image": image, "mask": mask, "valid": valid}

    def _draw_window(self, size: tuple[int, ...]) -> tuple[tuple[slice, ...], list[int]]:
        window = [slice(None)]
        for length, wanted in zip(size, self.patch_size, strict=True):
            start = int(self.R.randint(length - wanted + 1))
            window.append(slice(start, start + wanted))
        axes = [axis + 1 for axis in self.flip_axes if self.R.random_sample() < 0.5]
        return tuple(window), axes
