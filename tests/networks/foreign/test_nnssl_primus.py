"""Primus: the maps are those of its definition, and what ours has not is refused."""

import pytest
import torch

from tests.networks.foreign.peers import Primus, randomised, seeded
from volseg.errors import WeightsError
from volseg.networks.config import build
from volseg.networks.foreign.layout import Facts
from volseg.networks.opening import open_source
from volseg.networks.primus import PrimusEncoder
from volseg.networks.weights import load_encoder

GRID, PATCH = (2, 3, 4), 4
SIZE = (8, 12, 16)
FACTS = Facts(heads=2, size=SIZE)


@pytest.fixture(scope="module")
def theirs():
    return randomised(Primus(24, 2, 40, 4, GRID, PATCH))


@pytest.fixture
def file(tmp_path, theirs):
    """Write it as nnssl does, with the decoder of the masked autoencoder beside it."""
    state = {**theirs.state_dict(), "mask_token": torch.full((1, 1, 24), 0.5)}
    state["decoder.blocks.0.norm1.weight"] = torch.zeros(24)
    torch.save({"network_weights": state, "trainer_name": "Eva"}, tmp_path / "primus.pth")
    return tmp_path / "primus.pth"


def test_maps_are_equal(theirs, file):
    encoder = build(open_source(file, FACTS).card.network["encoder"]).eval()
    receipt = load_encoder(encoder, file, facts=FACTS)
    assert receipt.fraction == 1
    assert receipt.left_over == ("decoder.blocks.0.norm1.weight",)
    assert torch.equal(encoder.mask_token, torch.full((24,), 0.5))
    x = seeded(2, 1, *SIZE)
    with torch.no_grad():
        for level, state in zip(encoder(x), theirs(x), strict=True):
            wanted = state.mT.reshape(level.shape)
            torch.testing.assert_close(level, wanted, rtol=0, atol=2e-5)


def test_a_network_without_scales_is_one_with_ones(tmp_path, theirs):
    state = {n: t for n, t in theirs.state_dict().items() if "gamma" not in n}
    torch.save(state, tmp_path / "primus.pth")
    source = open_source(tmp_path / "primus.pth", FACTS)
    assert torch.equal(source.tensors["encoder.blocks.3.scale2"], torch.ones(24))


def test_another_crop_resizes_the_positions(file):
    encoder = PrimusEncoder(1, (8, 8, 8), PATCH, 24, 4, 2, 40)
    assert load_encoder(encoder, file, facts=FACTS).resized == ("encoder.position",)


@pytest.mark.parametrize("facts", [Facts(heads=2), Facts(size=SIZE)])
def test_a_grid_or_heads_that_nobody_named_are_refused(file, facts):
    with pytest.raises(WeightsError, match="does not say its"):
        open_source(file, facts)


def test_attention_without_a_norm_is_refused_by_name(tmp_path, theirs):
    state = {n: t for n, t in theirs.state_dict().items() if "attn.norm" not in n}
    torch.save(state, tmp_path / "primus.pth")
    with pytest.raises(WeightsError, match="no norm within its attention"):
        open_source(tmp_path / "primus.pth", FACTS)
