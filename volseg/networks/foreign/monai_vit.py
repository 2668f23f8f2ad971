"""The plain transformer of MONAI: ViT, ViTAutoEnc, UNETR and MaskedAutoEncoderViT.

What UNETR calls ``vit.`` the others have at the top. The masked autoencoder keeps its last norm
behind its blocks and a class token, which takes part in the attention and therefore stays.
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
    cube_root,
)
from volseg.networks.foreign.token_parts import settle_tokens

UNETR_HEADS = {768: 12}
"""Heads of the width that UNETR has; of another width the user must say them."""


def _translate(tensors: Mapping[str, Tensor], facts: Facts) -> Translation:
    source = Taker(tensors)
    kernel, patch = _take_kernel(source, facts)
    width = len(kernel)
    table = source.take("patch_embedding.position_embeddings")
    tokens = settle_tokens(facts, width, table.shape[1], patch, UNETR_HEADS)
    notes = [*tokens.notes]
    ours = {
        "weight": kernel,
        "bias": source.take(f"{_kernel_name(tensors)}.bias"),
        "position": tokens.lay_out(table),
    }
    depth = count_blocks(tensors, "blocks.{}.norm1.weight")
    for block in range(depth):
        parts = _translate_block(source, f"blocks.{block}.", width)
        ours |= {f"blocks.{block}.{name}": tensor for name, tensor in parts.items()}
    last = "norm" if "norm.weight" in tensors else f"blocks.{depth}"
    ours |= source.take_pair(last, "norm")
    if "blocks.0.attn.qkv.bias" not in tensors:
        notes.append("queries, keys and values have no bias: it starts at zero")
    has_class_token = "cls_token" in tensors
    if has_class_token:
        ours["class_token"] = source.take("cls_token").flatten()
    config = {
        "_target_": "volseg.networks.vit.ViTEncoder",
        "in_channels": kernel.shape[1],
        "size": [length * patch for length in tokens.grid],
        "patch": patch,
        "width": width,
        "depth": depth,
        "heads": tokens.heads,
        "has_class_token": has_class_token,
    }
    return Translation(config, ours, frozenset(source.used), tuple(notes), tokens.unsaid)


def _kernel_name(tensors: Mapping[str, Tensor]) -> str:
    name = "patch_embedding.patch_embeddings"
    return name if f"{name}.weight" in tensors else f"{name}.1"


def _take_kernel(source: Taker, facts: Facts) -> tuple[Tensor, int]:
    """Give the kernel of the patches, ``(C, channels, p, p, p)``, and ``p``."""
    weight = source.take(f"{_kernel_name(source.tensors)}.weight")
    if weight.ndim == 5:
        if len(set(weight.shape[2:])) > 1:
            raise WeightsError(f"patches {tuple(weight.shape[2:])} are no cubes; our ViT's are")
        return weight, weight.shape[2]
    counts = [len(facts.channels)] if facts.channels else range(1, 8)
    for channels in counts:
        patch = cube_root(weight.shape[1] // channels)
        if patch is not None and patch**3 * channels == weight.shape[1]:
            split = weight.view(-1, patch, patch, patch, channels)
            return split.permute(0, 4, 1, 2, 3).contiguous(), patch
    raise WeightsError(f"patches of {weight.shape[1]} values are no cubes; say the channels")


def _translate_block(source: Taker, prefix: str, width: int) -> dict[str, Tensor]:
    hidden = len(source.take(f"{prefix}mlp.linear1.weight"))
    if hidden != 4 * width:
        raise WeightsError(
            f"perceptrons are {hidden} wide; our ViT's, as UNETR's, are 4 times the width {width}."
            " Pretrain MONAI's with mlp_dim=4 * hidden_size"
        )
    parts = {}
    for part in ("weight", "bias"):
        names = [f"{prefix}attn.{name}.{part}" for name in ("to_q", "to_k", "to_v")]
        if names[0] in source.tensors:
            parts[f"qkv.{part}"] = torch.cat([source.take(name) for name in names])
        elif f"{prefix}attn.qkv.{part}" in source.tensors:
            parts[f"qkv.{part}"] = source.take(f"{prefix}attn.qkv.{part}")
        else:
            parts[f"qkv.{part}"] = torch.zeros(3 * width)
    for theirs, ours in (
        ("norm1", "norm1"),
        ("attn.out_proj", "project"),
        ("norm2", "norm2"),
        ("mlp.linear1", "perceptron.0"),
        ("mlp.linear2", "perceptron.2"),
    ):
        parts |= source.take_pair(f"{prefix}{theirs}", ours)
    return parts


MONAI_VIT = Layout(
    "MONAI ViT (UNETR, ViTAutoEnc, MaskedAutoEncoderViT)",
    ("patch_embedding.position_embeddings", "blocks.0.norm1.weight"),
    _translate,
)
