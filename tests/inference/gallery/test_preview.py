import gzip

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from tests.inference.gallery.grids import TURNS, turned
from volseg.inference.gallery.preview import LEVELS, make_preview
from volseg.inference.gallery.scan import find_classes, turn_upright
from volseg.inference.gallery.window import Window

WINDOW = Window(100.0, 300.0)
OBLIQUE = np.array(
    [[1.2, 0.1, 0.0, -40], [-0.1, 1.1, 0.2, 12], [0.05, -0.2, 2.5, 9], [0, 0, 0, 1.0]]
)


def read(content):
    return nib.Nifti1Image.from_bytes(gzip.decompress(content))


def shrink(values, labels, affine, max_bytes=10**6, edge_mm=1.0):
    scan = turn_upright(values, labels, affine)
    preview = make_preview(scan, WINDOW, find_classes(scan.labels), max_bytes, edge_mm)
    return read(preview.image), read(preview.labels), preview


def centre_mm(mass, affine):
    """Give the centre of mass; shades are steps of 4, so what is next to nothing is nothing."""
    mass = np.where(mass > 5, mass, 0) if mass.max() > 5 else mass
    return nib.affines.apply_affine(affine, ndimage.center_of_mass(mass))


@pytest.fixture
def ball():
    place = np.stack(np.indices((48, 40, 24)), axis=-1)
    distance = np.linalg.norm((place - (20.3, 22.2, 11.4)) * (1, 1, 2), axis=-1)
    return np.clip(330 - 14 * distance, 100, 300), (distance < 12).astype(np.uint8)


@pytest.mark.parametrize("turn", TURNS[::5], ids=str)
@pytest.mark.parametrize("edge_mm", [1.0, 2.6, 3.7])
def test_image_and_labels_stay_where_they_are(ball, turn, edge_mm):
    values, affine = turned(ball[0], OBLIQUE, turn)
    labels, _ = turned(ball[1], OBLIQUE, turn)
    small, marks, _ = shrink(values, labels, affine, edge_mm=edge_mm)
    # The mass above black moves less than a twentieth of the merged voxel's edge.
    assert centre_mm(np.asarray(small.dataobj) - 100, small.affine) == pytest.approx(
        centre_mm(values - 100, affine), abs=edge_mm / 20
    )
    assert centre_mm(np.asarray(marks.dataobj), marks.affine) == pytest.approx(
        centre_mm(labels, affine), abs=edge_mm / 8
    )


def test_whole_blocks_lie_at_the_mean_place_of_their_voxels():
    values = np.full((4, 4, 4), 100.0)
    small, _, preview = shrink(values, np.zeros((4, 4, 4), np.uint8), np.eye(4), edge_mm=2)
    assert small.shape == (2, 2, 2)
    assert preview.edges == (2, 2, 2)
    assert small.affine.tolist() == [[2, 0, 0, 0.5], [0, 2, 0, 0.5], [0, 0, 2, 0.5], [0, 0, 0, 1]]


def test_intensities_keep_their_unit_and_the_viewer_its_window(ball):
    small, marks, _ = shrink(*ball, np.eye(4))
    step = 1.5 * 200 / LEVELS
    assert np.abs(np.asarray(small.dataobj) - ball[0]).max() <= step / 2 + 1e-3
    assert (float(small.header["cal_min"]), float(small.header["cal_max"])) == (100, 300)
    assert small.get_data_dtype() == marks.get_data_dtype() == np.uint8
    assert np.array_equal(np.asarray(marks.dataobj), ball[1])


def test_a_block_has_the_class_that_fills_most_of_it_if_half_of_it_is_filled():
    labels = np.zeros((6, 2, 2), dtype=np.uint8)
    labels[0:2] = 5
    labels[0, 0, 0] = 3
    labels[2, 0, :2] = 3
    labels[4, :, :] = 3
    _, marks, _ = shrink(labels * 1.0, labels, np.eye(4), edge_mm=2)
    assert np.asarray(marks.dataobj).ravel().tolist() == [2, 0, 1]


def test_a_class_of_a_single_voxel_does_not_vanish():
    labels = np.zeros((40, 40, 40), dtype=np.uint8)
    labels[10:30, 10:30, 10:30] = 1
    labels[33, 7, 21] = 4
    _, marks, _ = shrink(labels * 1.0, labels, np.eye(4), edge_mm=4)
    assert np.argwhere(np.asarray(marks.dataobj) == 2).tolist() == [[8, 1, 5]]


def test_the_copies_take_no_more_bytes_than_they_may():
    noise = np.random.default_rng(0).normal(200, 60, (64, 64, 64))
    labels = (noise > 260).astype(np.uint8)
    for limit in (60_000, 5_000):
        _, _, preview = shrink(noise, labels, np.eye(4), max_bytes=limit)
        assert limit / 4 < len(preview.image) + len(preview.labels) <= limit
