"""Make stored parameters fit a network with other channels, another patch size or window.

A module says in its class attribute ``adaptable`` which of its parameters follow from the input
and how they change with it: ``{"patch.weight": "channels", "position": "positions"}``, names
relative to the module. What is not declared is never bent.

Input channels are mixed by a matrix whose columns sum to one, so that an image repeated over the
channels gives what it gave before. Position tables are interpolated trilinearly, as SelfMedMAE
(Zhou et al. 2023, https://arxiv.org/abs/2203.05573) and nnU-Net do for their ViTs. Tables of
relative position bias (Liu et al. 2021, https://arxiv.org/abs/2103.14030) are interpolated head
by head, their outermost entries kept on the window's outermost offsets. Kernels of patches are
resized by the pseudo-inverse of FlexiViT (Beyer et al. 2023, https://arxiv.org/abs/2212.08013), so
that a token answers to an enlarged patch what it answered to the patch.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from volseg.errors import WeightsError
from volseg.types import Size

Adaption = Literal["channels", "patches", "positions", "bias"]
"""How a parameter follows from the input.

``channels``: a kernel ``(out, in, d, h, w)`` that reads the image. ``patches``: one whose size is
that of a patch, and may change too. ``positions``: a table
``(..., C, d, h, w)`` on the grid of tokens. ``bias``: a table of the offsets within a window,
``(..., heads, 2 d - 1, 2 h - 1, 2 w - 1)``.
"""


def declared_adaptions(network: nn.Module) -> dict[str, Adaption]:
    """Collect what the modules of a network declare in ``adaptable``.

    Args:
        network: Any network; modules that declare nothing are passed over.

    Returns:
        The kind of adaption of each declared parameter that exists, by its full name.
    """
    existing = {name for name, _ in network.named_parameters()}
    declared: dict[str, Adaption] = {}
    for prefix, module in network.named_modules():
        for relative, kind in getattr(module, "adaptable", {}).items():
            declared[f"{prefix}.{relative}" if prefix else relative] = kind
    return {name: kind for name, kind in declared.items() if name in existing}


def channel_mixing(given: Sequence[str], wanted: Sequence[str] | int) -> Tensor | None:
    """Say which stored input channels each input channel of a network is made of.

    With names on both sides, and one in common, a known channel keeps its own kernel, a new one
    starts at zero, and a channel that is gone is shared out over all. Otherwise channels are
    taken in turn: repeated and divided when there are more, summed when there are fewer.

    Args:
        given: Names of the stored channels.
        wanted: Names of the network's channels, or only their number.

    Returns:
        Weights, ``(wanted, given)``, each column summing to one; `None` if nothing changes.

    Raises:
        WeightsError: If a side has no channels, or a name stands twice.

    Examples:
        >>> channel_mixing(["T1"], 2)
        tensor([[0.5000],
                [0.5000]])
        >>> channel_mixing(["T1", "T2"], ["T2", "FLAIR", "T1"])
        tensor([[0., 1.],
                [0., 0.],
                [1., 0.]])
    """
    names = None if isinstance(wanted, int) else list(wanted)
    count = wanted if isinstance(wanted, int) else len(wanted)
    if not given or count < 1:
        raise WeightsError(f"cannot adapt {len(given)} channels to {count}; both need at least 1")
    for side in (list(given), names or []):
        if len(set(side)) < len(side):
            raise WeightsError(f"channel names {side} are not unique; give each its own name")
    if names is not None and set(names) & set(given):
        mixing = _mix_by_name(given, names)
    else:
        mixing = _mix_in_turn(len(given), count)
    return None if torch.equal(mixing, torch.eye(len(given))) else mixing


def inflate_channels(kernel: Tensor, mixing: Tensor) -> Tensor:
    """Mix the input channels of a kernel.

    Args:
        kernel: Stored kernel, ``(out, given, d, h, w)``.
        mixing: Weights from `channel_mixing`, ``(wanted, given)``.

    Returns:
        Kernel, ``(out, wanted, d, h, w)``.
    """
    mixed = torch.einsum("oi...,ni->on...", kernel.double(), mixing.double())
    return mixed.to(kernel.dtype).contiguous()


def resize_patch_kernel(kernel: Tensor, size: Size) -> Tensor:
    """Resize the kernel of a patch embedding.

    Args:
        kernel: Stored kernel, ``(out, in, d, h, w)``.
        size: Voxels of a patch along each axis.

    Returns:
        Kernel, ``(out, in, *size)``; the kernel itself if the size is the same. If patches grow,
        an enlarged patch gives what the patch gave; if they shrink, as nearly as can be.
    """
    if tuple(kernel.shape[2:]) == tuple(size):
        return kernel
    resized = kernel.double()
    for axis, length in enumerate(size, start=2):
        step = torch.linalg.pinv(_resizing_matrix(resized.shape[axis], length).t())
        resized = torch.tensordot(resized, step, dims=([axis], [1])).movedim(-1, axis)
    return resized.to(kernel.dtype).contiguous()


def resize_position_table(table: Tensor, grid: Size) -> Tensor:
    """Interpolate a table of position vectors to another grid of tokens.

    Args:
        table: Position vectors, ``(..., C, d, h, w)``.
        grid: Tokens along each axis.

    Returns:
        Position vectors, ``(..., C, *grid)``; the table itself if the grid is the same.
    """
    return _interpolate(table, grid, align_corners=False)


def resize_bias_table(table: Tensor, offsets: Size) -> Tensor:
    """Interpolate a table of relative position bias to another window, head by head.

    Args:
        table: Bias of each offset, ``(..., heads, 2 d - 1, 2 h - 1, 2 w - 1)``.
        offsets: Offsets along each axis of the wanted window, odd numbers.

    Returns:
        Bias, ``(..., heads, *offsets)``; the table itself if the window is the same.
    """
    return _interpolate(table, offsets, align_corners=True)


def fit_parameter(
    stored: Tensor, shape: Sequence[int], kind: Adaption | None, mixing: Tensor | None
) -> Tensor | None:
    """Make one stored parameter fit, if it does or may be made to.

    Args:
        stored: The stored parameter.
        shape: The shape that the network has.
        kind: What the network declares of it; `None`: not adaptable.
        mixing: Weights from `channel_mixing`; `None`: the channels are the same.

    Returns:
        The parameter in the wanted shape: ``stored`` itself where nothing had to change, `None`
        where it cannot be had.
    """
    fitted = stored
    if kind in ("channels", "patches") and mixing is not None:
        if stored.ndim < 2 or stored.shape[1] != mixing.shape[1]:
            return None
        fitted = inflate_channels(stored, mixing)
    if kind == "patches" and stored.ndim == len(shape) == 5:
        fitted = resize_patch_kernel(fitted, (shape[2], shape[3], shape[4]))
    elif kind in ("positions", "bias") and stored.ndim == len(shape) >= 4:
        resize = resize_position_table if kind == "positions" else resize_bias_table
        fitted = resize(stored, (shape[-3], shape[-2], shape[-1]))
    return fitted if fitted.shape == torch.Size(shape) else None


def _mix_by_name(given: Sequence[str], wanted: Sequence[str]) -> Tensor:
    mixing = torch.zeros(len(wanted), len(given))
    for column, name in enumerate(given):
        if name in wanted:
            mixing[wanted.index(name), column] = 1
        else:
            mixing[:, column] = 1 / len(wanted)
    return mixing


def _mix_in_turn(given: int, wanted: int) -> Tensor:
    mixing = torch.zeros(wanted, given)
    for step in range(max(given, wanted)):
        mixing[step % wanted, step % given] = 1
    return mixing / mixing.sum(0)


def _resizing_matrix(given: int, wanted: int) -> Tensor:
    """Give the matrix that resizes a line, ``(wanted, given)``; each row sums to one."""
    lines = torch.eye(given, dtype=torch.float64)[None]
    if wanted > given:
        resized = functional.interpolate(lines, wanted, mode="linear")
    else:
        resized = functional.interpolate(lines, wanted, mode="area")
    return resized[0].t()


def _interpolate(table: Tensor, size: Size, *, align_corners: bool) -> Tensor:
    if tuple(table.shape[-3:]) == tuple(size):
        return table
    flat = table.reshape(1, -1, *table.shape[-3:]).float()
    resized = functional.interpolate(flat, size, mode="trilinear", align_corners=align_corners)
    return resized.reshape(*table.shape[:-3], *size).to(table.dtype)
