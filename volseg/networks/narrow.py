"""A narrow dense network of a given size: what every compressed network has to be held against."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import torch
from torch import nn

from volseg.errors import WeightsError
from volseg.networks.config import build
from volseg.networks.decoder import upsampling_factor
from volseg.networks.residual import ResidualEncoder

STEPS = 1024
"""Widths are tried in steps of this fraction."""


def count_parameters(network: nn.Module) -> int:
    """Count the parameters of a network."""
    return sum(parameter.numel() for parameter in network.parameters())


def narrow(config: Mapping[str, Any], most: int) -> dict[str, Any]:
    """Find the widest network like another that has at most so many parameters.

    All levels are narrowed in the same proportion.

    Args:
        config: Config of a segmenter or classifier whose encoder is a residual one, or states its
            ``widths``, or its ``width`` and ``heads``.
        most: The number of parameters.

    Returns:
        Config of the narrow network, which spells its widths out.

    Raises:
        WeightsError: If the encoder does not say its widths, or is too large at its narrowest.
    """
    whole = dict(config)
    whole["encoder"] = _spelled_out(config.get("encoder"))
    low, high = 0, STEPS
    while low < high:
        middle = (low + high + 1) // 2
        fits = _count(_scaled(whole, middle / STEPS)) <= most
        low, high = (middle, high) if fits else (low, middle - 1)
    found = _scaled(whole, low / STEPS)
    if _count(found) > most:
        raise WeightsError(
            f"even one channel a level takes {_count(found)} parameters, above {most}; allow more"
        )
    return found


def _count(config: Mapping[str, Any]) -> int:
    with torch.device("meta"):
        return count_parameters(build(config))


def _spelled_out(encoder: Any) -> dict[str, Any]:
    """Give an encoder's config with its widths, also where it names a preset."""
    if not isinstance(encoder, Mapping):
        raise WeightsError(f"network has the encoder {encoder!r}; give the config of one")
    if "widths" in encoder or {"width", "heads"} <= set(encoder):
        return dict(encoder)
    with torch.device("meta"):
        built = build(encoder)
    if not isinstance(built, ResidualEncoder):
        raise WeightsError(
            f"{encoder['_target_']} does not state its widths, so it cannot be narrowed; name its"
            " class with width and heads in place of the preset"
        )
    spec = built.spec
    is_patched = spec.strides[0] != (1, 1, 1)
    blocks = [len(level) for level in built.levels.children() if isinstance(level, nn.Sequential)]
    blocks[0] -= is_patched
    return {
        "_target_": f"{ResidualEncoder.__module__}.{ResidualEncoder.__qualname__}",
        "in_channels": spec.in_channels,
        "widths": list(spec.channels),
        "blocks": blocks,
        "downsampling": [list(upsampling_factor(*two)) for two in pairwise(spec.strides)],
        "patch": list(spec.strides[0]),
    }


def _scaled(config: Mapping[str, Any], factor: float) -> dict[str, Any]:
    """Scale the widths of the encoder; with heads, each keeps at least a channel."""
    encoder = dict(config["encoder"])
    if "widths" in encoder:
        encoder["widths"] = [max(1, round(width * factor)) for width in encoder["widths"]]
    else:
        heads = encoder["heads"]
        step = heads if isinstance(heads, int) else heads[0]
        encoder["width"] = step * max(1, int(encoder["width"] / step * factor))
    return {**config, "encoder": encoder}
