"""Which files are compared, and which are refused."""

import nibabel as nib
import numpy as np
import pytest

from volseg.errors import DataError
from volseg.evaluation.pairs import find_pairs, read_labels

SPACING = (1.0, 2.0, 3.0)


def save(path, values, affine=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    affine = np.diag([*SPACING, 1]) if affine is None else affine
    nib.save(nib.Nifti1Image(values, affine), path)
    return path


def touch(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def test_files_pair_by_their_path_below_the_folders(tmp_path):
    found = touch(tmp_path / "found", "a.nii.gz", "site/b.nii.gz", "extra.nii")
    truth = touch(tmp_path / "truth", "site/b.nii", "a.nii.gz", "c.nii.gz", "notes.txt", "._a.nii")
    pairs, unmatched = find_pairs(found, truth)
    assert [(pair.name, pair.prediction, pair.reference) for pair in pairs] == [
        ("a", found / "a.nii.gz", truth / "a.nii.gz"),
        ("c", None, truth / "c.nii.gz"),
        ("site/b", found / "site/b.nii.gz", truth / "site/b.nii"),
    ]
    assert unmatched == [found / "extra.nii"]


@pytest.mark.parametrize("suffix", ["_0000", "_seg"])
def test_a_prediction_may_carry_a_suffix_that_its_reference_lacks(tmp_path, suffix):
    found = touch(tmp_path / "found", f"a{suffix}.nii.gz", f"b{suffix}.nii.gz")
    truth = touch(tmp_path / "truth", "a.nii.gz", f"b{suffix}.nii.gz")
    pairs, unmatched = find_pairs(found, truth)
    predictions = [pair.prediction.name for pair in pairs]
    assert predictions == [f"a{suffix}.nii.gz", f"b{suffix}.nii.gz"]
    assert unmatched == []


def test_the_exact_name_wins_over_one_with_a_suffix(tmp_path):
    found = touch(tmp_path / "found", "a.nii.gz", "a_seg.nii.gz")
    truth = touch(tmp_path / "truth", "a.nii.gz")
    pairs, unmatched = find_pairs(found, truth)
    assert pairs[0].prediction == found / "a.nii.gz"
    assert unmatched == [found / "a_seg.nii.gz"]


def test_maps_beside_their_masks_are_no_predictions(tmp_path):
    maps = ("a_entropy.nii.gz", "a_probabilities.nii.gz", "sub-1_space-orig_probseg.nii.gz")
    masks = ("a.nii.gz", "sub-1_space-orig_dseg.nii.gz", "b_entropy.nii.gz")
    found = touch(tmp_path / "found", *maps, *masks)
    truth = touch(tmp_path / "truth", "a.nii.gz", "sub-1_space-orig_dseg.nii.gz")
    pairs, unmatched = find_pairs(found, truth)
    assert [pair.prediction.name for pair in pairs] == list(masks[:2])
    assert unmatched == [found / "b_entropy.nii.gz"]  # no mask is beside it
    touch(truth, "a_entropy.nii.gz")
    again, _ = find_pairs(found, truth)
    assert len(again) == 3  # it has a reference


def test_two_files_pair_whatever_their_names(tmp_path):
    touch(tmp_path, "mine.nii.gz", "truth.nii")
    pairs, unmatched = find_pairs(tmp_path / "mine.nii.gz", tmp_path / "truth.nii")
    assert [(pair.name, unmatched) for pair in pairs] == [("truth", [])]
    assert pairs[0].prediction == tmp_path / "mine.nii.gz"


@pytest.mark.parametrize(
    ("files", "given", "message"),
    [
        (["t/a.nii"], ("p", "t"), "does not exist"),
        (["t/a.nii", "p.nii"], ("p.nii", "t"), "two files or two folders"),
        (["t/a.nii", "p/a.txt"], ("p", "t"), "p holds no NIfTI file"),
        (["t/a.nii", "t/a.nii.gz", "p/a.nii"], ("p", "t"), "the same name; keep one"),
        (["t/a.nii", "p/b.nii"], ("p", "t"), "such as 'b' and 'a'"),
    ],
)
def test_what_cannot_be_paired_is_refused(tmp_path, files, given, message):
    touch(tmp_path, *files)
    with pytest.raises(DataError, match=message):
        find_pairs(*(tmp_path / name for name in given))


def test_labels_are_rounded_not_cut_off(tmp_path):
    values = np.array([[[0, 0.99999997, 2.0000002]]], dtype=np.float64)
    labels, affine = read_labels(save(tmp_path / "a.nii", values))
    assert labels.tolist() == [[[0, 1, 2]]]
    assert np.allclose(affine, np.diag([*SPACING, 1]))


@pytest.mark.real
def test_a_real_mask_stored_with_a_slope_is_read_whole(shared_data):
    path = shared_data / "hostile" / "19_mask_of_0.99999997.nii.gz"
    labels, _ = read_labels(path)
    assert labels.sum() == np.count_nonzero(np.asanyarray(nib.load(path).dataobj) > 0.5) > 10**6


@pytest.mark.parametrize("values", [[0, 0.5], [-1, 0], [0, 1.01]])
def test_an_image_is_no_label_map(tmp_path, values):
    path = save(tmp_path / "a.nii", np.array([[values]], dtype=np.float32))
    with pytest.raises(DataError, match="is not a label map"):
        read_labels(path)
