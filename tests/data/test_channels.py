"""Channels by name: placed, filled, and refused where nobody knows what they show."""

import pytest
import torch
from monai.data import MetaTensor

from volseg.data.channels import PlaceChannelsd
from volseg.errors import DataError

FOUR = ("t1", "t1c", "t2", "flair")


def image(*values, file="case.nii.gz", **meta):
    """Give an image of two voxels a channel."""
    voxels = torch.tensor(values, dtype=torch.float32).view(-1, 1, 1, 1).repeat(1, 2, 1, 1)
    return MetaTensor(voxels, meta={"filename_or_obj": file, **meta})


def place(volume):
    return PlaceChannelsd("image", FOUR)({"image": volume})["image"]


def test_channels_go_to_the_places_of_their_names_and_the_others_are_zero():
    placed = place(image(5, 7, channels=["FLAIR", "T1Gd"]))
    assert placed[:, 0, 0, 0].tolist() == [0, 7, 0, 5]
    assert placed.shape == (4, 2, 1, 1)
    assert placed.meta["channels"] == ["t1c", "flair"]
    assert placed.meta["missing_channels"] == ["t1", "t2"]


def test_names_of_the_case_count_before_those_of_the_image_and_are_used_up():
    case = {"image": image(1, 2, channels=["t1", "t2"]), "channels": ["t2f", "t1n"]}
    result = PlaceChannelsd("image", FOUR)(case)
    assert result["image"][:, 0, 0, 0].tolist() == [2, 0, 0, 1]
    assert "channels" not in result


def test_as_many_channels_as_the_network_takes_are_in_its_order():
    assert place(image(1, 2, 3, 4))[:, 0, 0, 0].tolist() == [1, 2, 3, 4]


def test_a_lone_channel_shows_what_its_file_is_named_after():
    assert place(image(3, file="/a/p1_t1ce.nii.gz"))[:, 0, 0, 0].tolist() == [0, 3, 0, 0]


@pytest.mark.parametrize(
    ("volume", "said"),
    [
        (image(1, file="p1.nii.gz"), r"p1\.nii\.gz: its name does not say which of t1, t1c, t2"),
        (image(1, 2), "its name does not say which"),
        (image(1, channels=["ADC"]), "shows ADC, and the network takes t1, t1c, t2, flair"),
        (image(1, 2, channels=["t1", "T1w"]), "name one twice"),
        (image(1, 2, channels=["t1"]), "has 2 channels and 1 names"),
    ],
)
def test_what_cannot_be_placed_is_refused_in_one_line(volume, said):
    with pytest.raises(DataError, match=said):
        place(volume)
