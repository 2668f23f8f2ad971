"""Loads, grades, and scores of predicted grades."""

import nibabel as nib
import numpy as np
import pytest

from volseg.errors import DataError
from volseg.evaluation.classes import evaluate_classes
from volseg.evaluation.grading import grade_of, measure_load, quantile_thresholds


def test_a_load_is_a_volume_and_a_share_of_the_organ(tmp_path):
    mask = np.zeros((10, 10, 10), np.uint8)
    mask[:5] = 1  # organ: 500 voxels, of which
    mask[0, :, :] = 2  # 100 are lesion
    path = tmp_path / "m.nii.gz"
    nib.save(nib.Nifti1Image(mask, np.diag([-2.0, 1, 3, 1])), path)
    load = measure_load(path, [2], [1])
    assert (load.ml, load.organ_ml, load.share) == pytest.approx((0.6, 3.0, 0.2))
    assert measure_load(path).ml == pytest.approx(3.0)
    assert np.isnan(measure_load(path, [2]).share)
    assert np.isnan(measure_load(path, [7], [8]).share)


def test_thresholds_that_do_not_rise_and_loads_that_do_not_differ_are_refused():
    with pytest.raises(DataError, match="give them rising"):
        grade_of(1, [2, 2])
    with pytest.raises(DataError, match="too alike for 3 grades"):
        quantile_thresholds([0, 0, 0, 0, 5], 3)
    with pytest.raises(DataError, match="tell nothing apart"):
        quantile_thresholds([1, 2], 1)
    with pytest.raises(DataError, match="its mask holds no organ"):
        grade_of(float("nan"), [1])


LABELS = {"a": "0", "b": "0", "c": "1", "d": "2", "e": "2"}
CLASSES = ("0", "1", "2")


def one_hot(answers):
    return {name: [float(each == said) for each in CLASSES] for name, said in answers.items()}


class TestClasses:
    def test_all_right_is_one_and_the_confusion_is_diagonal(self):
        found = evaluate_classes(one_hot(LABELS), LABELS, CLASSES)
        assert [score.mean for score in found.scores.values()] == [1, 1, 1]
        assert found.confusion.tolist() == [[2, 0, 0], [0, 1, 0], [0, 0, 2]]
        assert found.is_complete

    def test_a_case_without_a_prediction_counts_as_the_worst(self):
        said = one_hot({**LABELS, "x": "1"})
        del said["d"]
        found = evaluate_classes(said, LABELS, CLASSES)
        assert found.confusion.tolist() == [[2, 0, 0], [0, 1, 0], [1, 0, 1]]
        assert (found.missed, found.unmatched) == (["d"], ["x"])
        assert found.scores["balanced accuracy"].mean == pytest.approx((1 + 1 + 0.5) / 3)
        assert "missed: d: no prediction" in found.table()

    def test_a_class_that_does_not_occur_has_no_curve(self):
        labels = {"a": "0", "b": "0", "c": "1"}
        found = evaluate_classes(one_hot(labels), labels, CLASSES)
        assert found.to_json()["roc"]["sensitivity"] == {"0": [1.0] * 11, "1": [1.0] * 11}

    def test_kappa_is_for_numbers_alone(self):
        labels = {"a": "x", "b": "y"}
        found = evaluate_classes({"a": [1, 0], "b": [0, 1]}, labels, ["x", "y"])
        assert list(found.scores) == ["balanced accuracy", "AUC"]

    def test_unknown_labels_and_other_cases_are_refused(self):
        with pytest.raises(DataError, match="a has the label '0'; the classes are 1, 2"):
            evaluate_classes({}, LABELS, ["1", "2"])
        with pytest.raises(DataError, match="no prediction is of a case with a label"):
            evaluate_classes({"z": [1, 0, 0]}, LABELS, CLASSES)
