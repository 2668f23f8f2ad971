"""What a report says about good, missed and unusable cases."""

import json
import re
from math import isnan

import nibabel as nib
import numpy as np
import pytest

from volseg.errors import DataError
from volseg.evaluation.metrics import score_classes
from volseg.evaluation.pairs import find_pairs
from volseg.evaluation.report import ALL_CLASSES, evaluate_pairs

NAMES = {0: "background", 1: "anterior", 2: "posterior"}
DIAGONAL = (6**2 + 8**2 + 24**2) ** 0.5  # 6 x 8 x 8 voxels of 1 x 1 x 3 mm: 26 mm


def save(path, values, shift=0.0):
    path.parent.mkdir(parents=True, exist_ok=True)
    affine = np.diag([1.0, 1, 3, 1])
    affine[0, 3] = shift
    nib.save(nib.Nifti1Image(values.astype(np.uint8), affine), path)


def label_map(*, offset=0):
    """Make two blocks of 2 x 4 x 4 voxels, moved along the second axis."""
    values = np.zeros((6, 8, 8))
    values[0:2, offset : offset + 4, 2:6] = 1
    values[3:5, offset : offset + 4, 2:6] = 2
    return values


@pytest.fixture
def folders(tmp_path):
    """Give predictions and references with a good and a half-right case."""
    found, truth = tmp_path / "found", tmp_path / "truth"
    for name, offset in (("good", 0), ("half", 2)):
        save(truth / f"{name}.nii.gz", label_map())
        save(found / f"{name}.nii.gz", label_map(offset=offset))
    return found, truth


def evaluate(folders, classes=NAMES, **settings):
    pairs, unmatched = find_pairs(*folders)
    return evaluate_pairs(pairs, classes, unmatched=unmatched, **settings)


def test_each_case_and_class_has_the_scores_of_its_masks(folders):
    report = evaluate(folders)
    good, half = report.cases
    assert (good.name, good.status, good.scores["anterior"].dice) == ("good", "scored", 1)
    expected = score_classes(
        label_map(offset=2).astype(int), label_map().astype(int), (1, 1, 3), NAMES
    )
    assert half.scores == expected
    assert half.scores["posterior"].dice == 0.5
    assert half.scores["posterior"].hausdorff95 == pytest.approx(2)
    assert report.is_complete


def test_means_are_over_cases_and_ends_are_the_two_cases(folders):
    report = evaluate(folders)
    dice = report.summary["anterior"]["dice"]
    # drawing two cases of two: a quarter of the draws is one case twice
    assert (dice.mean, dice.low, dice.high, dice.cases) == (0.75, 0.5, 1, 2)
    assert report.summary[ALL_CLASSES]["dice"].mean == 0.75


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda path: path.unlink(), "no prediction"),
        (lambda path: path.write_bytes(path.read_bytes()[:80]), "good"),
        (lambda path: save(path, label_map(), shift=7.5), "7.5 mm from"),
        (lambda path: save(path, label_map()[:, :7]), r"has shape \(6, 7, 8\)"),
        (lambda path: save(path, label_map() * 2), "holds label 4, which is not among"),
    ],
    ids=["absent", "truncated", "shifted", "cropped", "unknown label"],
)
def test_a_case_without_usable_prediction_counts_as_the_worst(folders, spoil, reason):
    spoil(folders[0] / "good.nii.gz")
    report = evaluate(folders)
    missed = report.cases[0]
    assert missed.status == "missed"
    assert re.search(reason, missed.reason)
    score = missed.scores["posterior"]
    assert (score.dice, score.surface_dice) == (0, 0)
    assert score.hausdorff95 == pytest.approx(DIAGONAL)
    assert report.summary["posterior"]["dice"].mean == 0.25
    assert report.summary["posterior"]["hausdorff95"].mean == pytest.approx((DIAGONAL + 2) / 2)
    assert not report.is_complete
    assert f"missed: good: {missed.reason}" in report.table()


def test_a_reference_that_cannot_be_used_is_scored_nowhere(folders):
    save(folders[1] / "good.nii.gz", label_map() * 3)
    report = evaluate(folders)
    assert report.cases[0].status == "failed"
    assert "holds label 3" in report.cases[0].reason
    assert report.summary["anterior"]["dice"].cases == 1
    assert "failed: good: " in report.table()
    assert not report.is_complete


def test_a_class_in_neither_map_is_left_out_and_an_invented_one_is_worst(folders):
    classes = {**NAMES, 3: "cyst", 4: "vessel"}
    invented = label_map()
    invented[5, 7, 7] = 4
    save(folders[0] / "good.nii.gz", invented)
    report = evaluate(folders, classes)
    assert isnan(report.cases[0].scores["cyst"].dice)
    assert report.summary["cyst"]["dice"].cases == 0
    assert report.summary["vessel"]["dice"].cases == 1
    assert report.summary["vessel"]["dice"].mean == 0
    # good: anterior and posterior 1, vessel 0; half: two halves
    assert report.summary[ALL_CLASSES]["dice"].mean == pytest.approx((2 / 3 + 1 / 2) / 2)


def test_without_names_every_value_that_occurs_is_scored_by_its_number(folders):
    extra = label_map()
    extra[5, 7, 7] = 12
    save(folders[0] / "half.nii.gz", extra)
    report = evaluate(folders, None)
    assert list(report.summary) == ["1", "2", "12", ALL_CLASSES]
    assert report.summary["12"]["dice"].mean == 0
    assert list(report.cases[0].scores) == ["1", "2"]


def test_groups_are_drawn_whole_and_must_be_complete(folders):
    report = evaluate(folders, groups={"good": "p1", "half": "p1"})
    assert isnan(report.summary["anterior"]["dice"].low)
    with pytest.raises(DataError, match="no group for case 'half'"):
        evaluate(folders, groups={"good": "p1"})


def test_predictions_without_a_reference_are_named_and_count_nowhere(folders):
    save(folders[0] / "stray.nii.gz", label_map())
    report = evaluate(folders)
    assert "no reference for" in report.table()
    assert "stray.nii.gz" in report.table()
    assert report.summary["anterior"]["dice"].cases == 2
    assert report.is_complete


def test_the_table_has_a_line_a_case_and_class_and_a_line_of_means(folders):
    lines = evaluate(folders).table().splitlines()
    assert " ".join(lines[0].split()) == "case class Dice HD95 mm surface Dice at 1 mm"
    assert [line.split()[:3] for line in lines[1:5]] == [
        ["good", "anterior", "1.000"],
        ["good", "posterior", "1.000"],
        ["half", "anterior", "0.500"],
        ["half", "posterior", "0.500"],
    ]
    assert lines[7].startswith("anterior")
    assert "0.750 [0.500, 1.000]" in lines[7]


def test_json_holds_every_number_and_none_where_there_is_none(folders):
    report = evaluate(folders, {**NAMES, 3: "cyst"})
    document = json.loads(json.dumps(report.to_json(), allow_nan=False))
    half = document["cases"][1]
    assert half["scores"]["anterior"]["dice"] == 0.5
    assert half["scores"]["cyst"] == {"dice": None, "hausdorff95": None, "surface_dice": None}
    mean = document["summary"]["anterior"]["dice"]
    assert mean == {"mean": 0.75, "low": 0.5, "high": 1.0, "cases": 2}
    assert document["tolerance_mm"] == 1


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "reason"),
    [("shifted", "7.5 mm from"), ("flipped", "mm from"), ("othershape", "has shape")],
)
def test_real_label_maps_on_another_grid_are_never_compared(shared_data, tmp_path, name, reason):
    folder = shared_data / "hostile" / "14_label_geometry_mismatch"
    image = nib.load(folder / "imagesTr" / f"{name}.nii.gz")
    truth = (np.asanyarray(image.dataobj) > 100).astype(np.uint8)
    nib.save(nib.Nifti1Image(truth, image.affine), tmp_path / "truth.nii.gz")
    pairs, _ = find_pairs(folder / "labelsTr" / f"{name}.nii.gz", tmp_path / "truth.nii.gz")
    report = evaluate_pairs(pairs)
    assert report.cases[0].status == "missed"
    assert reason in report.cases[0].reason
    assert report.summary["1"]["dice"].mean == 0
