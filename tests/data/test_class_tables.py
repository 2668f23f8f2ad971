"""Tables of classes, read and written."""

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from volseg.data.case import Case
from volseg.data.class_tables import (
    SaveClassesd,
    chances_of_table,
    classified_cases,
    classified_items,
    labels_of_table,
)
from volseg.errors import DataError


@pytest.fixture
def data(tmp_path):
    for name in "abcd":
        nib.save(
            nib.Nifti1Image(np.zeros((2, 2, 2), np.float32), np.eye(4)), tmp_path / f"{name}.nii.gz"
        )
    (tmp_path / "labels.csv").write_text("case,label,group\na,mild,1\nb,severe,1\nc,mild,2\n")
    return tmp_path


def test_labelled_cases_become_numbers_and_the_others_are_left_out(data):
    items = classified_items(data, data / "labels.csv", ["mild", "severe"])
    found = [(item["image"][-8:], item["label"]) for item in items]
    assert found == [("a.nii.gz", 0), ("b.nii.gz", 1), ("c.nii.gz", 0)]


def test_a_group_stays_together(data):
    parts = [
        {
            item["image"]
            for item in classified_items(
                data, data / "labels.csv", ["mild", "severe"], data / "no.json", part
            )
        }
        for part in ("training", "validation")
    ]
    assert not parts[0] & parts[1]
    pair = {str(data / "a.nii.gz"), str(data / "b.nii.gz")}
    assert any(pair <= part for part in parts)


def test_an_unknown_label_and_a_table_of_other_cases_are_refused(data):
    with pytest.raises(DataError, match="b has the label 'severe'; the classes are mild"):
        classified_items(data, data / "labels.csv", ["mild"])
    with pytest.raises(DataError, match="gives no label to a case"):
        classified_cases([Case("x", ())], data / "labels.csv")


def test_what_is_written_can_be_read(tmp_path):
    save = SaveClassesd("pred", tmp_path / "out", ["0", "1"])
    for name, logits in (("a", [0.0, np.log(3)]), ("b", [np.log(9), 0.0])):
        image = MetaTensor(torch.zeros(1), meta={"filename_or_obj": f"/x/{name}.nii.gz"})
        save({"image": image, "pred": torch.tensor(logits)})
    classes, chances = chances_of_table(tmp_path / "out" / "classes.csv")
    assert classes == ["0", "1"]
    assert chances == {"a": pytest.approx([0.25, 0.75]), "b": pytest.approx([0.9, 0.1])}
    assert labels_of_table(tmp_path / "out" / "classes.csv")[0] == {"a": "1", "b": "0"}
    (tmp_path / "no.csv").write_text("case,label\na,1\n")
    with pytest.raises(DataError, match="has no columns of probabilities"):
        chances_of_table(tmp_path / "no.csv")
