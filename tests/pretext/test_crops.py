"""Masked crops: where they come from, what is valid, and that draws can be replayed."""

import pytest
import torch

from volseg.errors import DataError
from volseg.pretext.crops import MaskedCrop, crop_padded, find_valid

PATCH = (4, 6, 8)
BLOCK = (2, 3, 4)


def view(seed=0, patch=PATCH, block=BLOCK, ratio=0.5, flip_axes=()):
    transform = MaskedCrop(patch, block, ratio, flip_axes)
    transform.set_random_state(seed)
    return transform


def numbered(size):
    """Give a volume in which every voxel has its own value, from 1."""
    return torch.arange(1.0, 1 + size[0] * size[1] * size[2]).view(1, *size)


def test_a_crop_is_a_box_of_the_volume():
    volume = numbered((9, 8, 11))
    for seed in range(10):
        crop = view(seed)({"image": volume})["image"]
        i, j, k = (volume == crop[0, 0, 0, 0]).nonzero()[0, 1:].tolist()
        assert torch.equal(crop, volume[:, i : i + 4, j : j + 6, k : k + 8])


def test_every_place_is_drawn():
    starts = {view(seed).sample((6, 6, 9)).start for seed in range(100)}
    assert starts == {(i, 0, k) for i in range(3) for k in range(2)}


def test_a_small_volume_is_padded_around_its_middle_with_invalid_zeros():
    volume = numbered((2, 6, 5))
    crop = view()({"image": volume})
    assert torch.equal(crop["image"][:, 1:3, :, 1:6], volume) or torch.equal(
        crop["image"][:, 1:3, :, 2:7], volume
    )
    assert torch.equal(crop["valid"], crop["image"] > 1)  # the minimum, 1, counts as air
    assert crop["valid"].sum() == 2 * 6 * 5 - 1


def test_padding_does_not_repeat_what_a_block_hides():
    """Whatever a hidden block holds, the rest of the crop is the same."""
    volume = numbered((4, 6, 5))
    crop = view(ratio=0.9)({"image": volume})
    hidden = crop["mask"]
    for axis, edge in enumerate(BLOCK):
        hidden = hidden.repeat_interleave(edge, dim=axis)
    behind = set(crop["image"][0][hidden].tolist()) - {0}
    assert behind
    assert not behind & set(crop["image"][0][~hidden].tolist())


def test_voxels_that_are_not_finite_become_the_minimum_and_are_invalid():
    volume = torch.tensor([[5.0, float("nan"), 2.0], [float("inf"), 7.0, 8.0]])
    image, valid = find_valid(volume.view(2, 1, 1, 3))
    assert image.view(2, 3).tolist() == [[5, 2, 2], [7, 7, 8]]
    # the first is infinite in channel 2, the second not a number in 1, the third above 7 in 2
    assert valid.flatten().tolist() == [False, False, True]


def test_a_volume_without_a_finite_voxel_becomes_invalid_zeros():
    image, valid = find_valid(torch.full((1, 2, 2, 2), float("nan")))
    assert not image.any()
    assert not valid.any()


def test_a_constant_volume_hides_nothing():
    crop = view()({"image": torch.full((2, *PATCH), 3.0)})
    assert not crop["valid"].any()
    assert not crop["mask"].any()
    assert (crop["image"] == 3).all()


def test_blocks_of_padding_are_never_hidden():
    volume = numbered((4, 6, 4))
    for seed in range(20):
        crop = view(seed, ratio=0.99, block=(2, 3, 2))({"image": volume})
        assert not crop["mask"][..., [0, -1]].any()
        assert crop["mask"][..., 1:3].sum() == 8


def test_the_number_of_hidden_blocks_is_the_ratio_rounded_up():
    crop = view(ratio=0.3)({"image": numbered((10, 10, 10))})
    assert crop["mask"].shape == (2, 2, 2)
    assert crop["mask"].sum() == 3


def test_image_and_valid_are_flipped_alike():
    volume = numbered(PATCH)
    volume[0, :2] = 1
    for seed in range(8):
        crop = view(seed, flip_axes=(0, 2))({"image": volume})
        assert torch.equal(crop["valid"], crop["image"] > 1)


def test_a_crop_does_not_share_memory_with_the_volume():
    volume = numbered((9, 8, 11))
    crop = view()({"image": volume})["image"]
    assert crop.untyped_storage().nbytes() == 4 * crop.numel()
    before = volume.clone()
    crop.zero_()
    assert torch.equal(volume, before)


def test_whole_numbers_become_single_precision():
    crop = view()({"image": numbered(PATCH).to(torch.int16).numpy()})
    assert crop["image"].dtype == torch.float32


def test_an_image_without_a_channel_axis_is_refused():
    with pytest.raises(DataError, match=r"image has shape \(4, 6, 8\); use \(C, X, Y, Z\)"):
        view()({"image": torch.zeros(PATCH)})


def test_a_box_outside_on_both_sides_holds_the_whole_volume():
    box = crop_padded(numbered((1, 2, 1)), (3, 4, 3), (-1, -1, -1))
    assert box.sum() == 1 + 2
    assert box[0, 1, :, 1].tolist() == [0, 1, 2, 0]
