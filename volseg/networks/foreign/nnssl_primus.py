"""Primus and its masked autoencoder, as dynamic-network-architectures and nnssl have them.

The autoencoder's second transformer, which fills in what was hidden, is left over.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from volseg.errors import WeightsError
from volseg.networks.foreign.layout import (
    Facts,
    Layout,
    Taker,
    Translation,
    count_blocks,
)
from volseg.networks.foreign.token_parts import settle_tokens

HEADS = {396: 6, 792: 12, 864: 12, 1056: 16}
"""Heads of the published sizes by their width."""


def _translate(tensors: Mapping[str, Tensor], facts: Facts) -> Translation:
    if "eva.blocks.0.attn.norm.weight" not in tensors or "register_tokens" in tensors:
        raise WeightsError(
            "file has register tokens, or no norm within its attention; our PrimusEncoder is"
            " built as Primus-S to Primus-L are and cannot compute the same"
        )
    source = Taker(tensors)
    kernel, table = source.take("down_projection.proj.weight"), source.take("eva.pos_embed")
    width, patch = len(kernel), kernel.shape[2]
    tokens = settle_tokens(facts, width, table.shape[1], patch, HEADS)
    notes = [*tokens.notes]
    ours = {
        "weight": kernel,
        "bias": source.take("down_projection.proj.bias"),
        "position": tokens.lay_out(table),
        **source.take_pair("eva.norm", "norm"),
    }
    if "mask_token" in tensors:
        ours["mask_token"] = source.take("mask_token").flatten()
    else:
        ours["mask_token"] = torch.zeros(width)
        notes.append("has no mask token: it starts at zero")
    depth = count_blocks(tensors, "eva.blocks.{}.norm1.weight")
    for block in range(depth):
        parts = _translate_block(source, f"eva.blocks.{block}.", width)
        ours |= {f"blocks.{block}.{name}": tensor for name, tensor in parts.items()}
    config = {
        "_target_": "volseg.networks.primus.PrimusEncoder",
        "in_channels": kernel.shape[1],
        "size": [length * patch for length in tokens.grid],
        "patch": patch,
        "width": width,
        "depth": depth,
        "heads": tokens.heads,
        "hidden": len(ours["blocks.0.gate.bias"]),
    }
    return Translation(config, ours, frozenset(source.used), tuple(notes), tokens.unsaid)


def _translate_block(source: Taker, prefix: str, width: int) -> dict[str, Tensor]:
    parts = {"key.weight": source.take(f"{prefix}attn.k_proj.weight")}
    for theirs, ours in (
        ("norm1", "norm1"),
        ("attn.q_proj", "query"),
        ("attn.v_proj", "value"),
        ("attn.norm", "inner_norm"),
        ("attn.proj", "project"),
        ("norm2", "norm2"),
        ("mlp.fc1_g", "gate"),
        ("mlp.fc1_x", "expand"),
        ("mlp.norm", "hidden_norm"),
        ("mlp.fc2", "shrink"),
    ):
        parts |= source.take_pair(f"{prefix}{theirs}", ours)
    for number in (1, 2):
        name = f"{prefix}gamma_{number}"
        is_there = name in source.tensors  # a network without scales computes what ones do
        parts[f"scale{number}"] = source.take(name) if is_there else torch.ones(width)
    return parts


NNSSL_PRIMUS = Layout(
    "Primus (nnssl, OpenMind)",
    ("down_projection.proj.weight", "eva.blocks.0.norm1.weight"),
    _translate,
)
