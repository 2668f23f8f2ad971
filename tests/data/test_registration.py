"""Rigid registration: known moves are found, and scans that do not fit are refused."""

import nibabel as nib
import numpy as np
import pytest

from tests.data.heads import CENTRE, head, rigid
from volseg.data.registration import Limits, distance, register
from volseg.data.scan import Scan, resample
from volseg.errors import DataError

MOVE = rigid((7, -5, 10), (9, -6, 5))

LEFT_HANDED = np.array([[0, 0, 2.0, -30], [-2.5, 0, 0, 35], [0, 3.0, 0, -32], [0, 0, 0, 1]])


@pytest.fixture(scope="module")
def found():
    """Register the head with itself, moved."""
    return register(head(matrix=MOVE), head())


def test_a_known_move_is_found(found):
    # Less than half a voxel of 2.5 mm, at 60 mm from the centre: a tenth of one in this head
    assert distance(found.matrix, MOVE, CENTRE) < 0.5
    assert found.disagreement < 0.5
    assert found.overlap > 0.9


def test_contrast_axes_and_voxels_may_differ():
    moving = head(affine=LEFT_HANDED, shape=(29, 23, 32), is_inverted=True)
    assert distance(register(head(matrix=MOVE), moving).matrix, MOVE, CENTRE) < 0.5


def test_the_same_seed_gives_the_same_answer(found):
    assert np.allclose(register(head(matrix=MOVE), head()).matrix, found.matrix, atol=1e-6)


def test_what_has_no_counterpart_can_be_ignored():
    fixed = head(matrix=MOVE)
    ignored = np.zeros(fixed.values.shape, dtype=bool)
    ignored[14:25, 14:26, 14:25] = True
    fixed.values[ignored] = 300.0
    assert distance(register(fixed, head(), ignored).matrix, MOVE, CENTRE) < 0.5


def test_scans_that_have_nothing_in_common_are_refused():
    noise = np.random.default_rng(0).normal(size=(24, 24, 24))
    with pytest.raises(DataError, match="do not determine how they lie on each other"):
        register(head(), Scan(noise, np.diag([2.5, 2.5, 2.5, 1])))


def test_a_constant_scan_is_refused():
    with pytest.raises(DataError, match="a scan is constant"):
        register(head(), Scan(np.ones((20, 20, 20)), np.diag([4.0, 4, 4, 1])))


def test_nothing_is_compared_if_everything_is_ignored():
    fixed = head()
    with pytest.raises(DataError, match="no voxel in common"):
        register(fixed, head(), np.ones(fixed.values.shape, dtype=bool))


def test_stricter_limits_are_kept():
    with pytest.raises(DataError, match=r"\(at least 100\)"):
        register(head(), head(), limits=Limits(overlap=1.001))


def test_a_shift_moves_every_point_by_its_length_and_a_turn_by_its_arc():
    shift = rigid((0, 0, 0), (3, 0, 4))
    assert distance(shift, np.eye(4), CENTRE) == pytest.approx(5)
    # Of the 26 directions those at right angles to the axis move by the chord 2 r sin(angle / 2)
    turn = rigid((0, 0, 10), (0, 0, 0))
    assert distance(turn, np.eye(4), CENTRE) == pytest.approx(120 * np.sin(np.deg2rad(5)))


def test_resampling_by_a_whole_voxel_moves_the_voxels():
    values = np.random.default_rng(0).random((5, 6, 7))
    scan = Scan(values, np.diag([2.0, 2, 2, 1]))
    shift = np.eye(4)
    shift[0, 3] = 2.0
    moved = resample(scan, values.shape, scan.affine, shift)
    assert np.allclose(moved[:-1], values[1:])
    assert np.all(moved[-1] == values.min())


@pytest.mark.real
@pytest.mark.slow
def test_a_moved_brain_is_found_within_a_tenth_of_a_millimetre(shared_data):
    image = nib.load(shared_data / "brain_mri/TCGA-DU-7294/TCGA-DU-7294_t1.nii.gz")
    values = np.asarray(image.dataobj)
    back = np.asarray(np.linalg.inv(MOVE))
    found = register(Scan(values, image.affine), Scan(values, back @ image.affine))
    assert distance(found.matrix, back, (0, -20, 20)) < 0.1


@pytest.mark.real
@pytest.mark.slow
def test_two_real_scans_of_one_person_in_other_contrast_and_slices_agree(shared_data):
    scans = []
    for name in ("chris_PD", "chris_t1"):
        image = nib.load(shared_data / "brain_mri" / f"{name}.nii.gz")
        scans.append(Scan(np.asarray(image.dataobj), image.affine))
    assert register(*scans).disagreement < 1
