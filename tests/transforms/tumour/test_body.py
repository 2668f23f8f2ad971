"""What of an image is body."""

import numpy as np
import pytest
import torch

from volseg.transforms.tumour.body import air_threshold, estimate_body

FAT, MUSCLE, AIR = 1000.0, 300.0, 15.0


def limb(has_air: bool) -> torch.Tensor:
    """Make muscle in fat, the greater part of it fat, with or without air around."""
    image = torch.full((48, 48, 24), FAT)
    image[12:30, 12:30] = MUSCLE
    if has_air:
        image[40:] = AIR
    noise = torch.randn(image.shape, generator=torch.Generator().manual_seed(0))
    return (image + 10 * noise).clamp(min=0)


@pytest.mark.parametrize("has_air", [True, False])
def test_muscle_is_body_beside_much_brighter_fat(has_air):
    found = estimate_body(limb(has_air), np.eye(4))
    assert found[14:28, 14:28, 4:-4].all()


def test_air_is_not():
    found = estimate_body(limb(has_air=True), np.eye(4))
    assert not found[40:].any()


def test_a_crop_without_air_is_all_body():
    image = limb(has_air=False)
    assert air_threshold(image) < image.min()


def test_an_image_of_one_value_is_all_body():
    assert estimate_body(torch.full((16, 16, 16), 7.0), np.eye(4))[4:-4, 4:-4, 4:-4].all()
