"""Layers of PyTorch as chains: what can be factorised, and the plain layers that take its place.

A link is a ``Conv3d``, ``ConvTranspose3d`` or ``Linear`` like any other, so that the operations
fall with the parameters, each axis keeps its own stride, padding and dilation, the state dict is an
ordinary one, and everything that exports networks exports these.
"""

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor, nn

from volseg.networks.factorized.chain import Array, Chain, KernelShape, Link

Layer = nn.Conv3d | nn.ConvTranspose3d | nn.Linear
KINDS: tuple[type[Layer], ...] = (nn.Conv3d, nn.ConvTranspose3d, nn.Linear)


def why_whole(layer: Layer) -> str:
    """Say why a layer cannot be factorised.

    Args:
        layer: The layer.

    Returns:
        The reason; empty if it can.
    """
    if isinstance(layer, nn.Linear):
        return ""
    if layer.groups > 1:
        return f"its channels are in {layer.groups} groups"
    plain = [axis for axis in range(3) if axis not in axes_of(layer)]
    if layer.transposed and any(
        layer.stride[axis] > 1 or layer.padding[axis] or layer.output_padding[axis]
        for axis in plain
    ):
        return f"it spreads voxels by {layer.stride} with a kernel of {layer.kernel_size}"
    return ""


def axes_of(layer: Layer) -> tuple[int, ...]:
    """List the axes along which a layer reads more than one voxel."""
    if isinstance(layer, nn.Linear):
        return ()
    return tuple(axis for axis in range(3) if layer.kernel_size[axis] > 1)


def shape_of(layer: Layer) -> KernelShape:
    """Describe a layer's kernel.

    Args:
        layer: The layer.

    Returns:
        Its channels and taps.
    """
    if isinstance(layer, nn.Linear):
        return KernelShape(layer.out_features, layer.in_features)
    taps = tuple(layer.kernel_size[axis] for axis in axes_of(layer))
    return KernelShape(layer.out_channels, layer.in_channels, taps)


def kernel_of(layer: Layer) -> Array:
    """Copy a layer's kernel.

    Args:
        layer: The layer.

    Returns:
        The kernel in double precision, ``(O, I, *taps)``.
    """
    weight = layer.weight.detach().to("cpu", torch.float64)
    if isinstance(layer, nn.ConvTranspose3d):
        weight = weight.transpose(0, 1)
    shape = shape_of(layer)
    array: Array = weight.reshape(shape.outputs, shape.inputs, *shape.taps).numpy()
    return array


def build_chain(layer: Layer, chain: Chain) -> nn.Sequential:
    """Build a chain in place of a layer, with random weights of the same spread as the layer's.

    Args:
        layer: The layer; it stays as it is.
        chain: The chain.

    Returns:
        The links, by their names.
    """
    parts = [
        _build_link(layer, link, is_first=link is chain[0], has_bias=link is chain[-1]).to(
            layer.weight.device, layer.weight.dtype
        )
        for link in chain
    ]
    _draw(parts, layer, chain)
    if layer.bias is not None and parts[-1].bias is not None:
        with torch.no_grad():
            parts[-1].bias.copy_(layer.bias)
    built = nn.Sequential()
    for link, part in zip(chain, parts, strict=True):
        built.add_module(link.name, part)
    return built.train(layer.training)


def set_factors(built: nn.Sequential, factors: Sequence[Array]) -> None:
    """Give the links of a chain their kernels.

    Args:
        built: What `build_chain` gave.
        factors: Kernels in the shape that `volseg.networks.factorized.chain.Link.shape` gives.
    """
    with torch.no_grad():
        for part, factor in zip(built, factors, strict=True):
            values = torch.from_numpy(factor.copy())
            if isinstance(part, nn.ConvTranspose3d) and part.groups == 1:
                values = values.transpose(0, 1)
            weight = part.get_parameter("weight")
            weight.copy_(values.reshape(weight.shape))


def _build_link(layer: Layer, link: Link, *, is_first: bool, has_bias: bool) -> Layer:
    bias = has_bias and layer.bias is not None
    if isinstance(layer, nn.Linear):
        return nn.Linear(link.inputs, link.outputs, bias=bias)
    axes = {axes_of(layer)[axis] for axis in link.axes}
    if is_first and not layer.transposed:  # where it reads one voxel it may still stride or pad
        axes |= set(range(3)) - set(axes_of(layer))
    groups = link.outputs if link.is_depthwise else 1
    kernel, stride, dilation = (
        _along(axes, values, 1) for values in (layer.kernel_size, layer.stride, layer.dilation)
    )
    if isinstance(layer, nn.ConvTranspose3d):
        extra = _along(axes, layer.output_padding, 0)
        return nn.ConvTranspose3d(
            link.inputs, link.outputs, kernel, stride, _margin(axes, layer), extra, groups, bias,
            dilation,
        )  # fmt: skip
    margin = layer.padding if isinstance(layer.padding, str) else _margin(axes, layer)
    return nn.Conv3d(
        link.inputs, link.outputs, kernel, stride, margin, dilation, groups, bias,
        layer.padding_mode,
    )  # fmt: skip


def _along(axes: set[int], values: Sequence[int], neutral: int) -> tuple[int, int, int]:
    """Keep the values of some axes."""
    first, second, third = (values[axis] if axis in axes else neutral for axis in range(3))
    return (first, second, third)


def _margin(axes: set[int], layer: nn.Conv3d | nn.ConvTranspose3d) -> tuple[int, int, int]:
    return _along(axes, [int(length) for length in layer.padding], 0)


def _draw(parts: Sequence[Layer], layer: Layer, chain: Chain) -> None:
    """Draw weights such that the composed kernel has the spread of the layer's own.

    A composed value is a sum over the channels between the links of products of one weight a link,
    so its variance is their number times the product of the links' variances.
    """
    spread: Tensor = layer.weight.detach().std(correction=0)
    paths = prod(link.outputs for link in chain[:-1] if not link.is_depthwise)
    variance = 1.0
    with torch.no_grad():
        for part in parts[:-1]:
            terms = part.weight[0].numel()
            nn.init.normal_(part.weight, std=terms**-0.5)
            variance /= terms
        nn.init.normal_(parts[-1].weight)
        parts[-1].weight.mul_(spread / (paths * variance) ** 0.5)
