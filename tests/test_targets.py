"""Paths of classes in a configuration: what is there, and what is misspelt."""

import json
from pathlib import Path

import pytest

from volseg.bundle import Bundle
from volseg.errors import BundleError
from volseg.targets import public_names, require_targets

RIGHT = "volseg.pretext.masked.MaskedReconstruction"


@pytest.mark.parametrize(
    "wrong",
    [
        "volseg.pretext.maskd.MaskedReconstruction",
        "volseg.pretext.MaskedReconstruction",
        "volseg.pretext.masked.MaskedRecon",
        "volseg.pretxt.masked.MaskedReconstruction",
    ],
)
def test_a_misspelt_class_is_told_its_nearest(wrong):
    config = {"train": {"task": {"_target_": wrong}}}
    said = f"train::task names '{wrong}', which volseg does not have; the nearest is '{RIGHT}'"
    with pytest.raises(BundleError, match=f"^train.json: {said}$"):
        require_targets(Path("train.json"), config)


def test_what_is_there_or_of_another_package_passes():
    names = [RIGHT, "torch.nn.Nothing", "@task", "volseg.bundle.Bundle.find"]
    require_targets(Path("train.json"), {name: {"_target_": name} for name in names})
    require_targets(Path("train.json"), {"volseg.pretext.nothing": "volseg.pretext.nothing"})


def test_names_are_those_that_can_be_imported_from_where_they_are_defined():
    names = list(public_names())
    assert {RIGHT, "volseg.bundle.Bundle", "volseg.networks.residual.tiny"} <= set(names)
    assert not [name for name in names if "._" in name]


def test_a_bundle_names_the_file_and_the_nearest_class():
    found = Bundle.find("masked_volume_pretraining")
    with pytest.raises(BundleError, match=r"train\.json: task names .* the nearest is"):
        found.raw_config("train", {"task::_target_": "volseg.pretext.maskd.MaskedReconstruction"})


def test_a_misspelt_class_is_not_taken_for_foreign_code(tmp_path):
    Bundle.find("masked_volume_pretraining").copy_to(tmp_path)
    path = tmp_path / "configs" / "train.json"
    config = json.loads(path.read_text())
    config["task"]["_target_"] = "volseg.pretext.masked.MaskedReconstructoin"
    path.write_text(json.dumps(config))
    with pytest.raises(BundleError, match=f"the nearest is '{RIGHT}'"):
        Bundle.find(tmp_path).config("train")
