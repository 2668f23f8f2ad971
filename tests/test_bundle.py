"""A bundle on the disk: found, checked, configured, copied."""

import json
import re
import shutil
from pathlib import Path

import pytest

from volseg.bundle import Bundle, bundle_names, dump, is_bundle
from volseg.errors import BundleError

NAME = "hippocampus_segmentation"


@pytest.fixture
def bundle(tmp_path, repository) -> Bundle:
    folder = tmp_path / "copy"
    shutil.copytree(repository / "bundles" / NAME, folder, ignore=shutil.ignore_patterns("models"))
    return Bundle(folder)


def edit(bundle: Bundle, kind: str, **changes) -> None:
    path = bundle.root / "configs" / f"{kind}.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_a_bundle_of_volseg_is_found_by_name_from_anywhere(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert {NAME, "masked_volume_pretraining"} <= set(bundle_names())
    found = Bundle.find(NAME)
    assert found.name == NAME
    assert found.root.is_absolute()


def test_a_folder_that_only_shares_the_name_does_not_hide_the_bundle(monkeypatch, tmp_path):
    (tmp_path / NAME).mkdir()
    monkeypatch.chdir(tmp_path)
    assert is_bundle(Bundle.find(NAME).root)


def test_a_bundle_is_found_by_its_folder(bundle):
    assert Bundle.find(bundle.root).root == bundle.root.resolve()


def test_a_folder_without_metadata_is_no_bundle(tmp_path):
    with pytest.raises(BundleError, match="is no bundle: it has no configs/metadata"):
        Bundle.find(tmp_path)


def test_an_unknown_name_is_refused_and_the_nearest_named():
    with pytest.raises(BundleError, match=f"did you mean '{NAME}'"):
        Bundle.find("hipocampus_segmentation")


def test_the_config_knows_its_folder_whatever_the_working_directory(bundle, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    config = bundle.config("inference", {"overlap": 0.25})
    assert config.get_parsed_content("weights") == f"{bundle.root}/models/model.pt"
    assert config["displayable_configs"]["overlap"] == 0.25


def test_an_unknown_key_is_refused_with_the_file_and_the_nearest_key(bundle):
    with pytest.raises(BundleError, match=r"train\.json: key 'max_epoch' .*::max_epochs"):
        bundle.config("train", {"max_epoch": 1})


def test_classes_are_named_by_their_label_values(bundle):
    assert bundle.classes() == {0: "background", 1: "anterior", 2: "posterior"}


def test_a_pretraining_bundle_has_no_classes():
    with pytest.raises(BundleError, match="not for segmentation"):
        Bundle.find("masked_volume_pretraining").classes()


def test_missing_weights_are_an_error(bundle):
    with pytest.raises(BundleError, match=r"has no weights: .*train it"):
        bundle.weights()


def test_weights_with_a_card_come_before_the_plain_ones(bundle):
    (bundle.root / "models").mkdir()
    for name in ("model.pt", "model.safetensors"):
        (bundle.root / "models" / name).touch()
        assert bundle.weights().name == name


@pytest.mark.parametrize("name", bundle_names())
def test_the_bundles_of_volseg_have_no_problems(name):
    assert Bundle.find(name).check() == []


def test_a_missing_file_is_a_problem(bundle):
    (bundle.root / "LICENSE").unlink()
    (bundle.root / "configs" / "train.json").unlink()
    assert bundle.check() == ["LICENSE is missing", "configs/train.json is missing"]


def test_a_missing_id_is_a_problem(bundle):
    edit(bundle, "inference", evaluator=None, run=None)
    config = json.loads((bundle.root / "configs" / "inference.json").read_text())
    del config["evaluator"], config["dataset"]
    (bundle.root / "configs" / "inference.json").write_text(json.dumps(config))
    problems = bundle.check()
    assert "configs/inference.json has no id evaluator" in problems
    assert "configs/inference.json has no id dataset::data" in problems


@pytest.mark.parametrize("text", ["{", "[]"])
def test_a_config_that_is_no_json_object_is_a_problem(bundle, text):
    (bundle.root / "configs" / "train.json").write_text(text)
    (problem,) = bundle.check()
    assert "train.json" in problem
    with pytest.raises(BundleError, match=r"train\.json"):
        bundle.raw_config("train")


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        ("inference", {"spacing": [2, 2, 2]}, r"spacing is .* train.json and \[2, 2, 2\] in inf"),
        ("inference", {"num_classes": 4}, "num_classes is 4 in inference.json, but the network"),
        ("metadata", {"network_data_format": {"outputs": {"pred": {"channel_def": {"0": "b"}}}}},
         "num_classes is 3 in train.json and 1 in metadata.json"),
        ("metadata", {"network_data_format": {"inputs": {"image": {"spatial_shape": [8, 8, 8]}}}},
         r"patch_size is .* in train.json and \[8, 8, 8\] in metadata.json"),
        ("metadata", {"network_data_format": {"inputs": {"image": {"channel_def": {"0": "CT"}}}}},
         r"channels is \['MRI'\] in train.json and \['CT'\] in metadata.json"),
    ],
)  # fmt: skip
def test_facts_that_contradict_each_other_are_problems(bundle, kind, changes, message):
    edit(bundle, kind, **changes)
    assert [problem for problem in bundle.check() if re.search(message, problem)]


def test_a_copy_has_the_changed_facts_in_every_file_and_no_weights(bundle, tmp_path):
    (bundle.root / "models").mkdir()
    (bundle.root / "models" / "model.pt").touch()
    copy = bundle.copy_to(tmp_path / "run", {"patch_size": [16, 24, 16], "max_epochs": 2})
    assert copy.check() == []
    assert copy.raw_config("train")["train"]["trainer"]["max_epochs"] == 2
    assert copy.raw_config("inference")["patch_size"] == [16, 24, 16]
    formats = copy.metadata["network_data_format"]
    assert formats["inputs"]["image"]["spatial_shape"] == [16, 24, 16]
    assert formats["outputs"]["pred"]["spatial_shape"] == [16, 24, 16]
    assert not (copy.root / "models").exists()
    assert bundle.raw_config("train")["train"]["trainer"]["max_epochs"] != 2


def test_a_copy_that_would_contradict_itself_is_refused_before_anything_is_written(
    bundle, tmp_path
):
    with pytest.raises(BundleError, match="contradict each other: num_classes is 4"):
        bundle.copy_to(tmp_path / "run", {"num_classes": 4})
    assert not (tmp_path / "run").exists()


def test_a_copy_onto_a_file_is_refused(bundle, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(BundleError, match="cannot copy"):
        bundle.copy_to(tmp_path / "file")


def test_paths_are_written_as_text_and_anything_else_is_refused():
    assert json.loads(dump({"path": Path("a/b")})) == {"path": "a/b"}
    with pytest.raises(BundleError, match="no form in JSON"):
        dump({"value": object()})
