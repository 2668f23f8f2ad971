"""Attributes of component trees, on solids whose components are known."""

import sys

import numpy as np
import pytest

from volseg.errors import DataError, GeometryError
from volseg.transforms.component_tree import component_map, quantize


@pytest.fixture
def nested():
    """Cubes of 5 and 3 voxels inside one of 7, each brighter than what is around it."""
    level = np.zeros((7, 7, 7), dtype=np.uint8)
    level[1:6, 1:6, 1:6] = 1
    level[2:5, 2:5, 2:5] = 2
    return level


def test_nested_bright_cubes_have_the_ratios_of_their_volumes(nested):
    ratio = component_map(nested)
    np.testing.assert_allclose(ratio[nested == 0], 1)
    np.testing.assert_allclose(ratio[nested == 1], 125 / 343, rtol=1e-6)
    np.testing.assert_allclose(ratio[nested == 2], 27 / 125, rtol=1e-6)


def test_of_nested_bright_cubes_the_min_tree_sees_the_shells(nested):
    """Dark regions are the outer shell, that with the next one, and everything."""
    ratio = component_map(nested, "min")
    np.testing.assert_allclose(ratio[nested == 0], (343 - 125) / (343 - 27), rtol=1e-6)
    np.testing.assert_allclose(ratio[nested == 1], (343 - 27) / 343, rtol=1e-6)
    np.testing.assert_allclose(ratio[nested == 2], 1)


def test_the_min_tree_is_the_max_tree_of_the_negative(nested):
    np.testing.assert_array_equal(component_map(nested, "min"), component_map(2 - nested, "max"))


def test_the_logarithm_of_the_area_is_a_share_of_the_volumes(nested):
    area = component_map(nested, attribute="log_area")
    np.testing.assert_allclose(area[nested == 2], np.log(27) / np.log(343), rtol=1e-6)
    np.testing.assert_allclose(area[nested == 0], 1)


def test_regions_of_one_level_that_do_not_touch_are_components_of_their_own():
    level = np.zeros((1, 1, 10), dtype=np.uint8)
    level[0, 0, 1:3] = 1
    level[0, 0, 4:9] = 1
    wanted = [1.0, 0.2, 0.2, 1.0, 0.5, 0.5, 0.5, 0.5, 0.5, 1.0]
    np.testing.assert_allclose(component_map(level)[0, 0], wanted)


def test_voxels_touch_by_faces_not_by_edges():
    level = np.zeros((1, 2, 2), dtype=np.uint8)
    level[0, 0, 0] = level[0, 1, 1] = 1
    np.testing.assert_allclose(component_map(level)[0], [[0.25, 1], [1, 0.25]])


def test_a_constant_volume_is_one_component():
    assert (component_map(np.full((3, 4, 5), 7, dtype=np.uint8)) == 1).all()


def test_levels_are_of_equal_width_and_smoothing_does_not_read_what_is_not_valid():
    volume = np.tile(np.arange(8, dtype=np.float32), (4, 4, 1))
    valid = volume < 7
    assert quantize(volume, valid, 7, 0)[0, 0].tolist() == [0, 1, 2, 3, 4, 5, 6, 0]
    changed = np.where(valid, volume, 1e6).astype(np.float32)
    np.testing.assert_array_equal(quantize(volume, valid, 4, 1), quantize(changed, valid, 4, 1))


@pytest.mark.parametrize("value", [0.0, 3.5])
def test_no_signal_or_one_intensity_is_one_level(value):
    volume = np.full((3, 3, 3), value, dtype=np.float32)
    assert quantize(volume, volume > 1, 16, 1.0).max() == 0


def test_what_is_unknown_is_refused():
    level = np.zeros((2, 2, 2), dtype=np.uint8)
    with pytest.raises(GeometryError, match=r"'log_area'\]"):
        component_map(level, attribute="height")
    with pytest.raises(GeometryError, match="use a tree of"):
        component_map(level, "median")
    with pytest.raises(GeometryError, match="use 2 to 256"):
        quantize(level.astype(np.float32), level == 0, 1, 0)


def test_without_higra_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "higra", None)
    with pytest.raises(DataError, match=r"pip install 'volseg\[trees\]'"):
        component_map(np.zeros((2, 2, 2), dtype=np.uint8))
