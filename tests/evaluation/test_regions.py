"""Regions, and references whose values mean something else."""

import json

import nibabel as nib
import numpy as np
import pytest

from volseg.errors import DataError
from volseg.evaluation.regions import Regions, parse_region, parse_relabel
from volseg.evaluation.report import ALL_CLASSES
from volseg.workflows.evaluate import evaluate

CLASSES = {0: "background", 1: "necrosis", 2: "oedema", 3: "enhancing"}
BRATS = Regions({"WT": [1, 2, 3], "TC": [1, 3], "ET": [3]})


def write(folder, name, *labels):
    """Write a label map of one row of voxels, each 1 mm wide."""
    folder.mkdir(exist_ok=True)
    row = np.array(labels, np.uint8).reshape(-1, 1, 1).repeat(2, 1).repeat(2, 2)
    nib.save(nib.Nifti1Image(row, np.eye(4)), folder / f"{name}.nii.gz")
    return folder


@pytest.fixture
def folders(tmp_path):
    """Exchange one voxel of necrosis for oedema, and one of enhancing tumour for necrosis."""
    found = write(tmp_path / "found", "a", 0, 2, 2, 1, 1, 3, 0, 0)
    truth = write(tmp_path / "truth", "a", 0, 2, 1, 1, 3, 3, 0, 0)
    return found, truth


def test_a_region_is_the_union_of_its_classes(folders):
    report = evaluate(*folders, CLASSES, regions=BRATS)
    dice = {name: score.dice for name, score in report.cases[0].scores.items()}
    # whole: the same 5 voxels; core: 3 of 3 and 4; enhancing: 1 of 1 and 2
    assert dice["WT"] == 1.0
    assert dice["TC"] == pytest.approx(2 * 3 / (3 + 4))
    assert dice["ET"] == dice["enhancing"] == pytest.approx(2 * 1 / (1 + 2))
    assert report.summary["TC"]["dice"].mean == pytest.approx(6 / 7)


def test_regions_do_not_count_in_the_mean_over_the_classes(folders):
    bare, full = (evaluate(*folders, CLASSES, regions=given) for given in (None, BRATS))
    assert bare.summary[ALL_CLASSES] == full.summary[ALL_CLASSES]


def test_references_of_another_year_are_read_in_the_values_of_this_one(tmp_path):
    found = write(tmp_path / "found", "a", 0, 1, 2, 3)
    truth = write(tmp_path / "truth", "a", 0, 1, 2, 4)
    with_map = evaluate(found, truth, CLASSES, regions=Regions(relabel={4: 3}))
    assert with_map.is_complete
    assert with_map.summary[ALL_CLASSES]["dice"].mean == 1.0
    without = evaluate(found, truth, CLASSES)
    assert without.cases[0].status == "failed"
    assert "holds label 4" in without.cases[0].reason


def test_predictions_are_not_relabelled(tmp_path):
    found = write(tmp_path / "found", "a", 0, 1, 2, 4)
    truth = write(tmp_path / "truth", "a", 0, 1, 2, 4)
    report = evaluate(found, truth, CLASSES, regions=Regions(relabel={4: 3}))
    assert report.cases[0].status == "missed"


def test_a_bundle_brings_its_regions_and_given_ones_take_their_place(folders):
    own = evaluate(*folders, bundle="brain_tumor_segmentation")
    assert {"WT", "TC", "ET"} <= set(own.summary)
    given = evaluate(*folders, bundle="brain_tumor_segmentation", regions=Regions({"core": [1, 3]}))
    assert "core" in given.summary
    assert "TC" not in given.summary
    assert json.dumps(given.to_json())


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"RC": [4]}, r"region RC holds 4; the classes are .*3 \(enhancing\)"),
        ({"oedema": [1]}, "region oedema is the name of a class too"),
    ],
)
def test_a_region_that_is_not_of_the_classes_is_refused(folders, values, said):
    with pytest.raises(DataError, match=said):
        evaluate(*folders, CLASSES, regions=Regions(values))


@pytest.mark.parametrize("values", [[], [0, 1]])
def test_a_region_of_nothing_or_of_the_background_is_refused(values):
    with pytest.raises(DataError, match="give label values from 1"):
        Regions({"A": values})


@pytest.mark.parametrize("text", ["WT", "=1", "WT=", "WT=a", "WT=1,,2"])
def test_a_region_that_is_not_written_as_one_is_refused(text):
    with pytest.raises(ValueError, match="is no region; write NAME=VALUE"):
        parse_region(text)


@pytest.mark.parametrize("text", ["4", "4=", "a=3"])
def test_a_change_of_values_that_is_not_written_as_one_is_refused(text):
    with pytest.raises(ValueError, match="write OLD=NEW such as 4=3"):
        parse_relabel(text)
