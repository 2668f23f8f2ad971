"""Crops give every class its turn."""

import pytest
import torch

from volseg.transforms.crops import RandBalancedCropd, as_plain


def case(shape=(12, 13, 14)):
    """Give a case whose image numbers its voxels; class 1 fills a half, class 2 is one voxel."""
    label = torch.zeros(1, *shape)
    label[0, :6] = 1
    label[0, 10, 9, 3] = 2
    image = torch.arange(label.numel(), dtype=torch.float32).reshape(1, *shape)
    return {"image": image, "label": label}


def crops(transform, number, data=None):
    """Draw crops from seeds 0, 1, ..."""
    for seed in range(number):
        transform.set_random_state(seed=seed)
        yield transform(data or case())


def test_image_and_label_are_the_same_piece_of_the_volume():
    for crop in crops(RandBalancedCropd(["image", "label"], (4, 5, 6)), 20):
        places = crop["image"].long().flatten()
        assert torch.equal(case()["label"].flatten()[places], crop["label"].flatten())
        assert crop["image"].shape == (1, 4, 5, 6)
        corner, opposite = int(places[0]), int(places[-1])
        assert opposite - corner == 3 * 13 * 14 + 4 * 14 + 5


def test_a_class_of_one_voxel_is_seen_as_often_as_one_of_a_thousand():
    transform = RandBalancedCropd(["image", "label"], (3, 3, 3), anywhere=0)
    seen = sum(bool((crop["label"] == 2).any()) for crop in crops(transform, 400))
    # a fair coin in 400 throws lies within 4 standard deviations (10 each) of 200
    assert 160 <= seen <= 240


def test_a_crop_anywhere_seldom_meets_the_small_class():
    transform = RandBalancedCropd(["image", "label"], (3, 3, 3), anywhere=1)
    seen = sum(bool((crop["label"] == 2).any()) for crop in crops(transform, 400))
    # of 10 * 11 * 12 corners 27 hold the voxel: 2 % of 400 is 8.2, standard deviation 2.8
    assert seen <= 20


def test_every_corner_is_possible():
    data = {"image": torch.zeros(1, 4, 3, 3), "label": torch.zeros(1, 4, 3, 3)}
    transform = RandBalancedCropd(["image", "label"], (2, 3, 3))
    starts = set()
    for seed in range(60):
        transform.set_random_state(seed=seed)
        starts.add(transform.sample(data["label"][0]))
    assert starts == {(0, 0, 0), (1, 0, 0), (2, 0, 0)}


def test_a_volume_of_the_crops_size_is_taken_whole():
    (crop,) = crops(RandBalancedCropd(["image", "label"], (12, 13, 14)), 1)
    assert torch.equal(crop["image"], case()["image"])


@pytest.mark.parametrize("seed", [0, 7])
def test_the_same_seed_gives_the_same_crop(seed):
    transform = RandBalancedCropd(["image", "label"], (4, 5, 6))
    first = transform.set_random_state(seed=seed)(case())["image"]
    second = transform.set_random_state(seed=seed)(case())["image"]
    assert torch.equal(first, second)


def test_plain_tensors_are_what_is_left():
    assert as_plain({"image": torch.ones(1), "name": "a"}) == {"image": torch.ones(1)}
