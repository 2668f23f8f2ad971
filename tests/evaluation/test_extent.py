"""Extent of resection, against the volumes that two balls have in common."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from volseg.data.scan import Scan
from volseg.errors import DataError
from volseg.evaluation.extent import Doubt, measure_extent

PRE = np.diag([1.0, 1, 1, 1])
PRE[:3, 3] = -28

POST = np.array([[-0.9, 0, 0, 26], [0, -0.9, 0, 26], [0, 0, 4, -28], [0, 0, 0, 1.0]])

SURE = Doubt(shift=0, turn=0, draws=3)


def ball(affine, shape, centre, radius):
    """Mark the voxels whose centres lie in a ball, given in RAS mm."""
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    places = index @ affine[:3, :3].T + affine[:3, 3]
    return Scan(np.linalg.norm(places - centre, axis=-1) < radius, affine)


def lens_ml(radius, gap):
    """Give what two balls of one radius have in common, their centres so far apart, in mL."""
    return np.pi * (4 * radius + gap) * (2 * radius - gap) ** 2 / 12 / 1000


def rigid(angles, shift):
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    matrix[:3, 3] = shift
    return matrix


MOVE = rigid((5, -8, 10), (4, -3, 6))


@pytest.mark.parametrize("gap", [6, 10, 16])
@pytest.mark.parametrize(("affine", "shape"), [(PRE, (57, 57, 57)), (POST, (58, 58, 15))])
def test_two_balls_have_a_lens_in_common_whatever_the_grids(affine, shape, gap):
    tumour = ball(PRE, (57, 57, 57), (0, 0, 0), 12)
    centre = np.linalg.inv(MOVE) @ (gap, 0, 0, 1)
    cavity = ball(affine, shape, centre[:3], 12)
    found = measure_extent(cavity, tumour, MOVE, SURE)
    assert found.tumour_ml == tumour.values.sum() / 1000
    # A shell about the lens by a twentieth of the largest voxel edge, which voxels leave open
    surface = 2 * 2 * np.pi * 12 * (12 - gap / 2)
    slack = 0.05 * np.abs(affine[:3, :3]).max() * surface / 1000
    assert found.resected_ml == pytest.approx(lens_ml(12, gap), abs=slack)
    assert found.resected_ml + found.residual_ml == pytest.approx(found.tumour_ml)


def test_masks_on_one_grid_are_counted_voxel_by_voxel():
    rng = np.random.default_rng(0)
    tumour = Scan(rng.random((9, 8, 7)) < 0.4, PRE)
    cavity = Scan(rng.random((9, 8, 7)) < 0.5, PRE)
    found = measure_extent(cavity, tumour, np.eye(4), SURE)
    common = (tumour.values & cavity.values).sum()
    assert found.resected_ml == pytest.approx(common / 1000)
    assert found.percent == pytest.approx(100 * common / tumour.values.sum())


def test_a_tumour_within_the_cavity_is_gone_and_one_beside_it_is_left():
    tumour = ball(PRE, (57, 57, 57), (0, 0, 0), 8)
    gone = measure_extent(ball(PRE, (57, 57, 57), (0, 0, 0), 14), tumour, np.eye(4), Doubt())
    assert gone.percent == pytest.approx(100)
    assert gone.percent_interval == pytest.approx((100, 100))
    assert gone.warnings() == []
    left = measure_extent(ball(PRE, (57, 57, 57), (0, 0, 20), 8), tumour, np.eye(4), Doubt())
    assert (left.percent, left.percent_interval) == (0, (0, 0))
    assert any("does not touch the tumour" in warning for warning in left.warnings())


def test_the_interval_of_a_cut_follows_from_the_shift():
    """A slab of 20 mm that is cut in the middle: a shift by 1 mm changes 5 % of it."""
    tumour = np.zeros((40, 40, 40), bool)
    tumour[10:30, 10:30, 10:30] = True
    cavity = np.zeros_like(tumour)
    cavity[4:20, 4:36, 4:36] = True
    doubt = Doubt(shift=1, turn=0, draws=400)
    found = measure_extent(Scan(cavity, PRE), Scan(tumour, PRE), np.eye(4), doubt)
    assert found.percent == pytest.approx(50)
    # The cut moves by u1 + u2 mm: a shift within 1 and the cavity's border within half a voxel, and
    # the tumour's own border within half a voxel. Uniform draws: standard deviation of the cut
    # sqrt(1/3 + 1/12) mm of 20 mm, 3.2 %; 95 % lie within 1.86 of them for such a trapezoid.
    low, high = found.percent_interval
    assert low == pytest.approx(50 - 6.0, abs=0.8)
    assert high == pytest.approx(50 + 6.0, abs=0.8)


def test_doubt_widens_the_interval_and_the_seed_fixes_it():
    tumour = ball(PRE, (57, 57, 57), (0, 0, 0), 12)
    cavity = ball(PRE, (57, 57, 57), (8, 0, 0), 12)
    widths = []
    for shift in (0.0, 1.0, 3.0):
        doubt = Doubt(shift, draws=60)
        low, high = measure_extent(cavity, tumour, np.eye(4), doubt).percent_interval
        widths.append(high - low)
    assert widths == sorted(widths)
    assert widths[0] < widths[2] / 2
    again = [measure_extent(cavity, tumour, np.eye(4), Doubt(seed=s, draws=9)) for s in (1, 1, 2)]
    assert again[0] == again[1] != again[2]


def test_what_the_scan_does_not_show_counts_as_residual_and_is_named():
    tumour = np.zeros((20, 20, 20), bool)
    tumour[5:15, 5:15, 5:15] = True
    cavity = np.zeros((10, 20, 20), bool)
    cavity[2:10, 2:18, 2:18] = True  # the scan ends in the middle of the tumour
    found = measure_extent(Scan(cavity, PRE), Scan(tumour, PRE), np.eye(4), SURE)
    assert found.outside_ml == pytest.approx(0.5)
    assert found.resected_ml == pytest.approx(0.5)
    assert any("0.50 mL of the tumour lie outside" in warning for warning in found.warnings())


def test_an_empty_mask_is_refused():
    full, empty = Scan(np.ones((4, 4, 4), bool), PRE), Scan(np.zeros((4, 4, 4), bool), PRE)
    with pytest.raises(DataError, match="mask of the cavity is empty"):
        measure_extent(empty, full, np.eye(4), SURE)
    with pytest.raises(DataError, match="mask of the tumour is empty"):
        measure_extent(full, empty, np.eye(4), SURE)
