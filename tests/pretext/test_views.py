"""Random views: where they lie, and that intensities change only when asked to."""

import pytest
import torch

from volseg.errors import GeometryError
from volseg.pretext.views import RandomViews, ViewDraw

PATCH = (10, 15, 5)
SIZE = (20, 25, 12)


def view(crops="pair", seed=0, **options):
    made = RandomViews(PATCH, crops, **options)
    made.set_random_state(seed)
    return made


def draws(crops, seed):
    return view(crops, seed).sample(torch.ones(1, *SIZE, dtype=torch.bool))


def numbered():
    """Number the voxels from 1, so that a crop tells where it comes from."""
    return torch.arange(1.0, 1 + 20 * 25 * 12).view(1, *SIZE)


@pytest.mark.parametrize(("crops", "count"), [("one", 1), ("same", 2), ("pair", 2), ("multi", 5)])
def test_each_way_of_cropping_gives_its_number_of_views(crops, count):
    assert view(crops)({"image": numbered()})["image"].shape == (count, 1, *PATCH)


def test_without_changes_a_view_is_a_box_of_the_volume():
    crop = view("same", is_augmented=False)({"image": numbered()})["image"]
    first = int(crop[0, 0, 0, 0, 0]) - 1
    i, j, k = first // 300, first // 12 % 25, first % 12
    assert torch.equal(crop[0], numbered()[:, i : i + 10, j : j + 15, k : k + 5])
    assert torch.equal(crop[0], crop[1])


def test_a_pair_shares_half_its_volume():
    for seed in range(100):
        first, second = draws("pair", seed)
        shared = 1.0
        for a, b, edge in zip(first.start, second.start, PATCH, strict=True):
            shared *= 1 - abs(a - b) / edge
        assert shared >= 0.5
    assert first.start != second.start


def test_smaller_crops_lie_inside_the_full_one_and_have_their_share_of_it():
    for seed in range(50):
        full, *others = draws("multi", seed)
        shares = []
        for one in others:
            ends = zip(one.start, one.size, full.start, PATCH, strict=True)
            assert all(a <= b and b + n <= a + edge for b, n, a, edge in ends)
            shares.append(one.size[0] * one.size[1] * one.size[2] / 750)
        # edges are rounded to whole voxels, at the worst 4.5 of 5 to 4 or 5
        assert all(0.5 * 0.8 <= share <= 0.75 * 1.25 for share in shares[:2])
        assert all(0.25 * 0.8 <= share <= 0.5 * 1.25 for share in shares[2:])


def test_a_smaller_crop_is_enlarged_to_the_patch():
    box = view(is_augmented=False).render(numbered(), ViewDraw((0, 0, 0), (5, 5, 5), (), 0))
    assert box.shape == (1, *PATCH)
    torch.testing.assert_close(box.mean(), numbered()[:, :5, :5, :5].mean(), rtol=1e-3, atol=0)


def test_changes_are_a_function_of_their_seed():
    made = view()
    volume = torch.randn(1, *SIZE, generator=torch.Generator().manual_seed(0))
    one, again, other = (
        made.render(volume, ViewDraw((0, 0, 0), PATCH, (), seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert type(one) is torch.Tensor


def test_crops_of_air_are_avoided():
    """Half of the volume is air; of ten tries all fall there once in a thousand."""
    volume = numbered()
    volume[:, 10:] = 0
    shares = []
    for seed in range(50):
        crop = view("one", seed, is_augmented=False)({"image": volume})["image"]
        shares.append((crop > 0).float().mean().item())
    assert min(shares) >= 0.25


def test_views_are_flipped_one_by_one():
    seen = {tuple(one.flips for one in draws_with_flips(seed)) for seed in range(50)}
    assert seen == {((), ()), ((1,), ()), ((), (1,)), ((1,), (1,))}


def draws_with_flips(seed):
    return view("same", seed, flip_axes=(1,)).sample(torch.ones(1, *SIZE, dtype=torch.bool))


def test_an_unknown_way_of_cropping_is_refused():
    with pytest.raises(GeometryError, match=r"use one of \['one', 'same', 'pair', 'multi'\]"):
        RandomViews(PATCH, "triple")
