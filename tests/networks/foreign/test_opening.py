"""Files of other projects: wherever the state dict is, one encoder is found or a reason given."""

import os

import pytest
import torch
from torch import nn

from tests.networks.foreign.peers import ResEnc, randomised
from volseg.errors import WeightsError
from volseg.networks.description import describe_weights
from volseg.networks.foreign.layout import Facts
from volseg.networks.opening import open_source
from volseg.networks.resenc import ResEncEncoder
from volseg.networks.weights import fit_encoder, load_encoder


@pytest.fixture(scope="module")
def state():
    return dict(randomised(ResEnc(1, (4, 8), (1, 1))).state_dict())


def encoder(channels=1):
    return ResEncEncoder(channels, (4, 8), (1, 1))


@pytest.mark.parametrize(
    "wrap", ["{}", "module.{}", "_orig_mod.{}", "module._orig_mod.{}", "model.{}", "net.encoder.{}"]
)
@pytest.mark.parametrize("key", [None, "state_dict", "network_weights", "model", "anything"])
def test_prefixes_and_wrappers_are_taken_off(tmp_path, state, wrap, key):
    wrapped = {wrap.format(name): tensor for name, tensor in state.items()}
    content = wrapped if key is None else {"epoch": 3, key: wrapped, "optimizer": {"state": {}}}
    torch.save(content, tmp_path / "file.ckpt")
    network = encoder()
    receipt = load_encoder(network, tmp_path / "file.ckpt")
    assert receipt.fraction == 1
    assert torch.equal(network.stem.conv.weight, state["stem.convs.0.conv.weight"])
    assert any(repr(key) in note for note in receipt.notes) == (key is not None)


def test_of_two_state_dicts_the_known_one_is_taken(tmp_path, state):
    other = {name: torch.zeros_like(tensor) for name, tensor in state.items()}
    torch.save({"ema": other, "state_dict": state}, tmp_path / "file.pt")
    network = encoder()
    load_encoder(network, tmp_path / "file.pt")
    assert network.stem.conv.weight.any()
    torch.save({"ema": other, "mine": state}, tmp_path / "file.pt")
    with pytest.raises(WeightsError, match=r"nor does it hold just one: it has \['ema', 'mine'\]"):
        open_source(tmp_path / "file.pt")


def test_of_two_encoders_the_user_names_one(tmp_path, state):
    both = {f"{who}.{n}": t for who in ("student", "teacher") for n, t in state.items()}
    torch.save(both, tmp_path / "file.pt")
    with pytest.raises(WeightsError, match=r"several encoders, under \['student\.', 'teacher\.'\]"):
        open_source(tmp_path / "file.pt")
    source = open_source(tmp_path / "file.pt", Facts(prefix="teacher."))
    assert source.left_over[0].startswith("student.")


def test_a_file_of_no_layout_is_refused_with_those_there_are(tmp_path):
    torch.save(nn.Linear(2, 2).state_dict(), tmp_path / "file.pt")
    with pytest.raises(WeightsError, match=r"weight, bias.*of no layout.*SwinUNETR.*ResEnc"):
        open_source(tmp_path / "file.pt")


def test_a_pickle_with_code_is_refused_and_not_run(tmp_path, state):
    bait = tmp_path / "bait"

    class Evil:
        def __reduce__(self):
            return os.system, (f"touch {bait}",)

    torch.save({"state_dict": state, "hparams": Evil()}, tmp_path / "file.ckpt")
    with pytest.raises(WeightsError, match=r"is not a plain state dict"):
        open_source(tmp_path / "file.ckpt")
    assert not bait.exists()


@pytest.mark.parametrize("content", [[torch.zeros(1)], {}, {"epoch": 3}, {1: torch.zeros(1)}])
def test_other_content_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "file.pt")
    with pytest.raises(WeightsError, match=r"not a (plain )?state dict"):
        open_source(tmp_path / "file.pt")


def test_a_file_that_is_not_whole_is_refused_by_the_name_that_lacks(tmp_path, state):
    short = {n: t for n, t in state.items() if n != "stages.1.blocks.0.conv2.norm.bias"}
    torch.save(short, tmp_path / "file.pt")
    with pytest.raises(WeightsError, match=r"lacks stages\.1\.blocks\.0\.conv2\.norm\.bias"):
        open_source(tmp_path / "file.pt")


def test_a_shape_that_does_not_fit_the_others_is_refused(tmp_path, state):
    odd = {**state, "stages.1.blocks.0.conv2.norm.bias": torch.zeros(5)}
    torch.save(odd, tmp_path / "file.pt")
    with pytest.raises(WeightsError, match=r"in another shape 1 \(levels\.1\.0\.conv2\.norm"):
        open_source(tmp_path / "file.pt")


def test_channels_are_inflated_by_name_and_the_mean_response_is_kept(tmp_path, state):
    torch.save(state, tmp_path / "file.pt")
    one, two = encoder().eval(), encoder(2).eval()
    facts = Facts(channels=("T1",))
    load_encoder(one, tmp_path / "file.pt", facts=facts)
    receipt = load_encoder(two, tmp_path / "file.pt", facts=facts, channels=["T2", "T1"])
    assert receipt.inflated == ("encoder.stem.conv.weight",)
    x, other = torch.randn(2, 1, 1, 8, 8, 8)
    for single, named in zip(one(x), two(torch.cat([other, x], 1)), strict=True):
        torch.testing.assert_close(single, named, rtol=1e-4, atol=1e-4)
    with pytest.raises(WeightsError, match=r"has 1 channels"):
        open_source(tmp_path / "file.pt", Facts(channels=("T1", "T2")))


def test_a_trial_changes_nothing(tmp_path, state):
    torch.save(state, tmp_path / "file.pt")
    network = encoder()
    before = network.stem.conv.weight.clone()
    receipt, values = fit_encoder(network, tmp_path / "file.pt")
    assert receipt.fraction == 1
    assert torch.equal(network.stem.conv.weight, before)
    assert torch.equal(values["encoder.stem.conv.weight"], state["stem.convs.0.conv.weight"])


def test_it_is_described_with_the_encoder_that_holds_it(tmp_path, state):
    torch.save({"network_weights": state}, tmp_path / "file.pth")
    found = describe_weights(tmp_path / "file.pth")["foreign"]
    assert found["layout"] == "nnU-Net ResEnc (nnssl, OpenMind)"
    assert found["encoder"]["widths"] == [4, 8]
    assert found["encoder parameters"] == sum(p.numel() for p in encoder().parameters())
    torch.save(nn.Linear(2, 2).state_dict(), tmp_path / "file.pth")
    found = describe_weights(tmp_path / "file.pth")["foreign"]
    assert found["layout"] is None
    assert "of no layout" in found["why not"]
