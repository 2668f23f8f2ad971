"""Window attention with padding and masks, as public code has it (Liu et al. 2021).

Weights that were trained with it compute what they did only in the same windows. Where the window
divides the grid they are ours, see `volseg.networks.swin_attention`; elsewhere the grid is filled
up with zero tokens, which are attended to, and cut into full windows. What two projects do besides
has to be done too:

- MONAI (``clamped``) shortens the window to an axis that is not longer, and does not shift it, but
  looks the bias up by the tokens' numbers in a full window, so that the offsets are not the true
  ones unless the other two axes are full.
- SMIT (``scattered``) pads such an axis as well, and puts windows together in another order than it
  took them apart, so that a token gets what another place attended to. The order depends on the
  grid: weights trained with it are best used at the crop they were trained at.
"""

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor
from torch.nn import functional

from volseg.networks.swin_attention import WindowAttention, offset_index

JOINED = (0, 1, 4, 2, 5, 3, 6, 7)
"""Each axis' windows beside their tokens: what takes windows back to where they were."""

SCATTERED = (0, 1, 3, 5, 2, 4, 6, 7)
"""What SMIT does instead: the permutation that took them apart, once more."""


class PaddedWindowAttention(WindowAttention):
    """Attention within full windows of a grid that is padded at its ends.

    Args:
        width: Channels of a token.
        heads: Attention heads; they divide the width.
        window: Tokens of a window along each axis.
        is_shifted: Whether the windows are moved by half a window.
        is_clamped: Whether the window is no longer than the axis, as in MONAI; if not, windows
            are put together as in SMIT.
    """

    def __init__(
        self, width: int, heads: int, window: int, *, is_shifted: bool, is_clamped: bool
    ) -> None:
        super().__init__(width, heads, window, is_shifted=is_shifted)
        self.is_clamped = is_clamped

    def forward(self, tokens: Tensor) -> Tensor:
        """Attend.

        Args:
            tokens: Grids of tokens, ``(B, D, H, W, C)``.

        Returns:
            Grids of tokens, ``(B, D, H, W, C)``.
        """
        depth, height, width = grid = tokens.shape[1:4]
        sizes = [min(length, self.window) if self.is_clamped else self.window for length in grid]
        shifts = [
            self.window // 2 if self.is_shifted and (length > size or not self.is_clamped) else 0
            for length, size in zip(grid, sizes, strict=True)
        ]
        padding = [-length % size for length, size in zip(grid, sizes, strict=True)]
        filled = functional.pad(tokens, (0, 0, 0, padding[2], 0, padding[1], 0, padding[0]))
        rolled = filled.roll([-shift for shift in shifts], (1, 2, 3))
        mixed = self._attend_windows(
            split_windows(rolled, sizes), sizes, split_marks(rolled, sizes, shifts)
        )
        order = JOINED if self.is_clamped else SCATTERED
        joined = join_windows(mixed, sizes, rolled.shape, order)
        return joined.roll(shifts, (1, 2, 3))[:, :depth, :height, :width].contiguous()

    def _attend_windows(self, rows: Tensor, sizes: Sequence[int], marks: Tensor) -> Tensor:
        """Attend within windows ``(B, windows, n, C)``; tokens of unequal marks do not meet."""
        batch, windows, count, _ = rows.shape
        qkv = self.qkv(rows).view(batch, windows, count, 3, self.heads, -1)
        query, key, value = qkv.permute(3, 0, 1, 4, 2, 5)
        side = self.window
        index = offset_index((side, side, side), side, rows.device).view(side**3, side**3)
        numbered = index[: prod(sizes), : prod(sizes)].flatten()
        bias = self.bias.flatten(2).index_select(2, numbered).view(self.heads, count, count)
        is_together = marks[:, :, None] == marks[:, None, :]
        scores = bias.to(query.dtype).masked_fill(~is_together[:, None], float("-inf"))
        mixed = functional.scaled_dot_product_attention(query, key, value, scores)
        projected: Tensor = self.project(mixed.transpose(2, 3).flatten(3))
        return projected


def split_windows(tokens: Tensor, sizes: Sequence[int]) -> Tensor:
    """Cut grids ``(B, D, H, W, C)`` into windows, ``(B, windows, n, C)``."""
    split = [part for n, size in zip(tokens.shape[1:4], sizes, strict=True)
             for part in (n // size, size)]  # fmt: skip
    blocks = tokens.reshape(len(tokens), *split, -1).permute(0, 1, 3, 5, 2, 4, 6, 7)
    return blocks.flatten(4, 6).flatten(1, 3)


def join_windows(
    rows: Tensor, sizes: Sequence[int], shape: Sequence[int], order: Sequence[int]
) -> Tensor:
    """Put windows ``(B, windows, n, C)`` together again as grids of a shape, in an order."""
    counts = [length // size for length, size in zip(shape[1:4], sizes, strict=True)]
    blocks = rows.reshape(shape[0], *counts, *sizes, -1)
    return blocks.permute(*order).reshape(*shape)


def split_marks(tokens: Tensor, sizes: Sequence[int], shifts: Sequence[int]) -> Tensor:
    """Mark tokens that a roll has brought from the other end, ``(windows, n)``."""
    marks = torch.zeros(1, *tokens.shape[1:4], 1, dtype=torch.long, device=tokens.device)
    for axis, shift in enumerate(shifts):
        if shift:
            length = tokens.shape[1 + axis]
            marks.narrow(1 + axis, length - shift, shift).add_(1 << axis)
    return split_windows(marks, sizes)[0, :, :, 0]
