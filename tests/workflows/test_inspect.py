"""What is said of a volume, a folder, a data set, weights and a bundle."""

import json
import shutil

import nibabel as nib
import numpy as np
import pytest
import torch

from tests.bundles.synthetic import write_dataset
from volseg.errors import DataError
from volseg.networks.card import Card
from volseg.networks.residual import ResidualEncoder
from volseg.networks.weights import save_weights
from volseg.workflows.inspect import inspect


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "tiny"
    write_dataset(folder)
    return folder


def change(path, function):
    image = nib.load(path)
    values = function(np.asarray(image.dataobj).copy())
    nib.save(nib.Nifti1Image(values, image.affine), path)


def test_a_sound_volume_is_described(data):
    found = inspect(data / "imagesTr" / "case_2.nii.gz")
    assert (found.kind, found.is_sound) == ("volume", True)
    assert tuple(found.facts["shape"]) == (17, 18, 22)
    np.testing.assert_allclose(found.facts["spacing"], (1, 1.5, 1), atol=1e-6)
    assert "no problem found" in str(found)
    json.dumps(found.to_json())


def test_a_volume_with_four_axes_has_a_problem(tmp_path):
    path = tmp_path / "time.nii"
    nib.save(nib.Nifti1Image(np.zeros((4, 4, 4, 5), np.float32), np.eye(4)), path)
    found = inspect(path)
    assert not found.is_sound
    assert "problem: has a 4th axis" in str(found)


def test_a_folder_is_summed_up_and_each_bad_file_named(data):
    (data / "imagesTr" / "bad.nii.gz").touch()
    found = inspect(data / "imagesTr")
    assert (found.kind, found.facts["cases"], found.facts["labelled"]) == ("folder", 4, 0)
    assert found.facts["smallest shape"] == [17, 16, 17]
    assert found.facts["largest shape"] == [20, 21, 22]
    assert found.facts["orientations"]["RAS"] == 2
    (problem,) = found.problems
    assert problem.endswith("bad.nii.gz: is empty")


def test_a_folder_without_volumes_has_a_problem(tmp_path):
    found = inspect(tmp_path)
    assert found.problems[0].startswith(f"{tmp_path} holds no NIfTI file")


@pytest.mark.parametrize("name", ["", "dataset.json"])
def test_a_data_set_is_known_by_its_folder_or_its_list(data, name):
    found = inspect(data / name)
    assert (found.kind, found.is_sound) == ("dataset", True)
    assert (found.facts["cases"], found.facts["labelled"], found.facts["groups"]) == (3, 3, 3)
    assert found.facts["classes"] == {"0": "class 0", "1": "class 1", "2": "class 2"}


def test_a_label_value_that_the_data_set_does_not_know_is_a_problem(data):
    change(data / "labelsTr" / "case_1.nii.gz", lambda values: values * 3)
    (problem,) = inspect(data).problems
    assert "case_1.nii.gz: holds the label value 3" in problem


def test_a_label_on_another_grid_is_a_problem(data):
    change(data / "labelsTr" / "case_0.nii.gz", lambda values: values[1:])
    (problem,) = inspect(data).problems
    assert "labelsTr/case_0.nii.gz" in problem
    assert "must share a grid" in problem


def test_voxels_that_are_not_finite_are_a_warning(data):
    def spoil(values):
        values[0, 0, 0] = np.nan
        return values

    change(data / "imagesTr" / "case_0.nii.gz", spoil)
    found = inspect(data)
    assert found.is_sound
    assert "NaN" in found.warnings[0]


def test_weights_are_described_by_their_card(tmp_path):
    path = tmp_path / "encoder.safetensors"
    card = Card({"encoder": {}}, ("T1",), steps=7)
    save_weights(path, {"encoder": ResidualEncoder(1, (2, 4))}, card)
    found = inspect(path)
    assert (found.kind, found.is_sound, found.facts["steps"]) == ("weights", True, 7)
    assert found.facts["format"] == "safetensors"
    assert "fingerprint" not in found.facts


def test_weights_without_a_card_are_a_warning(tmp_path):
    torch.save({"weight": torch.zeros(2, 3)}, tmp_path / "model.pt")
    found = inspect(tmp_path / "model.pt")
    assert (found.is_sound, found.facts["parameters"]) == (True, 6)
    assert "has no card" in found.warnings[0]


def test_weights_that_cannot_be_read_are_a_problem(tmp_path):
    (tmp_path / "model.pt").write_bytes(b"nothing")
    found = inspect(tmp_path / "model.pt")
    assert "is not a plain state dict" in found.problems[0]


def test_a_bundle_is_known_by_its_name_and_its_folder(repository):
    by_name = inspect("masked_volume_pretraining")
    by_folder = inspect(repository / "bundles" / "masked_volume_pretraining")
    assert by_name == by_folder
    assert (by_name.kind, by_name.is_sound) == ("bundle", True)
    assert by_name.facts["weights"] == "none"


def test_what_a_bundle_lacks_is_a_problem(tmp_path, repository):
    folder = tmp_path / "bundle"
    shutil.copytree(repository / "bundles" / "masked_volume_pretraining", folder)
    (folder / "configs" / "inference.json").unlink()
    assert inspect(folder).problems == ["configs/inference.json is missing"]


def test_a_path_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        inspect(tmp_path / "nothing")
    with pytest.raises(DataError, match=r"nothing\.pt does not exist; give a volume"):
        inspect(tmp_path / "nothing.pt")  # no bundle is meant by that
