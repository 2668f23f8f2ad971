"""nnU-Net's residual encoder: maps are equal, duplicates are passed over, others are refused."""

import pytest
import torch

from tests.networks.foreign.peers import ResEnc, randomised, seeded
from volseg.errors import WeightsError
from volseg.networks.config import build
from volseg.networks.foreign.layout import NO_FACTS, Facts
from volseg.networks.opening import open_source
from volseg.networks.weights import load_encoder


@pytest.fixture(scope="module")
def theirs():
    return randomised(ResEnc(2, (4, 8, 8), (1, 2, 1)))


@pytest.fixture
def file(tmp_path, theirs):
    """Write it as nnssl does: within a U-Net, whose decoder holds the encoder once more."""
    state = theirs.state_dict()
    network = {f"encoder.{name}": tensor for name, tensor in state.items()}
    network |= {f"decoder.encoder.{name}": tensor for name, tensor in state.items()}
    network["decoder.seg_layers.0.weight"] = torch.zeros(1)
    torch.save({"network_weights": network, "init_args": {"a": None}, "current_epoch": 7},
               tmp_path / "checkpoint_final.pth")  # fmt: skip
    return tmp_path / "checkpoint_final.pth"


def loaded(path, facts=NO_FACTS):
    encoder = build(open_source(path, facts).card.network["encoder"]).eval()
    return encoder, load_encoder(encoder, path, facts=facts)


def test_maps_are_equal(theirs, file):
    encoder, receipt = loaded(file)
    assert receipt.fraction == 1
    assert any("biases before a norm have no effect" in note for note in receipt.notes)
    assert any("taken to be 2 along each axis" in note for note in receipt.notes)
    x = seeded(2, 2, 16, 8, 12)
    with torch.no_grad():
        for one, two in zip(encoder(x), theirs(x), strict=True):
            torch.testing.assert_close(one, two, rtol=0, atol=2e-5)


def test_factors_between_levels_are_those_that_the_user_says(file):
    facts = Facts(downsampling=((1, 2, 2), (2, 2, 2)))
    encoder, _ = loaded(file, facts)
    assert encoder.spec.strides == ((1, 1, 1), (1, 2, 2), (2, 4, 4))


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("encoder.stages.0.blocks.0.conv3.conv.weight", "bottleneck"),
        ("encoder.stages.0.blocks.0.squeeze_excitation.fc1.weight", "squeeze"),
        ("encoder.stem.convs.1.conv.weight", "several convolutions"),
    ],
)
def test_what_our_encoder_has_not_is_refused_by_name(tmp_path, theirs, name, what):
    state = {f"encoder.{n}": t for n, t in theirs.state_dict().items()}
    torch.save({**state, name: torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match=rf"{what}.*ResEncEncoder has not"):
        open_source(tmp_path / "other.pth")
