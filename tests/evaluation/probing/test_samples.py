"""What is described by one vector, and its label."""

import nibabel as nib
import numpy as np
import pytest

from volseg.data.case import Case
from volseg.data.class_tables import labels_of_table, with_groups
from volseg.errors import DataError
from volseg.evaluation.probing.samples import (
    Sample,
    patch_samples,
    region_samples,
    volume_samples,
)

CLASSES = {0: "background", 1: "head", 2: "tail"}


@pytest.fixture
def case(tmp_path):
    """One class of 27 voxels, one of 8, one of 3; voxels of 2 mm, the origin elsewhere."""
    label = np.zeros((10, 9, 8), np.uint8)
    label[1:4, 1:4, 1:4] = 1
    label[6:8, 6:8, 6:8] = 2
    label[0, 0, :3] = 3
    affine = np.diag([-2.0, 2, 2, 1])
    affine[:3, 3] = (50, -10, 5)
    for name, values in (("image", label.astype(np.float32)), ("label", label)):
        nib.save(nib.Nifti1Image(values, affine), tmp_path / f"{name}.nii.gz")
    return Case("a", (tmp_path / "image.nii.gz",), tmp_path / "label.nii.gz", "patient")


def test_each_class_is_a_region_but_not_a_tiny_one(case):
    found = [(s.name, s.label, s.values, s.group) for s in region_samples(case, CLASSES)]
    assert found == [("a#0", "head", (1,), "patient"), ("a#1", "tail", (2,), "patient")]


def test_with_a_label_all_of_the_foreground_is_one_region(case):
    (sample,) = region_samples(case, CLASSES, "severe")
    assert (sample.label, sample.values) == ("severe", (1, 2, 3))


def test_a_patch_has_the_class_of_its_centre(case):
    samples = patch_samples(case, CLASSES, None, count=3, seed=0)
    assert [sample.label for sample in samples] == ["head"] * 3 + ["tail"] * 3 + ["3"] * 3
    for sample in samples[:3]:  # head: voxels 1 to 3, each 2 mm, the first axis against x
        assert 44 <= sample.centre[0] <= 48
        assert -8 <= sample.centre[1] <= -4
        assert 7 <= sample.centre[2] <= 11
    assert samples == patch_samples(case, CLASSES, None, count=3, seed=0)
    assert samples != patch_samples(case, CLASSES, None, count=3, seed=1)


def test_background_is_a_class_where_the_image_shows_something(case, tmp_path):
    image = np.zeros((10, 9, 8), np.float32)
    image[1:4, 1:4, 1:4] = image[9] = 1  # the head, and 72 voxels of something else
    affine = nib.load(case.label).affine
    nib.save(nib.Nifti1Image(image, affine), case.images[0])
    samples = patch_samples(case, CLASSES, None, 5, seed=0, has_background=True)
    assert [s.label for s in samples[-5:]] == ["background"] * 5
    voxels = (np.array([s.centre for s in samples[-5:]]) - [50, -10, 5]) / [-2, 2, 2]
    assert (voxels[:, 0] == 9).all()
    assert len({tuple(voxel) for voxel in voxels}) == 5
    assert samples[:-5] == patch_samples(case, CLASSES, None, 5, seed=0)
    nib.save(nib.Nifti1Image(image[:5], affine), case.images[0])
    with pytest.raises(DataError, match=r"an image of \(5, 9, 8\), its mask \(10, 9, 8\)"):
        patch_samples(case, CLASSES, None, 5, seed=0, has_background=True)


def test_a_labelled_volume_gives_patches_anywhere_but_at_its_border(case):
    samples = patch_samples(case, None, "sick", count=20, seed=0)
    places = (np.array([s.centre for s in samples]) - [50, -10, 5]) / [-2, 2, 2]
    assert {s.label for s in samples} == {"sick"}
    assert (places >= 0.2 * np.array([9, 8, 7])).all()
    assert (places <= 0.8 * np.array([9, 8, 7])).all()


def test_a_table_gives_labels_and_groups(case, tmp_path):
    (tmp_path / "t.csv").write_text("case,label,group\na, mild ,p1\nb,,p2\nc,severe,p2\n")
    labels, rows = labels_of_table(tmp_path / "t.csv")
    assert labels == {"a": "mild", "c": "severe"}
    cases = with_groups([Case("a", ()), Case("c", (), None, "own"), Case("d", (), None, "z")], rows)
    assert [each.group for each in cases] == ["p1", "p2", "z"]
    assert volume_samples(cases, labels) == [Sample(cases[0], "mild"), Sample(cases[1], "severe")]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("case,grade\na,1\n", "has no column 'label'; it has case, grade"),
        ("case,label\na,1\na,2\n", "names 'a' 2 times"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused(tmp_path, text, said):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(DataError, match=said):
        labels_of_table(tmp_path / "t.csv")


def test_a_case_without_a_mask_has_no_regions():
    with pytest.raises(DataError, match="a has no mask"):
        region_samples(Case("a", ()), None)
