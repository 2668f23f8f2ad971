"""Cards of trained weights, and what tells one run from another."""

import hashlib
import json
from pathlib import Path

import pytest
import torch
from torch import nn

from volseg.engines.card import begin_card, card_of_config
from volseg.engines.checkpoint import hash_cases, hash_module
from volseg.errors import BundleError
from volseg.networks.card import Card
from volseg.networks.residual import ResidualEncoder
from volseg.networks.segmenter import Segmenter
from volseg.networks.weights import save_weights

ENCODER = {
    "_target_": "volseg.networks.residual.ResidualEncoder",
    "in_channels": 2,
    "widths": [4, 8],
}
SEGMENTER = {
    "_target_": "volseg.networks.segmenter.Segmenter",
    "encoder": ENCODER,
    "num_classes": 2,
}


CASES = [1, 2, 3]


@pytest.fixture
def network():
    return Segmenter(ResidualEncoder(2, widths=(4, 8)), num_classes=2)


def test_channels_without_a_name_are_numbered(network):
    assert begin_card({}, network, CASES).channels == ("channel 0", "channel 1")


def test_cases_are_counted_and_hashed(network):
    here, there = Cases([{"image": "/a/b.nii"}]), Cases([{"image": "/c/b.nii"}])
    data = begin_card({}, network, here).data
    assert data["num_cases"] == 1
    assert data["case_hash"] == hashlib.sha256(b"image=b.nii").hexdigest()
    assert data == begin_card({}, network, there).data


def test_a_config_that_builds_the_network_is_kept(network):
    assert begin_card({"network": SEGMENTER}, network, CASES).network == SEGMENTER
    assert begin_card({"network": {"encoder": ENCODER}}, network.encoder, CASES).network["encoder"]


def test_a_card_may_be_given_whole(network):
    data = {"names": ["ours"], "num_cases": 3}
    card = Card(SEGMENTER, channels=("T1", "T2"), spacing=(1.0, 1.0, 1.0), data=data)
    assert begin_card(card, network, CASES) == card


@pytest.mark.parametrize(
    "config",
    [
        {**SEGMENTER, "num_classes": 3},
        {**SEGMENTER, "encoder": "@encoder"},
        {"_target_": "os.system", "command": "true"},
    ],
)
def test_a_config_that_builds_something_else_is_left_out(config, network, caplog):
    assert begin_card({"network": config}, network, CASES).network == {}
    assert "is not the network in training" in caplog.text


def test_facts_are_read_from_a_training_config(tmp_path):
    path = tmp_path / "train.json"
    config = {
        "channels": ["T1"], "spacing": [1, 1, 2], "patch_size": [8, 8, 8], "seed": 3,
        "encoder": ENCODER, "task": {"_target_": "a.Task", "encoder": "@encoder", "ratio": 0.6},
    }  # fmt: skip
    path.write_text(json.dumps(config))
    assert card_of_config(path) == {
        "channels": ["T1"], "spacing": [1, 1, 2], "patch_size": [8, 8, 8],
        "network": {"encoder": ENCODER}, "pretext": {"_target_": "a.Task", "ratio": 0.6},
    }  # fmt: skip
    path.write_text(json.dumps({"network_def": SEGMENTER, "encoder": None}))
    assert card_of_config(path) == {"network": SEGMENTER}


def test_facts_that_a_task_refers_to_stand_in_its_card(tmp_path):
    """The partner of a pair is built from there by whoever loads it."""
    path = tmp_path / "train.json"
    task = {"_target_": "a.Pair", "encoder": "@encoder", "partner": {"size": "@patch_size"}}
    tasks = {"_target_": "a.Sum", "tasks": [{"encoder": "@encoder", "block": "@patch_size"}]}
    for given, wanted in [
        (task, {"_target_": "a.Pair", "partner": {"size": [8, 8, 4]}}),
        (tasks, {"_target_": "a.Sum", "tasks": [{"encoder": "@encoder", "block": [8, 8, 4]}]}),
    ]:
        path.write_text(json.dumps({"patch_size": [8, 8, 4], "encoder": ENCODER, "task": given}))
        assert card_of_config(path)["pretext"] == wanted


@pytest.mark.parametrize("content", ["", "{"])
def test_a_config_that_is_no_json_is_refused(content, tmp_path):
    (tmp_path / "train.json").write_text(content)
    with pytest.raises(BundleError, match="cannot be read as a training config"):
        card_of_config(tmp_path / "train.json")


class Cases:
    def __init__(self, data):
        self.data = data

    def __len__(self):
        return len(self.data)


def test_moving_the_files_does_not_change_the_cases():
    here = Cases([{"image": "/a/b/one.nii", "label": Path("/a/one.nii")}])
    there = Cases([{"image": "/c/one.nii", "label": "/d/one.nii"}])
    assert hash_cases(here) == hash_cases(there)


@pytest.mark.parametrize(
    "other",
    [
        [{"image": "/a/two.nii", "label": "/a/one.nii"}],
        [{"image": ["/a/one.nii"], "mask": "/a/one.nii"}],
        [{"image": "/a/one.nii", "label": "/a/one.nii"}] * 2,
    ],
)
def test_other_cases_are_told_apart(other):
    ours = Cases([{"image": "/a/one.nii", "label": "/a/one.nii"}])
    assert hash_cases(ours) != hash_cases(Cases(other))


def test_order_matters_for_the_draws_and_so_for_the_hash():
    assert hash_cases(Cases(["a", "b"])) != hash_cases(Cases(["b", "a"]))


def test_a_dataset_without_a_list_is_known_by_its_length():
    assert hash_cases([torch.zeros(1)] * 2) == hash_cases([torch.ones(1)] * 2)
    assert hash_cases([1]) != hash_cases([1, 2])


def test_networks_of_other_shapes_or_names_have_other_hashes():
    hashes = {hash_module(nn.Linear(1, 2)), hash_module(nn.Linear(2, 1)), hash_module(nn.PReLU())}
    assert len(hashes) == 3
    assert hash_module(nn.Linear(1, 2)) == hash_module(nn.Linear(1, 2))


def test_a_card_repeats_what_its_encoder_was_pretrained_by(network, tmp_path):
    start = Card(
        {"encoder": ENCODER},
        channels=("T1", "T2"),
        pretext={"_target_": "volseg.pretext.masked.MaskedReconstruction", "block": 8},
        steps=7,
        data={"num_cases": 3},
    )
    save_weights(tmp_path / "encoder.safetensors", {"encoder": network.encoder}, start)
    config = tmp_path / "train.json"
    config.write_text(json.dumps({"network_def": SEGMENTER}))
    card = card_of_config(config, encoder=tmp_path / "encoder.safetensors")
    assert card["pretext"] == {**start.pretext, "steps": 7, "data": {"num_cases": 3}}
