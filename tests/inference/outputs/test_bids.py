"""Derivatives are described and linked as BIDS wants it."""

import json
from pathlib import Path

import pytest

from tests.inference.outputs.readings import files_in
from volseg import __version__
from volseg.errors import DataError
from volseg.inference.outputs.bids import bids_sources, write_bids_description


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
    assert files_in(folder) == [".bidsignore", "README", "dataset_description.json"]


def test_sources_are_references_into_the_data_set(tmp_path):
    file = tmp_path / "sub-1" / "anat" / "sub-1_T1w.nii.gz"
    assert bids_sources([file], tmp_path) == ["bids:raw:sub-1/anat/sub-1_T1w.nii.gz"]
    with pytest.raises(DataError, match="is not in the data set"):
        bids_sources([Path("/elsewhere/a.nii.gz")], tmp_path)
