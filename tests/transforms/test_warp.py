"""Patches: where they lie, and how they are turned, flipped and bent."""

import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from volseg.transforms.warp import (
    RandWarpd,
    Warp,
    WarpRanges,
    read_places,
    sample_warp,
    warp_places,
)

EYE = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
TURN = ((0.0, -1.0, 0.0), (1.0, 0.0, 0.0), (0.0, 0.0, 1.0))
STILL = WarpRanges(affine=0, elastic=0, flip_axes=())
MM = (1.0, 1.0, 1.0)


def volume(*size, seed=0):
    return torch.randn(1, *size, generator=torch.Generator().manual_seed(seed))


def read(image, drawn, size, spacing=MM, mode="bilinear"):
    return read_places(image, warp_places(drawn, size, spacing), mode)


@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
def test_a_warp_that_does_nothing_is_a_crop(mode):
    image = volume(20, 22, 24)
    seen = read(image, Warp((9.5, 7.0, 10.5), EYE, 0, 0), (6, 7, 8), mode=mode)
    torch.testing.assert_close(seen, image[:, 7:13, 4:11, 7:15], atol=1e-4, rtol=0)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_flip_mirrors_the_crop(axis):
    rows = [list(row) for row in EYE]
    rows[axis][axis] = -1.0
    image = volume(12, 12, 12)
    drawn = Warp((5.5, 5.5, 5.5), tuple(map(tuple, rows)), 0, 0)
    torch.testing.assert_close(
        read(image, drawn, (12, 12, 12)), image.flip(axis + 1), atol=1e-4, rtol=0
    )


def test_a_quarter_turn_is_that_of_torch():
    image = volume(11, 11, 5)
    seen = read(image, Warp((5, 5, 2), TURN, 0, 0), (11, 11, 5))
    # Patch voxel (i, j) reads (-j, i) about the centre, as a turn by three quarters does.
    torch.testing.assert_close(seen, torch.rot90(image, 3, (1, 2)), atol=1e-4, rtol=0)


def test_a_turn_keeps_millimetres_on_a_grid_of_uneven_spacing():
    places = warp_places(Warp((10, 10, 10), TURN, 0, 0), (3, 3, 3), (1.0, 2.0, 1.0))
    # One voxel along the second axis is 2 mm, which are two voxels along the first.
    assert places[:, 1, 2, 1].tolist() == [8, 10, 10]
    assert places[:, 2, 1, 1].tolist() == [10, 10.5, 10]


def test_a_bend_is_as_strong_in_mm_as_drawn_and_smooth():
    squares, steps = [], []
    for seed in range(30):
        drawn = Warp((0, 0, 0), EYE, 3.0, seed)
        still = warp_places(Warp((0, 0, 0), EYE, 0, 0), (24, 24, 24), (4.0, 2.0, 4.0))
        shift = warp_places(drawn, (24, 24, 24), (4.0, 2.0, 4.0)) - still
        squares.append((shift * torch.tensor([4.0, 2.0, 4.0]).view(3, 1, 1, 1)).square().mean())
        steps.append(float(shift.diff(dim=1).abs().max()))
    assert float(torch.stack(squares).mean().sqrt()) == pytest.approx(3, rel=0.15)
    assert max(steps) < 1


def test_a_volume_is_continued_beyond_its_border():
    image = volume(6, 6, 6)
    seen = read(image, Warp((0, 2.5, 2.5), EYE, 0, 0), (9, 6, 6))
    torch.testing.assert_close(seen[:, :4], image[:, :1].expand(1, 4, 6, 6), atol=1e-4, rtol=0)


def test_nearest_reading_keeps_labels_whole_and_their_type():
    label = torch.randint(0, 600, (1, 16, 16, 16), dtype=torch.int16)
    drawn = sample_warp(np.random.RandomState(0), WarpRanges(affine=1, elastic=1), (8, 8, 8))
    seen = read(label, drawn, (12, 12, 12), mode="nearest")
    assert seen.dtype == torch.int16
    assert set(seen.unique().tolist()) <= set(label.unique().tolist())


@settings(max_examples=30, deadline=None)
@given(
    voxel=st.tuples(st.integers(1, 18), st.integers(1, 23), st.integers(1, 28)),
    seed=st.integers(0, 1000),
)
def test_a_focused_patch_holds_its_voxel_wherever_it_lies(voxel, seed):
    label = torch.zeros(1, 20, 25, 30, dtype=torch.uint8)
    label[(0, *voxel)] = 1
    case = {"image": volume(20, 25, 30), "label": label}
    transform = RandWarpd(
        ("image", "label"), ("bilinear", "nearest"), (10, 12, 14), focus=1.0, ranges=STILL
    ).set_random_state(seed)
    done = transform(case)
    assert done["label"].shape == (1, 10, 12, 14)
    assert int(done["label"].sum()) == 1
    place = tuple(done["label"].nonzero()[0].tolist())
    assert float(done["image"][place]) == pytest.approx(float(case["image"][(0, *voxel)]), abs=1e-4)


@pytest.mark.parametrize(("focus", "expected"), [(1.0, 200), (0.0, 0), (0.5, 100)])
def test_patches_lie_around_the_label_as_often_as_asked(focus, expected):
    label = torch.zeros(1, 40, 40, 40, dtype=torch.uint8)
    label[0, 35:, 35:, 35:] = 1
    image = torch.zeros(1, 40, 40, 40)
    image[0, :8, :8, :8] = 1
    transform = RandWarpd(
        ("image", "label"), ("bilinear", "nearest"), (8, 8, 8), focus=focus, ranges=STILL
    ).set_random_state(0)
    count = sum(
        bool(transform({"image": image, "label": label})["label"].any()) for _ in range(200)
    )
    assert abs(count - expected) <= 4 * np.sqrt(200 * focus * (1 - focus))


def test_a_case_without_label_is_cropped_in_its_bright_part():
    image = torch.zeros(1, 40, 40, 40)
    image[0, 30:] = 1
    case = {"image": image, "label": torch.zeros(1, 40, 40, 40)}
    transform = RandWarpd(("image", "label"), ("bilinear", "nearest"), (8, 8, 8)).set_random_state(
        0
    )
    assert all(bool((transform(case)["image"] > 0.5).any()) for _ in range(20))


def test_a_volume_smaller_than_the_patch_lies_in_its_middle():
    image = volume(4, 20, 20)
    transform = RandWarpd(("image",), ("bilinear",), (8, 8, 8), ranges=STILL).set_random_state(0)
    seen = transform({"image": image})["image"]
    assert seen.shape == (1, 8, 8, 8)
    torch.testing.assert_close(seen[:, 0], seen[:, 2], atol=1e-4, rtol=0)
    assert not torch.allclose(seen[:, 2], seen[:, 3])


def test_all_keys_are_warped_alike():
    mask = torch.zeros(1, 40, 40, 40)
    mask[0, 10:28, 12:30, 8:26] = 1
    transform = RandWarpd(
        ("image", "label"),
        ("bilinear", "nearest"),
        (24, 24, 24),
        ranges=WarpRanges(affine=1, elastic=1),
    ).set_random_state(2)
    for _ in range(5):
        done = transform({"image": mask, "label": mask.to(torch.uint8)})
        certain = (done["image"] > 0.95) | (done["image"] < 0.05)
        assert bool(((done["image"] > 0.5) == (done["label"] > 0))[certain].all())
        assert 0 < float(done["label"].float().mean()) < 1


def test_turns_and_scales_stay_within_their_ranges():
    random = np.random.RandomState(0)
    ranges = WarpRanges(affine=1, rotation=10, scale=0.2, flip_axes=(0,))
    flips = 0
    for _ in range(300):
        matrix = np.array(sample_warp(random, ranges, (0, 0, 0)).matrix)
        lengths = np.linalg.norm(matrix, axis=0)
        assert (lengths >= 1 / 1.2 - 1e-9).all()
        assert (lengths <= 1.2 + 1e-9).all()
        flips += np.linalg.det(matrix) < 0
        turn = matrix / lengths * [np.sign(np.linalg.det(matrix)), 1, 1]
        # Three turns of at most 10 degrees about different axes add up to at most 30.
        assert np.trace(turn) >= 1 + 2 * np.cos(np.deg2rad(30))
    assert abs(flips - 150) < 4 * np.sqrt(75)


def test_the_same_seed_cuts_the_same_patch_also_after_pickling():
    case = {"image": volume(20, 20, 20)}
    transform = RandWarpd(("image",), ("bilinear",), (8, 8, 8)).set_random_state(5)
    copy = pickle.loads(pickle.dumps(transform))
    first = transform(case)["image"]
    assert torch.equal(copy(case)["image"], first)
    assert not torch.equal(transform(case)["image"], first)
