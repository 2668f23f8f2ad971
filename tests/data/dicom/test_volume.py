"""A series becomes the volume that its planes say, whatever its files are called."""

from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from tests.data.dicom.files import (
    LPS,
    SPACING,
    along,
    enhanced,
    noise,
    read_by_itk,
    save,
    save_series,
)
from volseg.data.dicom.volume import read_series
from volseg.errors import DataError


def refuse(paths, message):
    """Expect one line that matches."""
    with pytest.raises(DataError, match=message) as caught:
        read_series(paths)
    assert "\n" not in str(caught.value)
    assert str(paths[0].parent) in str(caught.value)


def test_axes_are_columns_rows_and_slices(tmp_path):
    paths = save_series(tmp_path, noise(), along(6, (0, 0, 2.5)))
    values, stack, warnings = read_series(paths)
    assert np.array_equal(values, noise())
    placed = [[-0.8, 0, 0, -10], [0, -1.5, 0, -20], [0, 0, 2.5, 30], [0, 0, 0, 1]]
    assert np.allclose(stack.affine, placed, rtol=0, atol=1e-12)
    assert warnings == []


def test_names_and_instance_numbers_do_not_count(tmp_path):
    names = [f"{name}.dcm" for name in "daecfb"]
    numbers = list(range(6, 0, -1))
    paths = save_series(tmp_path, noise(), along(6, (0, 0, 2)), file=names, InstanceNumber=numbers)
    values, stack, _ = read_series(sorted(paths))
    assert np.array_equal(values, noise())
    assert [plane.file.name for plane in stack.planes] == names


def test_slices_are_in_order_along_rows_cross_columns(tmp_path):
    downwards = save_series(tmp_path, noise(), along(6, (0, 0, -2)))
    values, stack, _ = read_series(downwards)
    assert np.array_equal(values, noise()[:, :, ::-1])
    assert np.allclose(stack.affine[:3, 2], [0, 0, 2])
    assert [plane.file for plane in stack.planes] == downwards[::-1]


SIGNED_AXES = [
    (np.eye(3)[list(order)] * np.array(signs)[:, None])[:2]
    for order in permutations(range(3))
    for signs in product((1, -1), repeat=3)
    if signs[2] == 1
]
"""Rows and columns along any two axes of the body, in both directions."""


@pytest.mark.parametrize("axes", SIGNED_AXES, ids=[str(k) for k in range(24)])
def test_every_pixel_lies_where_the_standard_puts_it(tmp_path, axes):
    normal = np.cross(*axes)
    paths = save_series(tmp_path, noise((3, 4, 3)), along(3, normal * 2), axes)
    values, stack, _ = read_series(paths)
    assert np.array_equal(values, noise((3, 4, 3)))
    check_places(stack, np.array(axes), normal * 2)
    found, affine = read_by_itk(paths)
    assert np.array_equal(found, values)
    assert np.allclose(affine, stack.affine, rtol=0, atol=1e-9)


def check_places(stack, axes, step):
    """Compare the affine with equation C.7.6.2.1-1 of the standard, part 3."""
    for column, row, k in product(range(3), range(4), range(3)):
        place = np.array([10.0, 20, 30]) + k * np.asarray(step)
        place = place + axes[0] * SPACING[1] * column + axes[1] * SPACING[0] * row
        assert np.allclose(stack.affine @ [column, row, k, 1], LPS @ [*place, 1], atol=1e-5)


@settings(max_examples=15, deadline=None)
@given(turn=st.tuples(*[st.floats(-180, 180)] * 3))
def test_an_oblique_series_is_as_itk_reads_it(tmp_path_factory, turn):
    folder = tmp_path_factory.mktemp("oblique")
    axes = Rotation.from_euler("xyz", turn, degrees=True).as_matrix()
    paths = save_series(folder, noise((3, 4, 3)), along(3, axes[2] * 2), axes[:2])
    values, stack, warnings = read_series(paths[::-1])
    check_places(stack, axes, axes[2] * 2)
    found, affine = read_by_itk(paths)
    assert np.array_equal(found, values)
    assert np.allclose(affine, stack.affine, rtol=0, atol=1e-5)  # positions have 6 decimals
    assert warnings == []


def test_a_gantry_tilt_is_in_the_affine(tmp_path):
    positions = along(6, (0, 0.5, 2))
    values, stack, warnings = read_series(save_series(tmp_path, noise(), positions))
    assert np.array_equal(values, noise())
    for k, position in enumerate(positions):
        assert np.allclose(LPS @ stack.affine @ [0, 0, k, 1], [*position, 1])
    (warning,) = warnings
    assert warning.startswith("has a gantry tilt of 14 degrees")  # atan(0.5 / 2) = 14.04


def test_rounded_positions_are_no_tilt(tmp_path):
    positions = along(6, (0, 0.01, 2))
    assert read_series(save_series(tmp_path, noise(), positions))[2] == []


def test_slices_that_are_shifted_unevenly_are_refused(tmp_path):
    positions = along(6, (0, 0.5, 2))
    positions[2] = positions[2] + [0.3, 0, 0]
    refuse(
        save_series(tmp_path, noise(), positions),
        r"unevenly shifted within their planes: 002\.dcm lies 0\.3 mm off",
    )


def test_a_small_jitter_is_accepted_with_a_warning(tmp_path):
    positions = along(6, (0, 0, 2))
    positions[3] = positions[3] + [0, 0, 0.15]
    values, stack, warnings = read_series(save_series(tmp_path, noise(), positions))
    assert np.array_equal(values, noise())
    assert np.allclose(stack.affine[:3, 2], [0, 0, 2])
    assert warnings == [
        "has slices that are unevenly spaced, by up to 0.15 mm; the affine holds within that"
    ]


def test_the_rounding_of_positions_is_no_jitter(tmp_path):
    positions = [np.round(place, 2) for place in along(6, (0, 0, 1 / 0.7))]
    assert read_series(save_series(tmp_path, noise(), positions))[2] == []


def test_uneven_slices_are_refused(tmp_path):
    positions = along(6, (0, 0, 2))
    positions[3] = positions[3] + [0, 0, 0.25]
    refuse(
        save_series(tmp_path, noise(), positions),
        r"unevenly spaced: 003\.dcm lies 0\.25 mm off an even grid of 2 mm",
    )


@pytest.mark.parametrize(("lost", "count"), [([3], "1 of its slices is"), ([2, 3], "2 of its")])
def test_missing_slices_are_named_by_their_neighbours(tmp_path, lost, count):
    paths = save_series(tmp_path, noise(), along(6, (0, 0, 2)))
    kept = [path for k, path in enumerate(paths) if k not in lost]
    neighbours = rf"{paths[lost[0] - 1].name} and {paths[4].name}"
    refuse(kept, rf"about {count} .*missing between {neighbours}, .* the others 2 mm")


def test_slices_of_micrometres_are_apart(tmp_path):
    values, stack, warnings = read_series(save_series(tmp_path, noise(), along(6, (0, 0, 0.005))))
    assert np.array_equal(values, noise())
    assert np.allclose(stack.affine[:3, 2], [0, 0, 0.005])
    assert len(warnings) == 0


def test_two_slices_at_one_place_are_refused(tmp_path):
    positions = along(6, (0, 0, 2))
    positions[4] = positions[3]
    refuse(
        save_series(tmp_path, noise(), positions),
        r"003\.dcm and 004\.dcm lie at one place \(36\.00 mm along the normal\), and 1 such pair",
    )


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        ({"PixelSpacing": (1.5, 0.9)}, r"pixel spacing \(0\.8 x 1\.5 and 0\.9 x 1\.5 mm\)"),
        ({"ImageOrientationPatient": (0, 1, 0, -1, 0, 0)}, "orientation"),
    ],
)
def test_planes_of_two_stacks_are_refused(tmp_path, tags, message):
    paths = save_series(tmp_path / "a", noise(), along(6, (0, 0, 2)))
    paths += save_series(tmp_path / "b", noise(), along(1, (0, 0, 2), (10, 20, 42)), **tags)
    refuse(paths, rf"000\.dcm and 000\.dcm differ in {message}")


def test_planes_of_two_sizes_are_refused(tmp_path):
    paths = save_series(tmp_path / "a", noise(), along(6, (0, 0, 2)))
    paths += save_series(tmp_path / "b", noise((5, 5, 1)), along(1, (0, 0, 2), (10, 20, 42)))
    refuse(paths, r"differ in size \(4 x 5 and 5 x 5 pixels\)")


def test_one_slice_is_as_thick_as_it_says(tmp_path):
    paths = save_series(tmp_path, noise(), along(1, (0, 0, 2)), SliceThickness=3)
    values, stack, warnings = read_series(paths)
    assert values.shape == (4, 5, 1)
    assert np.allclose(stack.affine[:3, 2], [0, 0, 3])
    assert warnings == []
    paths = save_series(tmp_path, noise(), along(1, (0, 0, 2)), SliceThickness=None)
    assert read_series(paths)[2] == ["is one slice without a thickness; 1 mm is assumed"]


def test_frames_in_any_order_become_a_volume(tmp_path):
    order = [3, 0, 5, 1, 4, 2]
    positions = along(6, (0, 0, 2))
    scales = [(1, 10 * k) for k in order]
    made = enhanced(noise()[:, :, order], [positions[k] for k in order], scales=scales)
    path = save(made, tmp_path / "enhanced.dcm")
    values, stack, warnings = read_series([path])
    assert np.array_equal(values, noise() + 10 * np.arange(6))
    assert [plane.frame for plane in stack.planes] == [1, 3, 5, 0, 4, 2]
    assert np.allclose(stack.affine[:3, 3], [-10, -20, 30])
    assert warnings == []


def test_frames_without_places_are_refused(tmp_path):
    made = enhanced(noise(), along(6, (0, 0, 2)))
    del made.PerFrameFunctionalGroupsSequence
    refuse([save(made, tmp_path / "a.dcm")], "holds 6 frames and no functional groups")


def test_frames_without_a_group_each_are_refused(tmp_path):
    made = enhanced(noise(), along(6, (0, 0, 2)))
    made.PerFrameFunctionalGroupsSequence = made.PerFrameFunctionalGroupsSequence[:5]
    refuse([save(made, tmp_path / "a.dcm")], r"has 6 frames and 5 functional groups")
    made.PerFrameFunctionalGroupsSequence = []
    refuse([save(made, tmp_path / "a.dcm")], r"has 6 frames and 0 functional groups")


def test_a_frame_is_named_by_its_number(tmp_path):
    positions = along(6, (0, 0, 2))
    positions[4] = positions[3]
    path = save(enhanced(noise(), positions), tmp_path / "a.dcm")
    refuse([path], "frame 4 of a.dcm and frame 5 of a.dcm lie at one place")


def test_no_file_is_no_series():
    with pytest.raises(DataError, match="has no files"):
        read_series([])


def test_an_absent_file_is_named(tmp_path):
    paths = save_series(tmp_path, noise(), along(3, (0, 0, 2)))
    paths[1].unlink()
    refuse(paths, r"001\.dcm: does not exist")
