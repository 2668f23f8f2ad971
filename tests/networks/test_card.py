"""The card: what it says survives, what is no card is refused, and it can build no harm."""

import dataclasses
import hashlib
import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from volseg.errors import WeightsError
from volseg.networks.card import FORMAT, Card, describe_data
from volseg.networks.config import build
from volseg.networks.fingerprint import Fingerprint
from volseg.networks.residual import ResidualEncoder
from volseg.networks.segmenter import Segmenter

ENCODER = {
    "_target_": "volseg.networks.residual.ResidualEncoder",
    "in_channels": 1,
    "widths": [4, 8],
}
CARD = Card(
    network={"encoder": ENCODER},
    channels=("T1",),
    spacing=(1.0, 1.0, 1.2),
    patch_size=(16, 24, 32),
    normalizer={"_target_": "volseg.transforms.intensity.NormalizeForegroundd", "lower": 0.5},
    pretext={"_target_": "volseg.pretext.masked.MaskedReconstruction", "ratio": 0.6},
    steps=120,
    data=describe_data(["Task04_Hippocampus"], "CC BY-SA 4.0", ["a", "b"]),
    fingerprint=Fingerprint((8, 16, 24), ((0.1, 1.0, 0.25, -3.0, 7.0),)),
)


@given(
    channels=st.lists(st.text(max_size=8), min_size=1).map(tuple),
    steps=st.integers(0, 10**9),
    spacing=st.none() | st.tuples(*(st.floats(0.1, 9),) * 3),
    normalizer=st.dictionaries(st.text(max_size=5), st.floats(-1e6, 1e6)),
)
def test_a_card_written_and_read_is_the_same(channels, steps, spacing, normalizer):
    card = dataclasses.replace(
        CARD, channels=channels, steps=steps, spacing=spacing, normalizer=normalizer
    )
    assert Card.from_json(card.to_json()) == card


def test_orientation_and_pretext_survive():
    read = Card.from_json(dataclasses.replace(CARD, orientation="LPS").to_json())
    assert read.orientation == "LPS"
    assert read.pretext["ratio"] == 0.6


def test_a_card_as_a_dictionary_is_its_json():
    assert CARD.to_dict() == json.loads(CARD.to_json())
    assert CARD.to_dict()["patch_size"] == [16, 24, 32]


@pytest.mark.parametrize("value", [Path("a"), math.nan, {1, 2}])
def test_a_value_that_json_has_no_form_for_is_refused(value):
    with pytest.raises(WeightsError, match="no form for"):
        dataclasses.replace(CARD, normalizer={"lower": value}).to_json()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": FORMAT + 1}, "not of format"),
        ({"colour": "red"}, r"unknown fields \['colour'\]"),
        ({"channels": []}, "channels is"),
        ({"channels": "T1"}, "channels is 'T1'"),
        ({"spacing": [1, 1]}, "spacing is"),
        ({"spacing": [1, 1, 0]}, "spacing is"),
        ({"patch_size": [8, 8, True]}, "patch_size is"),
        ({"patch_size": [8, 8, 1.5]}, "patch_size is"),
        ({"steps": -1}, "steps is -1"),
        ({"steps": None}, "steps is None"),
        ({"orientation": 7}, "orientation is 7"),
        ({"versions": {"torch": 2}}, "versions is"),
        ({"network": ["a"]}, "network is"),
        ({"fingerprint": {"size": [1, 2]}}, "fingerprint is"),
        ({"fingerprint": {"size": [1, 2, 3], "levels": [["x"]]}}, "fingerprint is"),
    ],
)
def test_a_card_with_a_wrong_field_is_refused_by_name(change, message):
    text = json.dumps({**json.loads(CARD.to_json()), **change})
    with pytest.raises(WeightsError, match=message):
        Card.from_json(text)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"format": 1}', "[" * 100_000])
def test_text_that_is_no_card_is_refused(text):
    with pytest.raises(WeightsError, match=r"card is not|lacks"):
        Card.from_json(text)


def test_the_hash_of_the_cases_does_not_depend_on_their_order():
    one = describe_data(["IXI"], "CC BY-SA 3.0", ["b", "a"])
    assert one == describe_data(["IXI"], "CC BY-SA 3.0", ["a", "b"])
    assert one["case_hash"] == hashlib.sha256(b"a\nb").hexdigest()
    assert one["case_hash"] != describe_data(["IXI"], "", ["a", "c"])["case_hash"]


def test_a_config_builds_the_network_it_describes():
    segmenter = build(
        {
            "_target_": "volseg.networks.segmenter.Segmenter",
            "encoder": ENCODER,
            "num_classes": 3,
            "decoder": {
                "_target_": "volseg.networks.decoder.ConvolutionalDecoder",
                "_mode_": "callable",
                "width": None,
            },
        }
    )
    assert isinstance(segmenter, Segmenter)
    assert isinstance(segmenter.encoder, ResidualEncoder)
    assert segmenter.encoder.spec.channels == (4, 8)
    assert segmenter.heads[0].out_channels == 3


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "builtins.eval",
        "torch.load",
        "volseg.networks",
        "volseg.networks_evil.x",
        "volseg.data.pipelines.preprocessing",
        "volseg.networks.weights.save_state_dict",
        "volseg.networks.storage.write_atomically",
        "volseg.networks.storage.os.system",
        "volseg.networks.config.import_module",
        "volseg.networks.residual.torch.load",
        "volseg.networks.residual.nn",
        "volseg.networks.residual.UnetResBlock",
        "volseg.networks.residual.missing",
        "volseg.networks.missing.Network",
        "volseg.networks..residual.tiny",
        "volseg.networks.encoder.FeatureSpec",
        "volseg.networks.card.Card",
        "",
        7,
    ],
)
def test_a_hostile_card_can_name_nothing_but_networks_of_volseg(target, tmp_path):
    bait = tmp_path / "bait"
    for arguments in ({"path": str(bait)}, {"command": f"touch {bait}"}, {}):
        with pytest.raises(WeightsError, match="network config names"):
            build({"_target_": target, **arguments})
    assert not bait.exists()


def test_a_hostile_argument_is_refused_like_a_hostile_target():
    evil = {"_target_": "os.system", "command": "true"}
    with pytest.raises(WeightsError, match=r"only volseg\.networks\.\* may be built"):
        build({**ENCODER, "widths": [4, evil]})


@pytest.mark.parametrize("value", ["$__import__('os').getpid()", "@other", "%file.json"])
def test_expressions_and_references_are_refused(value):
    with pytest.raises(WeightsError, match="expression"):
        build({**ENCODER, "in_channels": value})


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({**ENCODER, "colour": 1}, "does not take the arguments"),
        ({**ENCODER, "in_channels": -1}, "does not take the arguments"),
        ({**ENCODER, "_mode_": "debug"}, "_mode_"),
        ({**ENCODER, "_mode_": "callable"}, "describes no network"),
        ({"widths": [4]}, "describes no network"),
    ],
)
def test_a_config_that_makes_no_network_is_refused(config, message):
    with pytest.raises(WeightsError, match=message):
        build(config)
