"""What the layouts of Swin in 3D have in common: blocks, bias tables, and merges to reorder."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from volseg.errors import WeightsError
from volseg.networks.foreign.layout import Taker, Translation, count_blocks, cube_root
from volseg.networks.swin import MERGE_ORDERS


@dataclass(frozen=True)
class SwinNames:
    """How a layout names the parts of a Swin.

    Args:
        stages: Prefix of each stage.
        perceptron: Names of the two layers of a perceptron.
        windows: How it cuts a grid, as `volseg.networks.swin.SwinEncoder` takes it.
    """

    stages: Sequence[str]
    perceptron: tuple[str, str]
    windows: str


def translate_swin(source: Taker, names: SwinNames, order: str) -> Translation:
    """Turn the tensors of a Swin into those of our encoder.

    Args:
        source: The tensors.
        names: How they are named.
        order: The order in which they merge patches. If it joins each octant once, the weights
            are reordered to ``v2``.

    Returns:
        The encoder.
    """
    target = "v2" if len(set(MERGE_ORDERS[order])) == 8 else order
    tensors, notes = _translate_embedding(source)
    depths, heads, windows = [], [], set()
    for stage, prefix in enumerate(names.stages):
        depth = count_blocks(source.tensors, prefix + "blocks.{}.norm1.weight")
        for block in range(depth):
            parts = _translate_block(source, f"{prefix}blocks.{block}.", names.perceptron)
            tensors |= {f"stages.{stage}.blocks.{block}.{name}": t for name, t in parts.items()}
        bias = tensors[f"stages.{stage}.blocks.0.attention.bias"]
        depths.append(depth)
        heads.append(bias.shape[1])
        windows.add((bias.shape[2] + 1) // 2)
        merge = _reorder_merge(source, f"{prefix}downsample.", order, target)
        tensors |= {f"stages.{stage}.merge.{name}": tensor for name, tensor in merge.items()}
    if f"{names.stages[0]}blocks.0.attn.qkv.bias" not in source.tensors:
        notes.append("queries, keys and values have no bias: it starts at zero")
    if target != order:
        notes.append(f"merges were reordered from {order} to {target}")
    config: dict[str, Any] = {
        "_target_": "volseg.networks.swin.SwinEncoder",
        "in_channels": tensors["embedding.weight"].shape[1],
        "width": tensors["embedding.weight"].shape[0],
        "depths": depths,
        "heads": heads,
        "window": max(windows),
        "windows": names.windows,
        "merge_order": target,
        "is_embedding_normalised": "embedding.norm.weight" in tensors,
    }
    return Translation(config, tensors, frozenset(source.used), tuple(notes))


def _translate_embedding(source: Taker) -> tuple[dict[str, Tensor], list[str]]:
    kernel = source.take("patch_embed.proj.weight")
    if tuple(kernel.shape[2:]) != (2, 2, 2):
        raise WeightsError(f"patches have {tuple(kernel.shape[2:])} voxels; our Swin's have 2 2 2")
    tensors = {"embedding.weight": kernel, "embedding.bias": source.take("patch_embed.proj.bias")}
    if "patch_embed.norm.weight" in source.tensors:
        tensors |= source.take_pair("patch_embed.norm", "embedding.norm")
    if "mask_token" in source.tensors:
        tensors["embedding.mask_token"] = source.take("mask_token").flatten()
        return tensors, []
    tensors["embedding.mask_token"] = torch.zeros(len(kernel))
    return tensors, ["has no mask token: it starts at zero"]


def _translate_block(source: Taker, prefix: str, perceptron: tuple[str, str]) -> dict[str, Tensor]:
    first, second = perceptron
    table = source.take(f"{prefix}attn.relative_position_bias_table")
    side = cube_root(len(table))
    if side is None:
        raise WeightsError(f"{prefix[:-1]} has windows that are no cubes; our Swin's are")
    qkv = source.take(f"{prefix}attn.qkv.weight")
    parts = {
        "attention.bias": table.t().reshape(1, -1, side, side, side).contiguous(),
        "attention.qkv.weight": qkv,
        "attention.qkv.bias": torch.zeros(len(qkv)),
    }
    if f"{prefix}attn.qkv.bias" in source.tensors:
        parts["attention.qkv.bias"] = source.take(f"{prefix}attn.qkv.bias")
    for theirs, ours in (
        ("norm1", "norm1"),
        ("attn.proj", "attention.project"),
        ("norm2", "norm2"),
        (f"mlp.{first}", "perceptron.0"),
        (f"mlp.{second}", "perceptron.2"),
    ):
        parts |= source.take_pair(f"{prefix}{theirs}", ours)
    return parts


def _reorder_merge(source: Taker, prefix: str, order: str, target: str) -> dict[str, Tensor]:
    """Move the columns of a merge from where an octant was to where ours has it."""
    found = source.take_pair(f"{prefix}norm", "norm")
    found["reduction.weight"] = source.take(f"{prefix}reduction.weight")
    if order == target:
        return found
    places = [MERGE_ORDERS[order].index(octant) for octant in MERGE_ORDERS[target]]
    return {
        name: tensor.view(*tensor.shape[:-1], 8, -1)[..., places, :].flatten(-2).contiguous()
        for name, tensor in found.items()
    }
