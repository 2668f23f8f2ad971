"""MONAI's plain transformers: hidden states are equal, with and without a class token."""

import pytest
import torch
from monai.networks.nets import UNETR, MaskedAutoEncoderViT, ViT, ViTAutoEnc

from tests.networks.foreign.peers import randomised, seeded
from volseg.errors import WeightsError
from volseg.networks.config import build
from volseg.networks.foreign.layout import Facts
from volseg.networks.opening import open_source
from volseg.networks.vit import ViTEncoder
from volseg.networks.weights import load_encoder

SIZE = (16, 16, 16)
BLOCKS = {"hidden_size": 24, "mlp_dim": 96, "num_heads": 3}
FACTS = Facts(heads=3)


def loaded(path, facts=FACTS):
    encoder = build(open_source(path, facts).card.network["encoder"]).eval()
    return encoder, load_encoder(encoder, path, facts=facts)


def compare(encoder, states, x):
    """Compare maps with hidden states, ``(B, tokens, C)``, whose spread grows with the blocks."""
    with torch.no_grad():
        maps = encoder(x)
    for level, state in zip(maps, states, strict=True):
        wanted = state.transpose(1, 2).view(level.shape)
        torch.testing.assert_close(level, wanted, rtol=0, atol=2e-5 * float(wanted.std()))


def test_the_encoder_of_unetr(tmp_path):
    net = randomised(UNETR(2, 3, (32, 32, 32), feature_size=4, **BLOCKS, qkv_bias=False))
    torch.save(net.state_dict(), tmp_path / "unetr.pt")
    encoder, receipt = loaded(tmp_path / "unetr.pt")
    x = seeded(2, 2, 32, 32, 32)
    with torch.no_grad():
        last, states = net.vit(x)
    compare(encoder, [states[2], states[5], states[8], last], x)
    assert receipt.fraction == 1
    assert not encoder.blocks[0].qkv.bias.any()
    assert any("no bias" in note for note in receipt.notes)


@pytest.mark.parametrize("projection", ["conv", "perceptron"])
def test_the_autoencoder_on_a_grid_that_is_no_cube(tmp_path, projection):
    size = (8, 16, 4)
    net = randomised(
        ViTAutoEnc(1, size, (4, 4, 4), num_layers=4, proj_type=projection, qkv_bias=True, **BLOCKS)
    )
    torch.save({"state_dict": {f"model.{k}": v for k, v in net.state_dict().items()}},
               tmp_path / "vit.ckpt")  # fmt: skip
    encoder, receipt = loaded(tmp_path / "vit.ckpt", Facts(heads=3, size=size))
    x = seeded(1, 1, *size)
    with torch.no_grad():
        _, states = net(x)
        compare(encoder, [*states[:3], net.norm(states[3])], x)
    assert "model.conv3d_transpose.weight" in receipt.left_over


def test_the_masked_autoencoder_with_its_class_token(tmp_path):
    net = randomised(
        MaskedAutoEncoderViT(1, SIZE, 8, num_layers=4, decoder_hidden_size=12,
                             decoder_num_heads=2, qkv_bias=True, **BLOCKS)
    )  # fmt: skip
    torch.save(net.state_dict(), tmp_path / "mae.pt")
    encoder, receipt = loaded(tmp_path / "mae.pt")
    assert receipt.fraction == 1
    x, states = seeded(1, 1, *SIZE), []
    with torch.no_grad():
        tokens = torch.cat([net.cls_token, net.patch_embedding(x)], 1)
        for block in net.blocks:
            tokens = block(tokens)
            states.append(tokens[:, 1:])
    compare(encoder, [*states[:3], states[4]], x)
    # A network without the token would compute something else.
    with pytest.raises(WeightsError, match=r"features differ"):
        load_encoder(ViTEncoder(1, SIZE, 8, 24, 4, 3), tmp_path / "mae.pt", facts=FACTS)


def test_separate_queries_keys_and_values_are_joined(tmp_path):
    net = randomised(ViT(1, SIZE, 8, num_layers=4, qkv_bias=True, **BLOCKS))
    state = net.state_dict()
    for name in [name for name in state if ".attn.qkv." in name]:
        parts = state.pop(name).chunk(3)
        state |= {
            name.replace("qkv", f"to_{k}"): p.clone() for k, p in zip("qkv", parts, strict=True)
        }
    torch.save(state, tmp_path / "vit.pt")
    encoder, _ = loaded(tmp_path / "vit.pt")
    x = seeded(1, 1, *SIZE)
    with torch.no_grad():
        last, states = net(x)
    compare(encoder, [*states[:3], last], x)


@pytest.fixture
def file(tmp_path):
    net = randomised(ViT(1, SIZE, 8, num_layers=4, **BLOCKS))
    torch.save(net.state_dict(), tmp_path / "vit.pt")
    return tmp_path / "vit.pt"


def test_another_patch_size_resizes_the_positions(file):
    receipt = load_encoder(ViTEncoder(1, (24, 16, 32), 8, 24, 4, 3), file, facts=FACTS)
    assert receipt.resized == ("encoder.position",)


def test_heads_that_nobody_named_are_refused(file):
    with pytest.raises(WeightsError, match=r"does not say its heads"):
        open_source(file)


def test_heads_of_another_number_are_told_by_the_features(file):
    with pytest.raises(WeightsError, match=r"features differ"):
        load_encoder(ViTEncoder(1, SIZE, 8, 24, 4, 2), file, facts=FACTS)


def test_a_size_with_other_patches_is_refused(file):
    with pytest.raises(WeightsError, match=r"has not the 8 patches of 8"):
        open_source(file, Facts(heads=3, size=(16, 16, 32)))


def test_a_narrow_perceptron_is_refused_with_what_would_do(tmp_path):
    net = ViT(1, SIZE, 8, 24, 32, num_layers=4, num_heads=3)
    torch.save(net.state_dict(), tmp_path / "vit.pt")
    with pytest.raises(WeightsError, match=r"32 wide.*mlp_dim=4"):
        open_source(tmp_path / "vit.pt", FACTS)
