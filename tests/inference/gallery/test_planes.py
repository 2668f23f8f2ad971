from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from volseg.inference.gallery.planes import QUALITIES, TINT, cut, draw_planes, paint_mask
from volseg.inference.gallery.scan import Scan
from volseg.inference.gallery.window import Window

COLOURS = {1: "#ff0000", 2: "#00ff00"}


def pixels(content):
    return np.asarray(Image.open(BytesIO(content)))


def draw(values, labels=None, spacing=(1.0, 1.0, 1.0), focus=(5, 5, 5), **more):
    labels = np.zeros(values.shape, np.uint8) if labels is None else labels
    affine = np.diag([*spacing, 1.0])
    limits = {"longest": 110, "max_bytes": 10**6, **more}
    planes = draw_planes(Scan(values, labels, affine), focus, Window(0, 1), COLOURS, **limits)
    return {plane.name: plane for plane in planes}


@pytest.mark.parametrize(
    ("view", "voxel", "is_left", "is_top"),
    [
        ("axial", (9, 9, 5), True, True),  # right, front
        ("axial", (1, 1, 5), False, False),
        ("coronal", (9, 5, 9), True, True),  # right, top
        ("coronal", (1, 5, 1), False, False),
        ("sagittal", (5, 9, 9), True, True),  # front, top
        ("sagittal", (5, 1, 1), False, False),
    ],
)
def test_right_front_and_top_lie_where_radiologists_look_for_them(view, voxel, is_left, is_top):
    values = np.zeros((11, 11, 11))
    values[voxel] = 1
    picture = pixels(draw(values)[view].image).max(axis=2)
    row, column = np.argwhere(picture > 128).mean(axis=0) / 110
    assert (column < 0.5, row < 0.5) == (is_left, is_top)


def test_a_ball_in_millimetres_is_round_whatever_the_spacing():
    spacing = np.array([1.0, 2.0, 4.0])
    shape = (81, 41, 21)
    place = np.stack(np.indices(shape), axis=-1) * spacing - 40
    ball = (np.linalg.norm(place, axis=-1) < 30).astype(np.float32)
    planes = draw(ball, spacing=spacing, focus=(40, 20, 10), longest=328)
    for plane in planes.values():
        rows, columns = np.nonzero(pixels(plane.image).max(axis=2) > 128)
        assert np.ptp(rows) == pytest.approx(60 * 4, abs=16)  # a voxel of 4 mm is 16 pixels
        assert np.ptp(columns) == pytest.approx(60 * 4, abs=16)


def test_all_planes_have_one_scale():
    planes = draw(np.zeros((11, 22, 55)), spacing=(1, 1, 2))
    assert (planes["axial"].width, planes["axial"].height) == (11, 22)
    assert (planes["coronal"].width, planes["coronal"].height) == (11, 110)
    assert (planes["sagittal"].width, planes["sagittal"].height) == (22, 110)


def test_the_mask_lies_on_the_bright_box_that_it_marks():
    values = np.zeros((11, 11, 11))
    labels = np.zeros(values.shape, np.uint8)
    values[6:9, 2:5, 4:7] = labels[6:9, 2:5, 4:7] = 1
    for plane in draw(values, labels, focus=(7, 3, 5)).values():
        is_bright = pixels(plane.image).max(axis=2) > 128
        assert (is_bright != (pixels(plane.mask)[..., 3] > 0)).mean() < 0.02


def test_a_plane_without_labels_has_no_mask():
    assert all(plane.mask == b"" for plane in draw(np.ones((11, 11, 11))).values())


def test_places_are_told_in_millimetres():
    planes = draw(np.zeros((11, 11, 11)), spacing=(1, 2, 3), focus=(1, 2, 3))
    assert [planes[name].place for name in ("axial", "coronal", "sagittal")] == [
        "S 9 mm",
        "A 4 mm",
        "R 1 mm",
    ]


def test_a_slice_is_cut_from_the_patients_right_and_from_the_top():
    volume = np.arange(24).reshape(2, 3, 4)
    assert cut(volume, 2, 0).tolist() == [[20, 8], [16, 4], [12, 0]]


def test_classes_are_tinted_within_their_outlines():
    labels = np.zeros((6, 12), dtype=np.uint8)
    labels[1:6, 1:6], labels[1:6, 6:11], labels[0, 0] = 1, 2, 9
    painted = paint_mask(labels, COLOURS)
    assert painted[3, 3].tolist() == [255, 0, 0, TINT]
    assert painted[1, 3].tolist() == painted[3, 5].tolist() == [255, 0, 0, 255]
    assert painted[3, 6].tolist() == [0, 255, 0, 255]
    assert painted[5, 3].tolist() == [255, 0, 0, TINT]  # the picture's end is no outline
    assert painted[0, 0, 3] == painted[0, 5, 3] == 0


def test_a_colour_may_say_how_opaque_its_tint_is():
    labels = np.zeros((5, 5), dtype=np.uint8)
    labels[1:4, 1:4] = 1
    painted = paint_mask(labels, {1: "#ff000001"})
    assert painted[2, 2].tolist() == [255, 0, 0, 1]
    assert painted[1, 2].tolist() == [255, 0, 0, 255]


def test_quality_goes_before_pixels_until_the_planes_are_small_enough():
    noise = np.random.default_rng(0).random((64, 64, 64))
    best = draw(noise, longest=128)
    size = sum(len(plane.image) for plane in best.values())
    worse = draw(noise, longest=128, max_bytes=int(size * 0.7))
    assert worse["axial"].width == 128
    tiny = draw(noise, longest=128, max_bytes=4000)
    assert sum(len(plane.image) for plane in tiny.values()) <= 4000
    assert tiny["axial"].width < 128
    assert list(QUALITIES) == sorted(QUALITIES, reverse=True)
