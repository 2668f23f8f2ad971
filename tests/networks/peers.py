"""MONAI's networks holding our weights: what tests and benchmarks compare with."""

import torch
from monai.networks.nets.swin_unetr import PatchMergingV2, SwinTransformer
from monai.networks.nets.vit import ViT


def peer_of_swin(encoder):
    """Give MONAI's SwinTransformer of equal size and weights."""
    first = encoder.stages[0].blocks[0].attention
    peer = SwinTransformer(
        in_chans=encoder.spec.in_channels,
        embed_dim=encoder.spec.channels[0],
        window_size=(first.window,) * 3,
        patch_size=(2, 2, 2),
        depths=[len(stage.blocks) for stage in encoder.stages],
        num_heads=[stage.blocks[0].attention.heads for stage in encoder.stages],
        downsample=PatchMergingV2,
    )
    copy_swin(encoder, peer)
    return peer


@torch.no_grad()
def copy_swin(encoder, peer):
    """Copy the encoder's weights into MONAI's SwinTransformer."""
    _copy(encoder.embedding.weight, peer.patch_embed.proj.weight)
    _copy(encoder.embedding.bias, peer.patch_embed.proj.bias)
    layers = [peer.layers1, peer.layers2, peer.layers3, peer.layers4]
    for stage, (layer,) in zip(encoder.stages, layers, strict=True):
        layer.downsample.load_state_dict(stage.merge.state_dict())
        for ours, theirs in zip(stage.blocks, layer.blocks, strict=True):
            for ours_part, theirs_part in swin_block_pairs(ours, theirs):
                theirs_part.load_state_dict(ours_part.state_dict())
            table = ours.attention.bias[0].flatten(1).t()
            _copy(table, theirs.attn.relative_position_bias_table)


def swin_block_pairs(ours, theirs):
    """Pair the layers of our Swin block with those of MONAI's, save for the bias table."""
    return [
        (ours.norm1, theirs.norm1),
        (ours.norm2, theirs.norm2),
        (ours.attention.qkv, theirs.attn.qkv),
        (ours.attention.project, theirs.attn.proj),
        (ours.perceptron[0], theirs.mlp.linear1),
        (ours.perceptron[2], theirs.mlp.linear2),
    ]


def peer_of_vit(encoder, size):
    """Give MONAI's ViT of equal size and weights, for one size of volume."""
    width = encoder.spec.channels[0]
    peer = ViT(
        in_channels=encoder.spec.in_channels,
        img_size=size,
        patch_size=encoder.spec.divisor,
        hidden_size=width,
        mlp_dim=4 * width,
        num_layers=len(encoder.blocks),
        num_heads=encoder.blocks[0].heads,
        qkv_bias=True,
    )
    copy_vit(encoder, peer)
    return peer


@torch.no_grad()
def copy_vit(encoder, peer):
    """Copy the encoder's weights into MONAI's ViT."""
    _copy(encoder.weight, peer.patch_embedding.patch_embeddings.weight)
    _copy(encoder.bias, peer.patch_embedding.patch_embeddings.bias)
    _copy(encoder.position.flatten(2).mT, peer.patch_embedding.position_embeddings)
    peer.norm.load_state_dict(encoder.norm.state_dict())
    for ours, theirs in zip(encoder.blocks, peer.blocks, strict=True):
        theirs.norm1.load_state_dict(ours.norm1.state_dict())
        theirs.norm2.load_state_dict(ours.norm2.state_dict())
        theirs.attn.qkv.load_state_dict(ours.qkv.state_dict())
        theirs.attn.out_proj.load_state_dict(ours.project.state_dict())
        theirs.mlp.linear1.load_state_dict(ours.perceptron[0].state_dict())
        theirs.mlp.linear2.load_state_dict(ours.perceptron[2].state_dict())


def _copy(source, target):
    assert source.shape == target.shape
    target.copy_(source)


def unetr_block_pairs(ours, theirs):
    """Pair the parts of our UNETR decoder with those of MONAI's UNETR, for patches of 16."""
    return [
        (ours.stem, theirs.encoder1.layer),
        *zip(ours.skips, [theirs.encoder2, theirs.encoder3, theirs.encoder4], strict=True),
        *zip(
            ours.steps,
            [theirs.decoder2, theirs.decoder3, theirs.decoder4, theirs.decoder5],
            strict=True,
        ),
    ]
