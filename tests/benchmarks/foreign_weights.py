"""How closely our encoders compute what the networks of other projects do, with random weights.

Their classes are built, filled with random numbers, saved as their projects save them, and read by
``load_encoder``. Printed is the largest difference of each feature map, beside the map's spread::

    python -m tests.benchmarks.foreign_weights [--smit SMIT/models/Trans.py] [--old-monai FOLDER]

nnU-Net's and Primus need ``pip install dynamic-network-architectures``, SMIT a file of
its repository, which has no licence and is no part of this one, and the order of octants before
MONAI 1.5 the unpacked wheel of an older MONAI. What is not there is said and left out.
"""

import argparse
import importlib.util
import sys
import tempfile
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest.mock import MagicMock

import torch
from monai.networks.nets import UNETR, MaskedAutoEncoderViT, SwinUNETR, ViTAutoEnc
from torch import Tensor, nn

from volseg.networks.config import build
from volseg.networks.foreign.layout import Facts
from volseg.networks.opening import open_source
from volseg.networks.weights import load_encoder

Maps = Callable[[Tensor], list[Tensor]]
Case = tuple[str, nn.Module, Facts, Maps, tuple[int, int, int]]
VIT = {"hidden_size": 96, "mlp_dim": 384, "num_heads": 4}


def randomise(network: nn.Module) -> nn.Module:
    """Fill every parameter with numbers large enough to matter."""
    torch.manual_seed(0)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.1)
    network.eval()
    return network


def as_maps(states: list[Tensor], x: Tensor, patch: int) -> list[Tensor]:
    """Lay hidden states ``(B, tokens, C)`` out as maps."""
    grid = [length // patch for length in x.shape[2:]]
    return [s.transpose(1, 2).reshape(len(s), -1, *grid) for s in states]


def monai_cases(old: Path | None) -> Iterator[Case]:
    """Give MONAI's networks."""
    orders = {"merging": "monai_1_5", "mergingv2": "v2"}
    for merging, octants in orders.items():
        net = SwinUNETR(1, 2, feature_size=12, downsample=merging)
        yield f"SwinUNETR, {octants}", net, Facts(octants=octants), net.swinViT, (96, 96, 96)
    if old is not None:
        net = SwinUNETR(1, 2, feature_size=12, downsample=old_merging(old))
        facts = Facts(octants="monai_before_1_5")
        yield "SwinUNETR, monai_before_1_5", net, facts, net.swinViT, (64, 64, 64)
    unetr = UNETR(1, 2, (96, 96, 96), feature_size=4, **VIT)

    def unetr_maps(x: Tensor) -> list[Tensor]:
        last, states = unetr.vit(x)
        return as_maps([states[2], states[5], states[8], last], x, 16)

    yield "UNETR", unetr, Facts(heads=4), unetr_maps, (96, 96, 96)
    auto = ViTAutoEnc(1, (96, 96, 96), (16, 16, 16), num_layers=12, **VIT)

    def auto_maps(x: Tensor) -> list[Tensor]:
        _, states = auto(x)
        return as_maps([states[2], states[5], states[8], auto.norm(states[11])], x, 16)

    yield "ViTAutoEnc", auto, Facts(heads=4), auto_maps, (96, 96, 96)
    mae = MaskedAutoEncoderViT(1, (96, 96, 96), 16, num_layers=12, decoder_hidden_size=24,
                               decoder_num_heads=2, **VIT)  # fmt: skip

    def mae_maps(x: Tensor) -> list[Tensor]:
        tokens, states = torch.cat([mae.cls_token, mae.patch_embedding(x)], 1), []
        for block in mae.blocks:
            tokens = block(tokens)
            states.append(tokens[:, 1:])
        return as_maps([states[2], states[5], states[8], states[12]], x, 16)

    yield "MaskedAutoEncoderViT", mae, Facts(heads=4), mae_maps, (96, 96, 96)


def old_merging(folder: Path) -> type:
    """Take the merge of an older MONAI, whose package is unpacked in a folder."""
    path = folder / "monai" / "networks" / "nets" / "swin_unetr.py"
    spec = importlib.util.spec_from_file_location("old_swin_unetr", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.PatchMerging


def nnunet_cases() -> Iterator[Case]:
    """Give nnU-Net's residual encoder, smaller than ResEnc-L and of its six levels."""
    from dynamic_network_architectures.building_blocks.residual_encoders import ResidualEncoder

    net = ResidualEncoder(
        1, 6, (8, 16, 32, 64, 80, 80), nn.Conv3d, [[3, 3, 3]] * 6, [[1] * 3, *[[2] * 3] * 5],
        (1, 3, 4, 6, 6, 6), True, nn.InstanceNorm3d, {"eps": 1e-5, "affine": True},
        nonlin=nn.LeakyReLU, nonlin_kwargs={"inplace": True}, return_skips=True,
    )  # fmt: skip
    yield "nnU-Net ResidualEncoder", net, Facts(), net, (64, 64, 96)


def primus_cases() -> Iterator[Case]:
    """Give Primus, narrower than Primus-S."""
    from dynamic_network_architectures.architectures.primus import Primus

    net = Primus(1, 96, (8, 8, 8), 2, 8, 4, (64, 64, 64), init_values=0.1, scale_attn_inner=True)

    def maps(x: Tensor) -> list[Tensor]:
        tokens, states = net.down_projection(x).flatten(2).transpose(1, 2), []
        tokens, rope, _ = net.eva._pos_embed(tokens)
        for block in net.eva.blocks:
            tokens = block(tokens, rope=rope)
            states.append(tokens)
        return as_maps([states[1], states[3], states[5], net.eva.norm(states[7])], x, 8)

    yield "Primus", net, Facts(heads=4), maps, (64, 64, 64)


def smit_cases(path: Path) -> Iterator[Case]:
    """Give the Swin of SMIT, from a file of its repository."""
    # What it imports and this part does not use.
    vars(sys.modules["monai.networks.blocks"])["UnetrUpOnlyBlock"] = nn.Identity
    for name in ("ml_collections", "models", "models.configs_Trans", "train_model", "timm",
                 "timm.models"):  # fmt: skip
        sys.modules[name] = MagicMock()
    sys.modules["timm.models.layers"] = types.SimpleNamespace(
        DropPath=nn.Identity,
        trunc_normal_=nn.init.trunc_normal_,
        to_3tuple=lambda value: (value,) * 3,
    )
    spec = importlib.util.spec_from_file_location("smit_transformer", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    net = module.SwinTransformer_Unetr_Mask_In_Seperate(
        patch_size=2, in_chans=1, embed_dim=12, depths=(2, 2, 4, 2), num_heads=(4, 4, 4, 4),
        window_size=(4, 4, 4), qkv_bias=False, drop_path_rate=0.0, patch_norm=True, pat_merg_rf=4,
    )  # fmt: skip

    def maps(x: Tensor) -> list[Tensor]:
        found = [net.patch_embed(x)[1]]
        for layer in net.layers:
            depth, height, width = found[-1].shape[2:]
            tokens = layer(found[-1].flatten(2).transpose(1, 2), depth, height, width)[4]
            shape = (1, -1, depth // 2, height // 2, width // 2)
            found.append(tokens.transpose(1, 2).reshape(shape))
        return [nn.functional.layer_norm(m.movedim(1, -1), m.shape[1:2]).movedim(-1, 1)
                for m in found]  # fmt: skip

    yield "SMIT", net, Facts(), maps, (64, 64, 64)


def compare(case: Case, folder: Path) -> str:
    """Load one network and measure the maps."""
    name, theirs, facts, maps, size = case
    path = folder / "weights.pt"
    torch.save({"state_dict": randomise(theirs).state_dict()}, path)
    encoder = build(open_source(path, facts).card.network["encoder"]).eval()
    receipt = load_encoder(encoder, path, facts=facts)
    x = torch.randn(1, 1, *size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        pairs = list(zip(encoder(x), maps(x), strict=True))
    worst = [f"{(ours - other).abs().max():.1e}" for ours, other in pairs]
    spread = [f"{other.std():.2g}" for _, other in pairs]
    return f"{name:28} {receipt.fraction:.0%}  {' '.join(worst)}  (spread {' '.join(spread)})"


def main() -> None:
    """Print one line a network."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smit", type=Path)
    parser.add_argument("--old-monai", type=Path)
    args = parser.parse_args()
    cases = list(monai_cases(args.old_monai))
    if importlib.util.find_spec("dynamic_network_architectures"):
        cases += [*nnunet_cases(), *primus_cases()]
    else:
        print("left out: nnU-Net, dynamic-network-architectures is not installed")
    cases += smit_cases(args.smit) if args.smit else []
    with tempfile.TemporaryDirectory() as folder:
        for case in cases:
            print(compare(case, Path(folder)), flush=True)


if __name__ == "__main__":
    main()
