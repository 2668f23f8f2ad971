"""Random crops and flips of volumes with boxes."""

import numpy as np
import pytest
import torch

from volseg.errors import DataError
from volseg.transforms.box_crops import PadBoxesd, RandBoxCropd, RandFlipBoxesd
from volseg.transforms.boxes import find_boxes

SIZE = (12, 10, 9)


def case(low=(5, 1, 6), high=(8, 4, 8)):
    """Make a volume whose bright voxels are the lesion."""
    image = torch.zeros(1, *SIZE)
    image[(0, *(slice(*ends) for ends in zip(low, high, strict=True)))] = 1
    boxes, classes = find_boxes(image[0].numpy().astype(int), 2)
    return {"image": image, "boxes": torch.from_numpy(boxes), "classes": torch.from_numpy(classes)}


def is_right(found):
    """Tell whether the boxes are those of the bright voxels."""
    expected = find_boxes(np.asarray(found["image"][0]).astype(int), 2)[0]
    return found["boxes"].tolist() == expected.tolist()


def test_a_crop_holds_a_chosen_lesion_whole_and_all_places_come_up():
    crop, starts = RandBoxCropd("image", (6, 6, 6), anywhere=0), set()
    crop.set_random_state(0)
    for _ in range(200):
        found = crop(case())
        assert found["image"].shape == (1, 6, 6, 6)
        assert found["image"].sum() == 18
        assert is_right(found)
        starts.add(tuple(found["boxes"][0, :3].tolist()))
    # first voxels 2 to 5, 0 to 1 and 2 to 3 hold the lesion
    assert len(starts) == 4 * 2 * 2


def test_a_lesion_larger_than_the_crop_fills_it():
    crop = RandBoxCropd("image", (4, 4, 4), anywhere=0)
    crop.set_random_state(1)
    for _ in range(20):
        found = crop(case((0, 0, 0), SIZE))
        assert found["boxes"].shape == (0, 6)  # less than a share of 0.3 is left
    crop.least_share = 0.0
    assert crop(case((0, 0, 0), SIZE))["boxes"].tolist() == [[0, 0, 0, 4, 4, 4]]


def test_without_a_lesion_the_crop_is_anywhere():
    crop = RandBoxCropd("image", (6, 6, 6), anywhere=0)
    crop.set_random_state(0)
    starts = {crop.sample(SIZE, torch.zeros(0, 6)) for _ in range(2000)}
    assert len(starts) == 7 * 5 * 4


def test_flips_turn_boxes_and_volume_alike():
    flip, seen = RandFlipBoxesd("image", (0, 2)), set()
    flip.set_random_state(0)
    for _ in range(40):
        found = flip(case())
        assert is_right(found)
        seen.add(tuple(found["boxes"][0, :3].tolist()))
    assert seen == {(x, 1, z) for x in (5, 4) for z in (6, 1)}


def test_the_same_seed_gives_the_same_crop():
    crop = RandBoxCropd("image", (6, 6, 6))
    draws = []
    for _ in range(2):
        crop.set_random_state(7)
        draws.append([crop.sample(SIZE, case()["boxes"]) for _ in range(5)])
    assert draws[0] == draws[1]


def test_boxes_are_padded_to_one_number_or_refused():
    found = PadBoxesd(3)(case())
    assert found["boxes"].tolist() == [[5, 1, 6, 8, 4, 8], [0] * 6, [0] * 6]
    assert found["classes"].tolist() == [0, -1, -1]
    with pytest.raises(DataError, match="a crop holds 1 lesions and there is room for 0"):
        PadBoxesd(0)(case())
