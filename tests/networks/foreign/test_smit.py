"""SMIT's Swin: no bias on queries, a normalised embedding, and an octant order of its own."""

import pytest
import torch
from monai.networks.nets import swin_unetr

from tests.networks.foreign.peers import SMIT, monai_swin, seeded
from volseg.errors import WeightsError
from volseg.networks.config import build
from volseg.networks.foreign.layout import Facts
from volseg.networks.opening import open_source
from volseg.networks.weights import load_encoder


@pytest.fixture(scope="module")
def theirs():
    """Give MONAI's Swin set up as SMIT's, which it equals where no axis is below the window."""
    return monai_swin(SMIT, 4, (2, 1, 1, 1), patch_norm=True, qkv_bias=False)


def scatter(windows, sizes, grid):
    """Put windows together as SMIT does, one row after the other: no axis is where it was."""
    batch, *lengths = grid
    counts = [length // size for length, size in zip(lengths, sizes, strict=True)]
    x = windows.view(batch, *counts, *sizes, -1)
    x = torch.einsum("bhwlijkc->bhljwikc", x)
    return x.reshape(batch, *lengths, -1)


@pytest.fixture
def file(tmp_path, theirs):
    """Write it in SMIT's names."""
    state = {}
    for name, tensor in theirs.state_dict().items():
        short = name.replace("mlp.linear", "mlp.fc")
        if short.startswith("layers"):
            short = f"layers.{int(short[6]) - 1}{short[len('layers1.0') :]}"
        state[f"module.transformer.{short}"] = tensor
    state["module.transformer.mask_token"] = torch.full((1, 1, 4), 0.25)
    state["module.transformer.norm0.weight"] = torch.ones(4)
    torch.save({"epoch": 1, "state_dict": state, "optimizer": {"state": {}}}, tmp_path / "smit.pt")
    return tmp_path / "smit.pt"


def test_maps_are_equal_and_nothing_need_be_said(theirs, file, monkeypatch):
    monkeypatch.setattr(swin_unetr, "window_reverse", scatter)
    encoder = build(open_source(file).card.network["encoder"]).eval()
    receipt = load_encoder(encoder, file)
    assert receipt.fraction == 1
    assert "transformer.norm0.weight" in receipt.left_over
    assert torch.equal(encoder.embedding.mask_token, torch.full((4,), 0.25))
    x = seeded(1, 2, 96, 64, 64)  # grids of 48 to 4: the last one is padded from 6 to 8
    with torch.no_grad():
        for one, two in zip(encoder(x), theirs(x), strict=True):
            torch.testing.assert_close(one, two, rtol=0, atol=2e-5)


def test_another_order_is_refused(file):
    with pytest.raises(WeightsError, match="SMIT has one order, 'smit'"):
        open_source(file, Facts(octants="v2"))
