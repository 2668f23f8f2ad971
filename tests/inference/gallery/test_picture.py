import gzip
from io import BytesIO

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from tests.inference.gallery.grids import TURNS, turned
from volseg.inference.gallery.budget import base64_size
from volseg.inference.gallery.colours import colour_of
from volseg.inference.gallery.picture import PictureLimits, make_picture

AFFINE = np.diag([1.0, 1.5, 2.0, 1.0])


@pytest.fixture(scope="module")
def head():
    """Give an ellipsoid with a lesion on its right, at the front and top, without symmetry."""
    place = np.stack(np.indices((40, 36, 24)), axis=-1) - (20, 18, 12)
    values = 100 * (np.linalg.norm(place / (18, 16, 10), axis=-1) < 1) + place[..., 0]
    lesion = np.linalg.norm((place - (8, 6, 4)) * (1, 1.5, 2), axis=-1) < 6
    return values + 80.0 * lesion, lesion.astype(np.uint8)


@pytest.fixture(scope="module")
def upright(head):
    return make_picture(*head, AFFINE)


@pytest.mark.parametrize("turn", TURNS, ids=str)
def test_the_pictures_do_not_depend_on_how_the_volume_is_stored(head, upright, turn):
    values, affine = turned(head[0], AFFINE, turn)
    labels, _ = turned(head[1], AFFINE, turn)
    assert make_picture(values, labels, affine) == upright


def test_the_planes_meet_in_the_lesion(upright):
    assert upright.focus == pytest.approx((28, 24 * 1.5, 16 * 2), abs=1)


def test_the_dark_around_a_scan_is_cut_off_and_moves_nothing(head):
    padding = ((30, 5), (9, 40), (12, 0))
    inner = head[0] - head[0].min()
    values, labels = np.pad(inner, padding), np.pad(head[1], padding)
    picture = make_picture(values, labels, AFFINE)
    small = nib.Nifti1Image.from_bytes(gzip.decompress(picture.labels))
    assert small.shape < labels.shape
    places = nib.affines.apply_affine(small.affine, np.argwhere(np.asarray(small.dataobj)))
    assert places.mean(axis=0) == pytest.approx(
        nib.affines.apply_affine(AFFINE, np.argwhere(labels)).mean(axis=0), abs=0.2
    )
    assert picture.focus == pytest.approx((58, 33 * 1.5, 28 * 2), abs=1)


def test_a_class_has_its_name_and_its_own_colour_even_where_others_lack(head):
    picture = make_picture(
        head[0], head[1] * 7, AFFINE, classes={0: "background", 3: "oedema", 7: "tumour"}
    )
    assert [(c.value, c.name, c.colour) for c in picture.classes] == [(1, "tumour", colour_of(1))]


def test_a_class_that_nobody_named_is_called_by_its_value(head):
    (shown,) = make_picture(head[0], head[1] * 7, AFFINE).classes
    assert (shown.name, shown.colour) == ("label 7", colour_of(6))


def test_two_hundred_colours_are_all_different():
    assert len({colour_of(index) for index in range(200)}) == 200


def test_volumes_may_be_left_out(head):
    picture = make_picture(*head, AFFINE, limits=PictureLimits(preview_bytes=0))
    assert (picture.image, picture.labels, len(picture.planes)) == (b"", b"", 3)


@pytest.mark.parametrize("shape", [(1, 30, 30), (30, 1, 30), (30, 30, 1), (1, 1, 1), (3, 200, 2)])
def test_flat_scans_have_pictures_too(shape):
    labels = np.ones(shape, dtype=np.uint8)
    picture = make_picture(np.random.default_rng(0).normal(size=shape), labels, np.eye(4))
    for plane in picture.planes:
        assert Image.open(BytesIO(plane.image)).size == (plane.width, plane.height)


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0, 1e30])
def test_images_of_one_value_have_pictures_too(value):
    values = np.full((9, 9, 9), value)
    assert len(make_picture(values, np.zeros((9, 9, 9), bool), np.eye(4)).planes) == 3


REAL = {
    "Task04_Hippocampus/imagesTr/hippocampus_001": "Task04_Hippocampus/labelsTr/hippocampus_001",
    "ct/lung/lung_ibsi_image": "ct/lung/lung_ibsi_mask",
    "ct/totalsegmentator/example_ct": "ct/totalsegmentator/example_ct_seg_total",
    "brain_mri/chris_t1": None,
}


@pytest.mark.real
@pytest.mark.parametrize("name", REAL)
def test_real_scans_keep_within_60_and_150_kilobytes(shared_data, name):
    image = nib.load(shared_data / f"{name}.nii.gz")
    labels = np.zeros(image.shape, np.uint8)
    if REAL[name] is not None:
        labels = np.asanyarray(nib.load(shared_data / f"{REAL[name]}.nii.gz").dataobj)
    picture = make_picture(np.asanyarray(image.dataobj), labels.astype(np.uint8), image.affine)
    planes = sum(base64_size(len(p.image)) + base64_size(len(p.mask)) for p in picture.planes)
    assert planes <= 60_000
    assert base64_size(len(picture.image)) + base64_size(len(picture.labels)) <= 150_000
