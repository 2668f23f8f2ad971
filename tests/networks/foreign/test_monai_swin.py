"""MONAI's Swin: the feature maps are equal, in each octant order, and a wrong order is refused."""

import pytest
import torch
from monai.networks.nets import SwinUNETR
from monai.networks.nets.swin_unetr import PatchMerging, PatchMergingV2

from tests.networks.foreign.peers import BEFORE_1_5, monai_swin, randomised, seeded
from volseg.errors import WeightsError
from volseg.networks.config import build
from volseg.networks.foreign.layout import Facts
from volseg.networks.opening import open_source
from volseg.networks.swin import SwinEncoder
from volseg.networks.weights import load_encoder

ORDERS = {"monai_before_1_5": BEFORE_1_5, "monai_1_5": PatchMerging, "v2": PatchMergingV2}


def loaded(path, facts):
    """Build the encoder that a file describes, and load it."""
    encoder = build(open_source(path, facts).card.network["encoder"]).eval()
    return encoder, load_encoder(encoder, path, facts=facts)


@pytest.mark.parametrize("order", ORDERS)
def test_maps_are_equal_where_the_window_does_not_divide_the_grid(tmp_path, order):
    # Window 7 on grids of 48 to 1 tokens: padded, and in the last stages cut short.
    theirs = monai_swin(ORDERS[order])
    torch.save(theirs.state_dict(), tmp_path / "swin.pt")
    ours, receipt = loaded(tmp_path / "swin.pt", Facts(octants=order))
    assert receipt.fraction == 1
    x = seeded(1, 2, 64, 96, 32)
    with torch.no_grad():
        for one, two in zip(ours(x), theirs(x), strict=True):
            torch.testing.assert_close(one, two, rtol=0, atol=2e-5)


def test_another_order_gives_other_maps(tmp_path):
    theirs = monai_swin(PatchMerging)
    torch.save(theirs.state_dict(), tmp_path / "swin.pt")
    ours, _ = loaded(tmp_path / "swin.pt", Facts(octants="v2"))
    x = seeded(1, 2, 32, 32, 32)
    with torch.no_grad():
        assert (ours(x)[1] - theirs(x)[1]).abs().max() > 0.5


@pytest.mark.parametrize("form", ["top", "swinvit", "nested"])
def test_the_three_forms_in_which_it_is_published_are_read(tmp_path, form):
    theirs = monai_swin(PatchMerging)
    state = theirs.state_dict()
    if form == "swinvit":  # model_swinvit.pt: heads beside it, older names of the perceptron
        old = {k.replace("mlp.linear", "mlp.fc"): v for k, v in state.items()}
        old["rotation_head.weight"] = torch.zeros(4, 64)
        content = {"state_dict": {f"module.{k}": v for k, v in old.items()}, "epoch": 9}
    elif form == "nested":  # disrupted autoencoders: one list more, and a mask token
        deep = {k.replace(".0.", ".0.0.", 1) if "layers" in k else k: v for k, v in state.items()}
        deep["mask_token"] = torch.full((1, 1, 4), 0.5)
        content = {"model": {f"encoder.{k}": v for k, v in deep.items()}}
    else:
        content = state
    torch.save(content, tmp_path / "file.pt")
    ours, receipt = loaded(tmp_path / "file.pt", Facts(octants="monai_1_5"))
    x = seeded(1, 2, 32, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(ours(x)[-1], theirs(x)[-1], rtol=0, atol=2e-5)
    token = torch.full((4,), 0.5) if form == "nested" else torch.zeros(4)
    assert torch.equal(ours.embedding.mask_token, token)
    assert ("rotation_head.weight" in receipt.left_over) == (form == "swinvit")


def test_a_whole_swin_unetr_gives_its_encoder(tmp_path):
    net = randomised(SwinUNETR(1, 2, feature_size=12, num_heads=(1, 2, 2, 4), depths=(1, 1, 1, 1)))
    torch.save({f"net.{k}": v for k, v in net.state_dict().items()}, tmp_path / "lightning.pt")
    ours, receipt = loaded(tmp_path / "lightning.pt", Facts(octants="monai_1_5"))
    assert any("'net.swinViT.'" in note for note in receipt.notes)
    assert "net.out.conv.conv.weight" in receipt.left_over
    x = seeded(1, 1, 32, 64, 32)
    with torch.no_grad():
        for one, two in zip(ours(x), net.swinViT(x), strict=True):
            torch.testing.assert_close(one, two, rtol=0, atol=2e-5)


@pytest.fixture
def file(tmp_path):
    torch.save(monai_swin(BEFORE_1_5, window=2).state_dict(), tmp_path / "swin.pt")
    return tmp_path / "swin.pt"


def ours(**options):
    return SwinEncoder(2, 4, (2, 2, 1, 2), (1, 2, 2, 4), 2, "clamped", **options)


def test_an_order_that_nobody_named_is_refused_with_those_there_are(file):
    with pytest.raises(WeightsError, match=r"does not say its octants: monai_before_1_5.*v2"):
        load_encoder(ours(), file)


def test_an_unknown_order_is_refused(file):
    with pytest.raises(WeightsError, match=r"octants are 'smit'"):
        load_encoder(ours(), file, facts=Facts(octants="smit"))


def test_the_order_that_no_other_can_hold_is_refused_by_a_network_of_another(file):
    facts = Facts(octants="monai_before_1_5")
    with pytest.raises(WeightsError, match=r"monai_before_1_5.*the network in 'v2'"):
        load_encoder(ours(), file, facts=facts)
    assert load_encoder(ours(merge_order="monai_before_1_5"), file, facts=facts).fraction == 1


def test_other_windows_of_equal_shape_are_told_by_the_features(tmp_path):
    torch.save(monai_swin(PatchMerging, window=7).state_dict(), tmp_path / "swin.pt")
    equal = SwinEncoder(2, 4, (2, 2, 1, 2), (1, 2, 2, 4), 7)
    with pytest.raises(WeightsError, match=r"features differ"):
        load_encoder(equal, tmp_path / "swin.pt", facts=Facts(octants="monai_1_5"))


def test_the_second_version_with_convolutions_is_refused_by_name(tmp_path):
    net = monai_swin(PatchMerging, window=2, use_v2=True)
    torch.save(net.state_dict(), tmp_path / "swin.pt")
    with pytest.raises(WeightsError, match=r"SwinUNETR with use_v2"):
        open_source(tmp_path / "swin.pt", Facts(octants="monai_1_5"))
