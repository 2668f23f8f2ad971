import numpy as np
import pytest

from volseg.inference.gallery.scan import Scan
from volseg.inference.gallery.window import Window, find_content, find_window

MIDDLE = (20, 20, 20)


def scan_of(values, labels=None):
    labels = np.zeros(values.shape, np.uint8) if labels is None else labels
    return Scan(values, labels, np.diag([2.0, 2, 2, 1]))


@pytest.fixture
def ct():
    """Give air around a body of water and fat with a bone in it."""
    values = np.full((40, 40, 40), -1000.0)
    values[8:32, 8:32, 8:32] = np.linspace(-100, 60, 24)
    values[10:14, 10:14, 10:14] = 1500
    return values


def test_grey_runs_from_black_to_white_and_what_is_no_number_is_black():
    shades = Window(-100, 100).grey(np.array([-500, -100, 0, 100, np.inf, np.nan]))
    assert shades.tolist() == [0, 0, 0.5, 1, 1, 0]


def test_the_soft_tissue_of_a_ct_is_not_lost_between_air_and_bone(ct):
    window = find_window(scan_of(ct), MIDDLE)
    assert -200 <= window.low < window.high <= 400


def test_lung_has_a_window_that_shows_lung(ct):
    ct[8:32, 8:32, 8:32] = np.linspace(-900, -800, 24)
    ct[10:14, 10:14, 10:14] = 200
    assert find_window(scan_of(ct), MIDDLE).low < -800


def test_the_window_of_an_mri_follows_its_intensities():
    values = np.linspace(0, 5e5, 40**3).reshape(40, 40, 40)
    window = find_window(scan_of(values), MIDDLE)
    assert window.low == pytest.approx(5e3, rel=0.05)
    assert window.high == pytest.approx(4.975e5, rel=0.001)


@pytest.mark.parametrize("value", [0.0, 7.0, np.nan])
def test_an_image_without_contrast_has_a_window_all_the_same(value):
    window = find_window(scan_of(np.full((8, 8, 8), value)), (4, 4, 4))
    assert window.high > window.low


def test_the_dark_around_the_body_is_cut_off_but_no_label(ct):
    labels = np.zeros(ct.shape, np.uint8)
    labels[20, 20, 38] = 1
    box = find_content(scan_of(ct, labels), Window(-200, 200))
    assert box == (slice(6, 34), slice(6, 34), slice(6, 40))


def test_an_image_that_is_all_dark_is_kept_whole():
    assert find_content(scan_of(np.zeros((4, 5, 6))), Window(0, 1)) == (
        slice(0, 4),
        slice(0, 5),
        slice(0, 6),
    )
