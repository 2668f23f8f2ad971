"""Spoilt volumes."""

import numpy as np
import pytest
import torch

from volseg.transforms.corruption import Corruption, bend, corrupt, draw_corruption, shuffle_windows

SIZE = (12, 20, 8)


@pytest.fixture
def image():
    return torch.randn(2, *SIZE, generator=torch.Generator().manual_seed(0)) * 100 - 30


def test_no_corruption_changes_nothing(image):
    # to unit range and back rounds twice, by 2^-24 of 700
    torch.testing.assert_close(corrupt(image, Corruption()), image, rtol=0, atol=2e-4)


def test_a_corruption_is_a_function_of_its_draw(image):
    draw = draw_corruption(np.random.RandomState(3), SIZE)
    assert torch.equal(corrupt(image, draw), corrupt(image, draw))


def test_intensities_stay_in_the_range_of_their_channel(image):
    random = np.random.RandomState(0)
    for _ in range(20):
        spoilt = corrupt(image, draw_corruption(random, SIZE))
        for own, other in zip(image, spoilt, strict=True):
            assert other.min() >= own.min() - 1e-3
            assert other.max() <= own.max() + 1e-3


def test_a_curve_is_that_of_bezier():
    """At t = 1/2 the cubic is (p0 + 3 p1 + 3 p2 + p3) / 8."""
    x1, y1, x2, y2 = 0.1, 0.7, 0.2, 0.9
    x, y = (3 * x1 + 3 * x2 + 1) / 8, (3 * y1 + 3 * y2 + 1) / 8
    assert bend(torch.tensor([x]), (x1, y1, x2, y2)).item() == pytest.approx(y, abs=1e-4)


@pytest.mark.parametrize("is_falling", [False, True])
def test_a_curve_keeps_or_turns_the_order_of_intensities(is_falling):
    row = torch.linspace(0, 1, 50)
    steps = bend(row, (0.9, 0.1, 0.3, 0.8), is_falling=is_falling).diff()
    assert (steps <= 0).all() if is_falling else (steps >= 0).all()


def test_voxels_are_shuffled_inside_their_window_alone():
    image = torch.arange(2.0 * 12 * 20 * 8).view(2, *SIZE)
    generator = torch.Generator().manual_seed(0)
    mixed = shuffle_windows(image, (3, 4, 2), (-1, 0, 0), generator)
    assert not torch.equal(mixed, image)
    firsts = mixed[:, :2]  # of 3, the first window begins one before: these two are cut off
    assert torch.equal(firsts, image[:, :2])
    for i in range(2, 11, 3):
        for j in range(0, 20, 4):
            for k in range(0, 8, 2):
                box = (slice(i, i + 3), slice(j, j + 4), slice(k, k + 2))
                own, other = image[0][box].flatten(), mixed[0][box].flatten()
                assert torch.equal(own, other.sort().values)
    assert torch.equal(mixed[1] - mixed[0], torch.full(SIZE, 12 * 20 * 8.0))  # channels alike


def test_windows_larger_than_the_volume_change_nothing(image):
    generator = torch.Generator().manual_seed(0)
    assert torch.equal(shuffle_windows(image, (50, 1, 1), (-3, 0, 0), generator), image)


@pytest.mark.parametrize("is_outside", [False, True])
def test_boxes_or_all_but_boxes_are_painted(image, is_outside):
    box = ((2, 3, 1), (4, 5, 6))
    spoilt = corrupt(image, Corruption(boxes=(box,), is_outside=is_outside))
    changed = (spoilt - image).abs() > 1e-3
    inside = torch.zeros(SIZE, dtype=torch.bool)
    inside[2:6, 3:8, 1:7] = True
    painted = inside != is_outside
    assert changed[:, painted].float().mean() > 0.99
    assert not changed[:, ~painted].any()


def test_a_box_lies_inside_the_volume_and_each_kind_of_spoiling_occurs():
    random = np.random.RandomState(0)
    draws = [draw_corruption(random, SIZE) for _ in range(200)]
    for start, edges in (box for draw in draws for box in draw.boxes):
        assert all(s >= 0 and s + e <= n for s, e, n in zip(start, edges, SIZE, strict=True))
    shares = [
        np.mean([draw.curve is not None for draw in draws]),
        np.mean([draw.window is not None for draw in draws]),
        np.mean([bool(draw.boxes) for draw in draws]),
    ]
    np.testing.assert_allclose(shares, [0.9, 0.5, 0.9], atol=0.1)  # 3 deviations of 200 draws
