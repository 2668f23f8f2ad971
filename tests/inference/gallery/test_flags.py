import numpy as np
import pytest

from volseg.errors import DataError
from volseg.inference.gallery.flags import BORDER, CONFIDENCE, EMPTY, VOLUME, flags_of

CLASSES = {1: "tumour", 2: "oedema"}
HALF_ML = np.diag([5.0, -10.0, 10.0, 1.0])
"""Voxels of 500 mm³ on a left-handed grid."""


@pytest.fixture
def labels():
    """Give two voxels of tumour, 1 mL, in the middle."""
    labels = np.zeros((5, 5, 5), dtype=np.uint8)
    labels[2, 2, 2:4] = 1
    return labels


def test_an_ordinary_mask_has_no_flag(labels):
    assert flags_of(labels, HALF_ML, CLASSES, {"tumour": (0.9, 1.1)}, 0.95) == ()


def test_a_mask_without_foreground_is_empty(labels):
    assert flags_of(0 * labels, HALF_ML, CLASSES) == (EMPTY,)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("end", [0, 4])
def test_a_voxel_on_any_of_the_six_faces_touches_the_border(labels, axis, end):
    voxel = [2, 2, 2]
    voxel[axis] = end
    labels[tuple(voxel)] = 2
    assert flags_of(labels, HALF_ML, CLASSES) == (BORDER,)


def test_a_single_slice_touches_the_border_only_within_its_plane(labels):
    assert flags_of(labels[:, :, 2:3], HALF_ML, CLASSES) == ()
    assert flags_of(labels[:, 2:, 2:3], HALF_ML, CLASSES) == (BORDER,)


@pytest.mark.parametrize("usual", [(1.01, 9), (0, 0.99)])
def test_a_volume_on_either_side_of_the_usual_range_is_flagged(labels, usual):
    assert flags_of(labels, HALF_ML, CLASSES, {"tumour": usual}) == (VOLUME,)


def test_an_absent_class_has_no_volume(labels):
    assert flags_of(labels, HALF_ML, CLASSES, {"oedema": (0.5, 9)}) == (VOLUME,)
    assert flags_of(labels, HALF_ML, CLASSES, {"oedema": (0, 9)}) == ()


def test_a_usual_volume_of_an_unknown_class_is_refused(labels):
    with pytest.raises(DataError, match=r"name the class 'tumor'; the classes are tumour, oedema"):
        flags_of(labels, HALF_ML, CLASSES, {"tumor": (0, 1)})


@pytest.mark.parametrize("confidence", [0.69, 0.0, float("nan")])
def test_a_mask_that_is_not_sure_enough_has_low_confidence(labels, confidence):
    assert flags_of(labels, HALF_ML, CLASSES, confidence=confidence) == (CONFIDENCE,)
    assert flags_of(labels, HALF_ML, CLASSES, confidence=0.7) == ()
