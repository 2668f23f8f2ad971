"""Shifts of the acquisition: what they do to numbers that can be worked out, and to the grid."""

import numpy as np
import pytest

from volseg.data.geometry import Grid
from volseg.data.scan import Scan, resample
from volseg.errors import DataError
from volseg.evaluation.shifts import ct, grids, mr
from volseg.evaluation.shifts.ladder import SHIFTS, choose_shifts
from volseg.evaluation.shifts.shift import slice_axis

AFFINE = np.array([[-1.0, 0, 0, 20], [0, 1.5, 0, -7], [0, 0, 2, 3], [0, 0, 0, 1]])


@pytest.fixture
def scan():
    """A smooth scan off the origin, its first axis running to the left."""
    places = np.indices((16, 14, 12)).astype(np.float32)
    values = 100 + 40 * np.sin(places[0] / 4) * np.cos(places[1] / 5) + 5 * places[2]
    return Scan(values.astype(np.float32), AFFINE)


@pytest.mark.parametrize("shift", SHIFTS, ids=lambda shift: shift.name)
class TestEveryShift:
    def test_the_neutral_strength_changes_nothing(self, shift, scan):
        assert shift.apply(scan, shift.neutral) is scan

    def test_the_same_seed_gives_the_same_scan_and_the_original_stays(self, shift, scan):
        before = scan.values.copy()
        first, again = (shift.apply(scan, shift.strengths[-1], seed=5) for _ in range(2))
        assert np.array_equal(first.values, again.values)
        assert np.array_equal(first.affine, again.affine)
        assert np.array_equal(scan.values, before)
        assert np.isfinite(first.values).all()

    def test_a_stronger_shift_changes_more(self, shift, scan):
        on_one_side = [step for step in shift.strengths if step > shift.neutral]
        changes = []
        for strength in on_one_side:
            found = shift.apply(scan, strength, seed=3)
            there = resample(found, scan.values.shape, scan.affine, np.eye(4))
            inner = (slice(3, -3),) * 3  # away from what a coarse or a cut scan does not show
            changes.append(np.abs(there - scan.values)[inner].mean())
        assert changes == sorted(changes)
        assert changes[-1] > 0


def test_the_slices_of_a_scan_lie_across_its_coarsest_axis():
    assert slice_axis(np.diag([5.0, 1, 1, 1])) == 0
    turned = np.array([[0, 0, 1.0, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]])
    assert slice_axis(turned) == 1  # all edges alike, and the second axis points up


@pytest.mark.parametrize("change", [grids.thicken, grids.coarsen])
def test_a_ramp_stays_where_it_was_when_voxels_get_thicker(change):
    # The mean over a symmetric window is the ramp's value at its centre.
    ramp = Scan(np.broadcast_to(np.arange(24.0), (6, 6, 24)).astype(np.float32), np.eye(4))
    found = change(ramp, 3.0)
    assert found.values.shape[2] == 8
    heights = found.affine[2, 2] * np.arange(8) + found.affine[2, 3]
    # A Gaussian profile reaches beyond the slice, so that the outermost ones see the border.
    assert found.values[0, 0, 2:-2] == pytest.approx(heights[2:-2], abs=1e-4)
    assert heights[0] == 1  # the middle of voxels 0, 1 and 2


def test_a_turned_grid_holds_all_of_the_scan_and_shows_the_same_places(scan):
    found = grids.turn(scan, 20, seed=1)
    assert grids.seen(Grid(scan.values.shape, scan.affine), found).all()
    back = resample(found, scan.values.shape, scan.affine, np.eye(4))
    inner = (slice(2, -2),) * 3
    # Interpolated linearly twice: half a percent of a smooth scan's range
    assert np.abs(back - scan.values)[inner].max() < 0.05 * np.ptp(scan.values)
    cosine = (np.trace(found.affine[:3, :3] @ np.linalg.inv(scan.affine[:3, :3])) - 1) / 2
    assert np.degrees(np.arccos(cosine)) == pytest.approx(20)


def test_a_crop_takes_a_share_off_one_face_and_moves_nothing(scan):
    native = Grid(scan.values.shape, scan.affine)
    faces = set()
    for seed in range(40):
        found = grids.crop(scan, 0.25, seed)
        visible = grids.seen(native, found)
        assert np.array_equal(scan.values[visible], found.values.ravel())
        lost = [a - b for a, b in zip(scan.values.shape, found.values.shape, strict=True)]
        axis = int(np.argmax(lost))
        assert lost[axis] == round(0.25 * scan.values.shape[axis])
        faces.add((axis, bool(visible.take(0, axis).any())))
    assert len(faces) == 6


def test_the_offset_of_a_ct_is_added_and_its_noise_has_the_stated_deviation(scan):
    assert np.array_equal(ct.offset(scan, -20).values, scan.values - 20)
    added = ct.noise(scan, 15, seed=2).values - scan.values
    assert added.std() == pytest.approx(15, rel=1e-4)


def test_the_contrast_phase_scales_enhancement_and_leaves_tissue_and_bone():
    values = np.array([-1000, 0, 50, 150, 300, 400, 500, 1500], np.float32)[:, None, None]
    found = ct.contrast_phase(Scan(values, np.eye(4)), -0.5).values.ravel()
    # (150 - 50) / 2 and (300 - 50) / 2 less; at 400 half of (400 - 50) / 2
    assert found.tolist() == [-1000, 0, 50, 100, 175, 312.5, 500, 1500]


def test_a_sharp_kernel_undoes_nothing_where_the_scan_is_flat_and_lifts_an_edge():
    values = np.zeros((12, 12, 3), np.float32)
    values[6:] = 100
    found = ct.sharp_kernel(Scan(values, np.eye(4)), 1.0).values[:, 6, 1]
    assert found[0] == pytest.approx(0, abs=1e-3)
    assert found[6] > 110
    assert found[5] < -10
    smooth = ct.smooth_kernel(Scan(values, np.eye(4)), 1.0).values[:, 6, 1]
    assert smooth[5] + smooth[6] == pytest.approx(
        100, abs=0.01
    )  # the filter ends at four deviations


def test_a_smooth_kernel_acts_within_slices_only():
    values = np.zeros((9, 9, 9), np.float32)
    values[4, 4, 4] = 1
    found = ct.smooth_kernel(Scan(values, np.diag([1.0, 1, 3, 1])), 1.5).values
    assert found[..., [3, 5]].max() == 0
    assert found[4, 4, 4] < 0.5


def test_a_contrast_of_two_squares_the_scaled_values():
    values = np.array([-10, 0, 10], np.float32)[:, None, None]
    found = mr.gamma(Scan(values, np.eye(4)), 2.0).values.ravel()
    assert found == pytest.approx([-10, -5, 10], abs=1e-4)


def test_shifts_are_chosen_by_name_and_modality():
    assert [each.name for each in choose_shifts("MR", ["slice-thickness", "noise"])] == [
        "slice thickness",
        "noise",
    ]
    assert {each.name for each in choose_shifts("CT")} >= {"dose", "sharp kernel", "rotation"}
    with pytest.raises(DataError, match="MR has no shift 'dose'; it has bias field, noise"):
        choose_shifts("MR", ["dose"])
    with pytest.raises(DataError, match="modality is 'PET'; use CT or MR"):
        choose_shifts("PET")
