"""Block masks: which voxels a network may not see.

`True` means hidden, everywhere in volseg. A mask is drawn on a coarse grid of cubes, as in SimMIM
(Xie et al. 2022, https://arxiv.org/abs/2111.09886) and UNetFormer (Hatamizadeh et al. 2022,
https://arxiv.org/abs/2204.00631), and `BlockMask.to` is the only place that expands it.
"""

from dataclasses import dataclass
from math import ceil

import torch
from torch import Tensor
from torch.nn import functional

from volseg.errors import GeometryError
from volseg.types import Size

MINIMUM_VALID_FRACTION = 0.25
"""Blocks with fewer valid voxels than this are never hidden: nothing could be learned there."""


@dataclass(frozen=True)
class BlockMask:
    """Hidden blocks of a batch of volumes.

    Args:
        grid: `True` where a block is hidden, boolean ``(B, d, h, w)``.
        block: Voxels of one block along each axis.
    """

    grid: Tensor
    block: Size

    def __post_init__(self) -> None:
        """Refuse a grid that is not boolean ``(B, d, h, w)``."""
        if self.grid.dtype != torch.bool or self.grid.ndim != 4:
            given = f"{self.grid.dtype} with {self.grid.ndim} axes"
            raise GeometryError(f"mask grid is {given}; use boolean (B, d, h, w)")

    @property
    def size(self) -> Size:
        """Voxels of the volume that the mask covers, along each axis."""
        depth, height, width = (
            cells * edge for cells, edge in zip(self.grid.shape[1:], self.block, strict=True)
        )
        return depth, height, width

    def to(self, stride: Size) -> Tensor:
        """Expand the mask to a grid of another stride.

        Args:
            stride: Voxels per cell of the wanted grid along each axis; it divides the block.

        Returns:
            `True` where hidden, boolean ``(B, D / stride, H / stride, W / stride)``.

        Raises:
            GeometryError: If the stride does not divide the block, so that a cell would be half
                hidden.
        """
        mask = self.grid
        for axis, (edge, step) in enumerate(zip(self.block, stride, strict=True), start=1):
            if step < 1 or edge % step:
                raise GeometryError(
                    f"stride {tuple(stride)} does not divide the mask's block {self.block};"
                    " use a block that is a multiple of the stride"
                )
            mask = mask.repeat_interleave(edge // step, dim=axis)
        return mask


def draw_block_mask(
    size: Size, block: Size, ratio: float, generator: torch.Generator, valid: Tensor | None = None
) -> Tensor:
    """Draw the hidden blocks of one volume.

    Args:
        size: Voxels of the volume along each axis, multiples of ``block``.
        block: Voxels of one block along each axis.
        ratio: Fraction of the eligible blocks to hide, between 0 and 1; rounded up to whole blocks.
        generator: The source of randomness, on the CPU.
        valid: Voxels that hold signal, boolean ``(D, H, W)``; blocks with less than a quarter of
            them are never hidden. `None`: every block is eligible.

    Returns:
        `True` where a block is hidden, boolean ``(d, h, w)``.

    Raises:
        GeometryError: If the block does not divide the size or the ratio is not in 0 to 1.

    Examples:
        >>> generator = torch.Generator().manual_seed(0)
        >>> draw_block_mask((8, 8, 16), (4, 4, 4), 0.4, generator).sum()
        tensor(7)
    """
    if any(length % edge for length, edge in zip(size, block, strict=True)):
        nearest = tuple(e * ceil(n / e) for n, e in zip(size, block, strict=True))
        raise GeometryError(
            f"size {tuple(size)} is not a multiple of the mask's block {tuple(block)};"
            f" use {nearest}"
        )
    if not 0 <= ratio <= 1:
        raise GeometryError(f"mask ratio is {ratio}; use a value from 0 to 1")
    cells = tuple(length // edge for length, edge in zip(size, block, strict=True))
    eligible = torch.ones(cells, dtype=torch.bool)
    if valid is not None:
        fraction = functional.avg_pool3d(valid[None, None].float(), tuple(block))[0, 0]
        eligible = fraction >= MINIMUM_VALID_FRACTION
    places = eligible.flatten().nonzero().flatten()
    order = torch.randperm(len(places), generator=generator)
    grid = torch.zeros(eligible.numel(), dtype=torch.bool)
    grid[places[order[: ceil(ratio * len(places))]]] = True
    return grid.reshape(cells)
