"""Segmentation of masks that thresholds found."""

from functools import partial
from typing import ClassVar

import pytest
import torch

from tests.pretext.contract import PretextContract, make_batch
from volseg.errors import GeometryError
from volseg.networks.decoder_unetr import UnetrDecoder
from volseg.networks.residual import ResidualEncoder
from volseg.networks.swin import SwinEncoder
from volseg.networks.vit import ViTEncoder
from volseg.pretext.pseudo_mask import PseudoMaskSegmentation, ThresholdMask
from volseg.pretext.voxels import balanced_losses

PATCH = (16, 24, 8)


def residual(in_channels=1):
    return ResidualEncoder(in_channels, widths=(4, 8, 8))


def swin():
    return SwinEncoder(1, 8, (2, 2), (2, 2), window=3)


def vit(in_channels=1):
    return ViTEncoder(in_channels, PATCH, 4, 24, 4, 2)


class PseudoMaskContract(PretextContract):
    patch = PATCH
    make = staticmethod(residual)
    options: ClassVar = {}

    def build(self, encoder=None):
        torch.manual_seed(0)
        return PseudoMaskSegmentation(encoder or self.make(), **self.options)

    def unfit(self):
        return vit(), "or UnetrDecoder for a plain ViT"

    def test_encoder_and_decoder_are_kept(self, task):
        assert task.trained() == {"encoder": task.encoder, "decoder": task.head.decoder}

    def test_what_is_outside_the_body_does_not_count(self, task):
        batch = make_batch(task, self.patch)
        batch["valid"][..., :4] = False
        other = {**batch, "mask": torch.where(batch["valid"], batch["mask"], 1)}
        assert torch.equal(task(batch).loss, task(other).loss)


class TestThreeClasses(PseudoMaskContract):
    pass


class TestTwoClassesInSwin(PseudoMaskContract):
    make = staticmethod(swin)
    options: ClassVar = {"num_classes": 2}
    unused = ("mask_token",)


class TestViT(PseudoMaskContract):
    make = staticmethod(vit)
    options: ClassVar = {"decoder": partial(UnetrDecoder, width=4)}
    steps = 20

    def unfit(self):
        return residual(), "ConvolutionalDecoder for a pyramid"


class TestTwoChannels(PseudoMaskContract):
    make = staticmethod(partial(residual, 2))
    options: ClassVar = {"channel": 1, "is_augmented": False}

    def unfit(self):
        return vit(2), "or UnetrDecoder for a plain ViT"


def test_the_mask_is_that_of_the_body_whatever_lies_around_it():
    """With the air counted the two tissues would be one class."""
    image = torch.full((1, 4, 4, 8), -1000.0)
    image[..., 5:] = torch.tensor([10.0, 20.0, 20.0])
    mask = ThresholdMask(2)(image, image > -1000)
    assert mask[..., 5:].flatten(0, 2).tolist() == [[0, 1, 1]] * 16
    assert mask[..., :5].max() == 0


def test_a_voxel_has_one_class_in_every_crop_and_under_every_change_of_intensity():
    task = PseudoMaskSegmentation(residual())
    volume = torch.arange(32.0).view(1, 32, 1, 1).expand(1, 32, 24, 8).contiguous()
    whole = ThresholdMask(3)(volume, volume > 0)
    view = task.views(PATCH)
    images = []
    for seed in range(8):
        view.set_random_state(seed)
        crop = view({"image": volume})
        rows = crop["mask"][0, :, 0, 0]
        assert any(torch.equal(rows, whole[0, i : i + 16, 0, 0]) for i in range(17))
        images.append(crop["image"])
    changed = [not torch.isin(image, volume).all() for image in images]
    assert any(changed)


def test_a_sample_of_a_large_body_gives_nearly_the_same_mask_and_always_the_same(monkeypatch):
    volume = torch.rand(1, 16, 16, 16, generator=torch.Generator().manual_seed(0))
    volume += 3 * (torch.arange(16) > 5).float().view(1, 16, 1, 1)
    whole = ThresholdMask(2)(volume, volume > -1)
    monkeypatch.setattr("volseg.pretext.pseudo_mask.MAXIMUM_VOXELS", 256)
    sampled, again = (ThresholdMask(2)(volume, volume > -1) for _ in range(2))
    assert torch.equal(sampled, again)
    assert torch.equal(sampled, whole)  # the gap between the two is wider than a bin


def test_a_rare_class_weighs_as_much_as_a_common_one():
    logits = torch.zeros(1, 2, 1, 1, 8, requires_grad=True)
    label = torch.tensor([1, 0, 0, 0, 0, 0, 0, 0]).view(1, 1, 1, 1, 8)
    balanced_losses(logits, label, label >= 0)["cross_entropy"].backward()
    pull = logits.grad[0, 1, 0, 0]
    assert pull[0].item() == pytest.approx(-0.25)  # half of the loss, at a share of one half
    assert pull[1:].sum().item() == pytest.approx(0.25)


def test_a_class_that_does_not_occur_is_left_out():
    logits = torch.zeros(1, 3, 1, 1, 4)
    label = torch.tensor([1, 1, 0, 0]).view(1, 1, 1, 1, 4)
    losses = balanced_losses(logits, label, label >= 0)
    assert losses["cross_entropy"].item() == pytest.approx(1.098612, abs=1e-5)  # log 3
    # two thirds over 4 thirds and 2 voxels: a Dice of 2 * 2/3 / (4/3 + 2) = 0.4
    assert losses["dice"].item() == pytest.approx(0.6, abs=1e-4)


@pytest.mark.parametrize("options", [{"num_classes": 1}, {"channel": 1}, {"channel": -1}])
def test_options_without_a_mask_are_refused(options):
    with pytest.raises(GeometryError, match="use 2 or more classes of a channel from 0 to 0"):
        PseudoMaskSegmentation(residual(), **options)
