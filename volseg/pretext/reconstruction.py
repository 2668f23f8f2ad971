"""What tasks that fill in hidden blocks have in common: the check, the error, the pictures."""

from collections.abc import Callable, Sequence
from math import ceil, lcm, prod

import torch
from torch import Tensor

from volseg.errors import GeometryError
from volseg.networks.encoder import Encoder, FeatureSpec
from volseg.types import Size

LOSSES: dict[str, Callable[[Tensor], Tensor]] = {"l1": torch.abs, "l2": torch.square}
MASK_MODES = ("replace", "drop", "fill")
FULL: Size = (1, 1, 1)


def as_size(values: int | Sequence[int]) -> Size:
    """Give one number to every axis, or keep one an axis."""
    depth, height, width = (values,) * 3 if isinstance(values, int) else values
    return depth, height, width


def require_maskable(spec: FeatureSpec, block: Size) -> None:
    """Refuse a block that would hide a part of a token.

    Args:
        spec: What the encoder gives, and how it hides voxels.
        block: Voxels of one hidden block along each axis.

    Raises:
        GeometryError: If the block is not a multiple of the tokens that the encoder hides, or the
            encoder hides in a way that is not known here.
    """
    if spec.mask_mode not in MASK_MODES:
        raise GeometryError(
            f"the encoder's mask mode is {spec.mask_mode!r}; use an encoder that can 'replace' or"
            " 'drop' tokens or 'fill' voxels, such as SwinEncoder, ViTEncoder or ResidualEncoder"
        )
    token = FULL if spec.mask_mode == "fill" else spec.strides[0]
    if any(edge < 1 or edge % length for edge, length in zip(block, token, strict=True)):
        raise GeometryError(
            f"block {block} is not a multiple of the tokens {token} that the encoder can"
            f" {spec.mask_mode}; use such a multiple, or an encoder that fills voxels, such as"
            " ResidualEncoder, which takes any block"
        )


def require_crop(encoder: Encoder, patch_size: Size, block: Size, ratio: float) -> None:
    """Refuse a crop that encoder and mask cannot share.

    Args:
        encoder: The network.
        patch_size: Voxels of the crop along each axis.
        block: Voxels of one hidden block along each axis.
        ratio: Fraction of the blocks to hide.

    Raises:
        GeometryError: If the encoder or the block does not divide the crop, or every block would be
            hidden.
    """
    divisor = encoder.spec.divisor
    steps = [lcm(edge, step) for edge, step in zip(block, divisor, strict=True)]
    if any(n < 1 or n % step for n, step in zip(patch_size, steps, strict=True)):
        nearest = tuple(s * max(1, ceil(n / s)) for n, s in zip(patch_size, steps, strict=True))
        raise GeometryError(
            f"patch size {patch_size} is not a multiple of the mask's block {block} and of"
            f" the encoder's stride {divisor}; use {nearest}"
        )
    encoder.require_divisible(patch_size)
    count = prod(n // edge for n, edge in zip(patch_size, block, strict=True))
    if ceil(ratio * count) == count:
        raise GeometryError(
            f"a patch of {patch_size} has {count} blocks of {block}, and ratio"
            f" {ratio} hides them all; use a larger patch, a smaller block or ratio"
        )


def masked_error(prediction: Tensor, target: Tensor, counted: Tensor, loss: str) -> Tensor:
    """Average the error over the voxels that count.

    Args:
        prediction: Predicted volumes, ``(B, C, D, H, W)``.
        target: True volumes, ``(B, C, D, H, W)``; anything, even not a number, elsewhere.
        counted: Voxels that count, boolean ``(B, 1, D, H, W)``.
        loss: ``l2`` (squared) or ``l1`` (absolute).

    Returns:
        A scalar, 0 if no voxel counts.

    Examples:
        >>> row = torch.tensor([3.0, 5.0, float("nan")]).view(1, 1, 1, 1, 3)
        >>> masked_error(torch.zeros(1, 1, 1, 1, 3), row, row < 5, "l2")
        tensor(9.)
    """
    errors = LOSSES[loss](torch.where(counted, prediction - target, 0))
    return errors.sum() / (counted.sum() * prediction.shape[1]).clamp(min=1)


def masked_panels(clean: Tensor, hidden: Tensor, prediction: Tensor) -> dict[str, Tensor]:
    """Show the first channel: clean, masked, and with its hidden blocks filled in.

    Args:
        clean: Volumes, ``(B, C, D, H, W)``.
        hidden: `True` where hidden, ``(B, 1, D, H, W)``.
        prediction: Predicted volumes, ``(B, C, D, H, W)``.

    Returns:
        Pictures by name, ``(B, 1, D, H, W)`` each.
    """
    first, filled = clean[:, :1].detach(), prediction[:, :1].detach()
    darkest = first.amin(dim=(1, 2, 3, 4), keepdim=True)
    return {
        "clean": first,
        "masked": torch.where(hidden, darkest, first),
        "reconstruction": torch.where(hidden, filled, first),
    }
