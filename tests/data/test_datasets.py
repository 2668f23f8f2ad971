"""A data set is described, and its bad cases are named."""

import json

import numpy as np
import pytest

from tests.data.files import image, label, save, save_dataset
from volseg.data.datasets import inspect_dataset


def test_a_sound_data_set_is_counted(tmp_path):
    save_dataset(tmp_path, groups=["p", "p", "q"])
    save(tmp_path / "imagesTr/c.nii.gz", image((9, 3, 8)), np.diag([-1.0, 1, 2, 1]))
    save(tmp_path / "labelsTr/c.nii.gz", np.zeros((9, 3, 8), np.uint8), np.diag([-1.0, 1, 2, 1]))
    report = inspect_dataset(tmp_path)
    assert (report.num_cases, report.num_labelled, report.num_groups) == (3, 3, 2)
    assert report.classes == {0: "background", 1: "front", 2: "back"}
    assert report.cases_with == {0: 3, 1: 2, 2: 2}
    assert (report.smallest, report.largest) == ((6, 3, 8), (9, 7, 8))
    assert report.spacings == {"1 x 1 x 1": 2, "1 x 1 x 2": 1}
    assert report.orientations == {"RAS": 2, "LAS": 1}
    assert report.problems == []
    assert json.loads(json.dumps(report.to_json()))["num_cases"] == 3


def test_every_bad_case_is_named_and_the_rest_are_still_read(tmp_path):
    save_dataset(tmp_path, names="abcde")
    (tmp_path / "imagesTr/a.nii.gz").write_bytes(b"text")
    save(tmp_path / "labelsTr/b.nii.gz", label((6, 7, 7)))
    save(tmp_path / "labelsTr/c.nii.gz", 3 * label())
    spoiled = image()
    spoiled[0, 0, 0] = np.nan
    save(tmp_path / "imagesTr/d.nii.gz", spoiled)
    report = inspect_dataset(tmp_path)
    assert [line.split(": ")[0][-11:] for line in report.problems] == [
        f"Tr/{name}.nii.gz" for name in "abc"
    ]
    assert "is not a readable NIfTI file" in report.problems[0]
    assert "has shape (6, 7, 7)" in report.problems[1]
    assert "holds the label value 3" in report.problems[2]
    assert len(report.warnings) == 1
    assert "d.nii.gz: holds 1 voxels that are NaN" in report.warnings[0]
    assert report.cases_with == {0: 2, 1: 2, 2: 2}


def test_a_folder_without_labels_is_described_too(tmp_path):
    save(tmp_path / "x/1.nii", image())
    report = inspect_dataset(tmp_path)
    assert (report.num_cases, report.num_labelled, report.num_groups) == (1, 0, 0)
    assert report.classes == {}


def test_the_cases_can_be_watched(tmp_path):
    save_dataset(tmp_path)
    seen = []

    def watch(cases):
        for case in cases:
            seen.append(case.name)
            yield case

    inspect_dataset(tmp_path, watch)
    assert seen == ["a", "b", "c"]


@pytest.mark.real
def test_the_real_data_set_has_no_problem(shared_data):
    report = inspect_dataset(shared_data / "Dataset901_SarcomaMR" / "imagesTr")
    assert report.num_cases == 12
    assert report.problems == []
    assert report.largest[2] == 62  # its README
    assert report.orientations == {"LPS": 12}
