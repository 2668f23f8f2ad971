"""Derivatives are named, described and linked as BIDS wants it."""

import json
from pathlib import Path

import pytest

from tests.inference.outputs.readings import files_in
from volseg import __version__
from volseg.errors import DataError
from volseg.inference.outputs.bids import bids_path, bids_sources, write_bids_description

NAMES = {
    "sub-01/anat/sub-01_T1w": "sub-01/anat/sub-01_desc-volseg_dseg.nii.gz",
    "sub-01/ses-pre/anat/sub-01_ses-pre_acq-mprage_run-2_T1w": (
        "sub-01/ses-pre/anat/sub-01_ses-pre_acq-mprage_run-2_desc-volseg_dseg.nii.gz"
    ),
    "sub-A/anat/sub-A_desc-brain_FLAIR": "sub-A/anat/sub-A_desc-volseg_dseg.nii.gz",
}


@pytest.mark.parametrize("name", NAMES)
def test_the_entities_of_the_image_stay_and_its_suffix_goes(name):
    assert str(bids_path(name)) == NAMES[name]


def test_description_and_suffix_can_be_chosen():
    path = bids_path("sub-1/anat/sub-1_T1w", "T1tumour", "probseg")
    assert str(path) == "sub-1/anat/sub-1_desc-T1tumour_probseg.nii.gz"


@pytest.mark.parametrize("name", ["scan", "sub-01", "ses-1_T1w", "sub-01/sub-01_T1 w_x", "sub_T1w"])
def test_other_names_are_refused(name):
    with pytest.raises(DataError, match=r"it has the form sub-01/anat/sub-01_T1w"):
        bids_path(name)
    with pytest.raises(DataError, match="'a-b' is no value of a BIDS entity"):
        bids_path("sub-01/anat/sub-01_T1w", "a-b")


def test_the_data_set_says_what_made_it_and_from_what(tmp_path):
    folder = tmp_path / "raw" / "derivatives" / "volseg"
    write_bids_description(folder, tmp_path / "raw", {"Container": {"Type": "docker"}})
    content = json.loads((folder / "dataset_description.json").read_text())
    assert content == {
        "Name": "Segmentations by volseg",
        "BIDSVersion": "1.10.0",
        "DatasetType": "derivative",
        "GeneratedBy": [
            {"Name": "volseg", "Version": __version__, "Container": {"Type": "docker"}}
        ],
        "SourceDatasets": [{"URL": (tmp_path / "raw").as_uri()}],
        "DatasetLinks": {"raw": "../.."},
    }
    (folder / "README").write_text("mine")
    write_bids_description(folder)
    assert (folder / "README").read_text() == "mine"
    assert "DatasetLinks" not in json.loads((folder / "dataset_description.json").read_text())
    assert files_in(folder) == ["README", "dataset_description.json"]


def test_sources_are_references_into_the_data_set(tmp_path):
    file = tmp_path / "sub-1" / "anat" / "sub-1_T1w.nii.gz"
    assert bids_sources([file], tmp_path) == ["bids:raw:sub-1/anat/sub-1_T1w.nii.gz"]
    with pytest.raises(DataError, match="is not in the data set"):
        bids_sources([Path("/elsewhere/a.nii.gz")], tmp_path)
