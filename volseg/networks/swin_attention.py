"""Self-attention within windows, the core of Swin (Liu et al. 2021, arXiv:2103.14030), in 3D.

Where the original pads the grid to whole windows, rolls it for the shifted blocks and masks what
must not meet, we cut the grid at the same places into windows of unequal size and attend within
each: the same result without padding, masks or wasted products. Windows of equal size run in one
call. Two departures: a grid that the window does not divide is cut into windows as equal as can
be, instead of full ones and a padded rest; and an axis no longer than the window is one window.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise, product
from math import ceil, prod
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from volseg.errors import GeometryError
from volseg.networks.adaption import Adaption
from volseg.types import Size

CHUNK_SCORES = 1 << 18
"""Scores that the backward pass on a CPU holds at once: 1 MiB, what a core's cache takes."""


def cut_axis(length: int, window: int, *, is_shifted: bool) -> tuple[int, ...]:
    """Cut an axis into windows as equal as can be.

    Args:
        length: Tokens on the axis.
        window: Tokens of a window at most.
        is_shifted: Whether the cuts are moved by half a window, so that neighbours meet.

    Returns:
        Tokens of each window, in order.

    Examples:
        >>> cut_axis(8, 4, is_shifted=False), cut_axis(8, 4, is_shifted=True)
        ((4, 4), (2, 4, 2))
        >>> cut_axis(10, 4, is_shifted=False), cut_axis(3, 4, is_shifted=True)
        ((3, 3, 4), (3,))
    """
    count = ceil(length / window)
    if count == 1:
        return (length,)
    cuts = [(2 * k + is_shifted) * length // (2 * count) for k in range(count + (not is_shifted))]
    inner = [cut for cut in cuts if 0 < cut < length]
    return tuple(stop - start for start, stop in pairwise([0, *inner, length]))


@dataclass(frozen=True)
class WindowPlan:
    """How the tokens of a batch of grids fall into windows.

    Args:
        order: For each place of the windowed tokens, its token among ``B * D * H * W``.
        inverse: For each token, its place among the windowed tokens.
        groups: Size of the windows of each group, and their number in the batch; the windowed
            tokens lie group by group.
    """

    order: Tensor
    inverse: Tensor
    groups: tuple[tuple[Size, int], ...]


@lru_cache(maxsize=16)
def plan_windows(
    batch: int, grid: Size, window: int, device: torch.device, *, is_shifted: bool
) -> WindowPlan:
    """Cut a batch of grids into windows; a plan that was made before is given again.

    Args:
        batch: Grids.
        grid: Tokens along each axis.
        window: Tokens of a window along each axis, at most.
        device: Where the plan's indices shall lie.
        is_shifted: Whether the cuts are moved by half a window.

    Returns:
        The plan.
    """
    with torch.inference_mode(mode=False):
        tokens = torch.arange(batch * prod(grid)).reshape(batch, *grid)
        axes = [cut_axis(length, window, is_shifted=is_shifted) for length in grid]
        members: dict[Size, Tensor] = {}
        for (a, d), (b, h), (c, w) in product(*(_equal_windows(axis) for axis in axes)):
            index = tokens[:, d][:, :, h][:, :, :, w]
            split = index.reshape(batch, len(d) // a, a, len(h) // b, b, len(w) // c, c)
            members[(a, b, c)] = split.permute(0, 1, 3, 5, 2, 4, 6).flatten()
        order = torch.cat(list(members.values()))
        inverse = torch.empty_like(order)
        inverse[order] = torch.arange(len(order))
        groups = tuple((size, len(index) // prod(size)) for size, index in members.items())
        return WindowPlan(order.to(device), inverse.to(device), groups)


def _equal_windows(lengths: tuple[int, ...]) -> list[tuple[int, Tensor]]:
    """List the lengths of an axis, each with the tokens of its windows."""
    marks = torch.tensor(lengths).repeat_interleave(torch.tensor(lengths))
    return [(length, (marks == length).nonzero().flatten()) for length in Counter(lengths)]


@lru_cache(maxsize=128)
def offset_index(size: Size, window: int, device: torch.device) -> Tensor:
    """Find the place in a table of offsets for each pair of tokens of a window.

    Args:
        size: Tokens of the window along each axis, at most ``window``.
        window: Tokens along each axis of the window that the table was made for.
        device: Where the index shall lie.

    Returns:
        Places in a flattened table ``(2 w - 1, 2 w - 1, 2 w - 1)``, flattened from query and key.
    """
    with torch.inference_mode(mode=False):
        axes = torch.meshgrid(*(torch.arange(length) for length in size), indexing="ij")
        places = torch.stack(axes).flatten(1)
        offsets = places[:, :, None] - places[:, None, :] + window - 1
        width = 2 * window - 1
        flat: Tensor = (offsets[0] * width + offsets[1]) * width + offsets[2]
        return flat.flatten().to(device)


class _Reorder(torch.autograd.Function):
    """Permute rows; the way back is a permutation too, not a sum over scattered rows."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, order: Tensor, inverse: Tensor) -> Tensor:
        ctx.save_for_backward(inverse)
        return rows.index_select(0, order)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (inverse,) = ctx.saved_tensors
        return gradients[0].index_select(0, inverse), None, None


def reorder(rows: Tensor, order: Tensor, inverse: Tensor) -> Tensor:
    """Permute rows.

    Args:
        rows: Rows, ``(N, C)``.
        order: For each row of the result, its row in ``rows``.
        inverse: The permutation back.

    Returns:
        Permuted rows, ``(N, C)``.
    """
    permuted: Tensor = _Reorder.apply(rows, order, inverse)  # type: ignore[no-untyped-call] # torch's
    return permuted


class _LearnedBiasAttention(torch.autograd.Function):
    """Attention with a bias that learns, without keeping the scores, on a CPU.

    There torch has no fused kernel for a bias with a gradient, and falls back to one that writes
    every score to memory several times. The forward pass here is the fused one, and the backward
    pass works through a few windows at a time.
    """

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, bias: Tensor) -> Tensor:
        result = functional.scaled_dot_product_attention(query, key, value, bias.detach())
        ctx.save_for_backward(query, key, value, bias, result)
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        query, key, value, bias, result = ctx.saved_tensors
        scale = query.shape[-1] ** -0.5
        drift = (gradients[0].float() * result.float()).sum(-1, keepdim=True)
        step = max(1, CHUNK_SCORES // bias[0].numel())
        grads = [torch.empty_like(tensor) for tensor in (query, key, value)]
        bias_gradient = torch.zeros_like(bias, dtype=torch.float32)
        for start in range(0, len(query), step):
            part = slice(start, start + step)
            q, k, v, g = (t[part].float() for t in (query, key, value, gradients[0]))
            q = q * scale
            weights = (q @ k.mT).add_(bias).softmax(-1)
            scores = (g @ v.mT).sub_(drift[part]).mul_(weights)
            grads[0][part] = (scores @ k).mul_(scale)
            grads[1][part] = scores.mT @ q
            grads[2][part] = weights.mT @ g
            bias_gradient += scores.sum(0)
        return grads[0], grads[1], grads[2], bias_gradient.to(bias.dtype)


def biased_attention(query: Tensor, key: Tensor, value: Tensor, bias: Tensor) -> Tensor:
    """Attend with a bias on the scores, by the fused kernel wherever there is one.

    Args:
        query: Queries, ``(windows, heads, tokens, width)``.
        key: Keys, as the queries.
        value: Values, as the queries.
        bias: What to add to the scores, ``(1, heads, tokens, tokens)``.

    Returns:
        Sums of values, ``(windows, heads, tokens, width)``.
    """
    bias = bias.to(query.dtype)
    if bias.requires_grad and query.device.type == "cpu":
        mixed: Tensor = _LearnedBiasAttention.apply(query, key, value, bias)  # type: ignore[no-untyped-call] # torch's
        return mixed
    return functional.scaled_dot_product_attention(query, key, value, bias)


class WindowAttention(nn.Module):
    """Multi-head attention within the windows of a grid, with relative position bias.

    Args:
        width: Channels of a token.
        heads: Attention heads; they divide the width.
        window: Tokens of a window along each axis, at most.
        is_shifted: Whether the windows are moved by half a window.

    Raises:
        GeometryError: If the heads do not divide the width.
    """

    adaptable: ClassVar[Mapping[str, Adaption]] = {"bias": "bias"}

    def __init__(self, width: int, heads: int, window: int, *, is_shifted: bool) -> None:
        super().__init__()
        if width % heads:
            raise GeometryError(f"{heads} heads do not divide width {width}; use one that does")
        self.heads, self.window, self.is_shifted = heads, window, is_shifted
        self.qkv = nn.Linear(width, 3 * width)
        self.project = nn.Linear(width, width)
        # Five axes, or a network could not be put into torch.channels_last_3d.
        self.bias = nn.Parameter(torch.empty(1, heads, *(2 * window - 1,) * 3))
        nn.init.trunc_normal_(self.bias, std=0.02)

    def forward(self, tokens: Tensor) -> Tensor:
        """Attend.

        Args:
            tokens: Grids of tokens, ``(B, D, H, W, C)``.

        Returns:
            Grids of tokens, ``(B, D, H, W, C)``.
        """
        batch, depth, height, width = tokens.shape[:4]
        grid = (depth, height, width)
        plan = plan_windows(batch, grid, self.window, tokens.device, is_shifted=self.is_shifted)
        rows = reorder(tokens.flatten(0, 3), plan.order, plan.inverse)
        parts = self.qkv(rows).split([prod(size) * count for size, count in plan.groups])
        mixed = [
            self._attend(part.view(count, prod(size), 3, self.heads, -1), size)
            for part, (size, count) in zip(parts, plan.groups, strict=True)
        ]
        rows = self.project(mixed[0] if len(mixed) == 1 else torch.cat(mixed))
        return reorder(rows, plan.inverse, plan.order).view(tokens.shape)

    def _attend(self, qkv: Tensor, size: Size) -> Tensor:
        """Attend within windows of one size."""
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        index = offset_index(size, self.window, qkv.device)
        count = prod(size)
        bias = self.bias.flatten(2).index_select(2, index).view(1, self.heads, count, count)
        return biased_attention(query, key, value, bias).transpose(1, 2).flatten(2).flatten(0, 1)
