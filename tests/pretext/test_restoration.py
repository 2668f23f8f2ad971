"""Restoration of spoilt volumes."""

from functools import partial
from typing import ClassVar

import pytest
import torch

from tests.pretext.contract import PretextContract, make_batch
from volseg.errors import GeometryError
from volseg.networks.decoder_unetr import UnetrDecoder
from volseg.networks.residual import ResidualEncoder
from volseg.networks.vit import ViTEncoder
from volseg.pretext.restoration import Restoration

PATCH = (16, 24, 8)


def residual(in_channels=1):
    return ResidualEncoder(in_channels, widths=(4, 8, 8))


def vit():
    return ViTEncoder(1, PATCH, 4, 24, 4, 2)


class RestorationContract(PretextContract):
    patch = PATCH
    make = staticmethod(residual)
    options: ClassVar = {}

    def build(self, encoder=None):
        torch.manual_seed(0)
        return Restoration(encoder or self.make(), **self.options)

    def unfit(self):
        return vit(), "or UnetrDecoder for a plain ViT"

    def test_the_clean_crop_is_the_volume_and_the_image_is_not(self, task):
        batch = make_batch(task, self.patch)
        for image, clean in zip(batch["image"], batch["clean"], strict=True):
            assert not torch.equal(image, clean)
        assert task(batch).monitors["spoilt_error"] > 0

    def test_only_valid_voxels_count(self, task):
        batch = make_batch(task, self.patch)
        batch["valid"][..., :3] = False
        other = {**batch, "clean": torch.where(batch["valid"], batch["clean"], 99.0)}
        assert torch.equal(task(batch).loss, task(other).loss)


class TestConvolutional(RestorationContract):
    pass


class TestTwoChannels(RestorationContract):
    make = staticmethod(partial(residual, 2))
    options: ClassVar = {"loss": "l1", "flip_axes": (0,)}


class TestViT(RestorationContract):
    make = staticmethod(vit)
    options: ClassVar = {"decoder": partial(UnetrDecoder, width=4)}

    def unfit(self):
        return residual(), "ConvolutionalDecoder for a pyramid"


def test_the_loss_is_the_error_of_what_the_picture_shows():
    task = Restoration(residual())
    batch = make_batch(task, PATCH)
    result = task(batch, panels=True)
    valid = batch["valid"]
    error = (result.panels["restored"] - batch["clean"])[valid].square().mean()
    assert result.loss.item() == pytest.approx(error.item(), rel=1e-5)


def test_an_unknown_loss_is_refused():
    with pytest.raises(GeometryError, match=r"use one of \['l1', 'l2'\]"):
        Restoration(residual(), loss="l3")
