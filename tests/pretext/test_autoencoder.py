"""Autoencoders, with and without a partner that rebuilds features."""

from functools import partial
from typing import ClassVar

import pytest
import torch

from tests.pretext.contract import PretextContract, make_batch
from volseg.errors import GeometryError
from volseg.networks.decoder_unetr import UnetrDecoder
from volseg.networks.residual import ResidualEncoder
from volseg.networks.vit import ViTEncoder
from volseg.pretext.autoencoder import Autoencoder
from volseg.pretext.partners import (
    ConvolutionalPartner,
    SparseRegionAttention,
    TransformerPartner,
)

PATCH = (16, 24, 8)


def residual(in_channels=1):
    return ResidualEncoder(in_channels, widths=(4, 8, 8))


def vit():
    return ViTEncoder(1, PATCH, 4, 24, 4, 2)


class AutoencoderContract(PretextContract):
    patch = PATCH
    steps = 18  # what is rebuilt from the deepest map alone comes slowly
    make = staticmethod(residual)
    options: ClassVar = {}

    def build(self, encoder=None):
        torch.manual_seed(0)
        return Autoencoder(encoder or self.make(), **self.options)

    def unfit(self):
        return vit(), "or UnetrDecoder for a plain ViT"

    def test_what_is_rebuilt_depends_on_the_deepest_map_alone(self, task):
        """Were a finer map or the image to reach it, the network would copy."""
        features = [level.detach() for level in task.encoder(make_batch(task, self.patch)["image"])]
        other = [level + 9 for level in features[:-1]] + features[-1:]
        image = torch.randn(2, task.encoder.spec.in_channels, *self.patch)
        first, second = task._rebuild(image, features), task._rebuild(image + 5, other)
        assert torch.equal(first, second)
        if task.partner is not None:
            for own, same in zip(task.partner(features), task.partner(other), strict=True):
                assert torch.equal(own, same)

    def test_the_map_of_anomalies_lies_on_the_volume_and_is_not_negative(self, task):
        image = make_batch(task, self.patch)["image"]
        found = task.anomaly(image)
        assert found.shape == (self.count, 1, *self.patch)
        assert found.min() >= -1e-6


class TestControl(AutoencoderContract):
    pass


class TestHomogeneous(AutoencoderContract):
    options: ClassVar = {"partner": ConvolutionalPartner}


class TestHeterogeneous(AutoencoderContract):
    make = staticmethod(partial(residual, 2))
    options: ClassVar = {"partner": TransformerPartner, "loss": "l1", "is_augmented": True}

    def unfit(self):
        return ViTEncoder(2, PATCH, 4, 24, 4, 2), "or UnetrDecoder for a plain ViT"


class TestViT(AutoencoderContract):
    make = staticmethod(vit)
    options: ClassVar = {"decoder": partial(UnetrDecoder, width=4)}

    def unfit(self):
        return residual(), "ConvolutionalDecoder for a pyramid"


def test_a_transformer_with_a_transformer_as_partner_is_refused():
    with pytest.raises(GeometryError, match="use ResidualEncoder, or ConvolutionalPartner"):
        Autoencoder(vit(), partial(UnetrDecoder, width=4), TransformerPartner)


@pytest.mark.parametrize("partner", [ConvolutionalPartner, TransformerPartner])
def test_a_partner_rebuilds_every_finer_map_at_its_size(partner):
    encoder = residual()
    features = encoder(torch.randn(1, 1, *PATCH))
    rebuilt = partner(encoder.spec)(features)
    assert [m.shape for m in rebuilt] == [m.shape for m in features[:-1]]


def test_features_do_not_chase_what_rebuilds_them():
    """The finest level's last bias moves the finest map; the partner must not pull at it."""
    task = Autoencoder(residual(), partner=ConvolutionalPartner)
    batch = make_batch(task, PATCH)
    features = [level.detach().requires_grad_() for level in task.encoder(batch["image"])]
    task.encoder.forward = lambda x, mask=None: features
    task(batch).loss.backward()
    assert features[-1].grad.abs().max() > 0
    assert all(level.grad is None or not level.grad.any() for level in features[:-1])


def test_attention_to_patches_of_one_cell_that_are_equal_gives_their_value():
    layer = SparseRegionAttention(4, patch=2)
    constant = torch.ones(1, 4, 5, 4, 3) * torch.tensor([1.0, 2, 3, 4]).view(1, 4, 1, 1, 1)
    answer = layer(constant) - constant
    torch.testing.assert_close(answer, answer[..., :1, :1, :1].expand_as(answer))
    value = layer.answer(layer.norm(constant))[:, 4:]
    torch.testing.assert_close(answer, layer.leave(value))


def test_an_odd_map_is_attended_to_its_last_cell():
    layer = SparseRegionAttention(4, patch=2)
    x = torch.randn(1, 4, 3, 3, 3, requires_grad=True)
    (layer(x) - x)[..., 0].sum().backward()
    assert (x.grad[..., 2] != 0).any()


def test_an_unknown_loss_is_refused():
    with pytest.raises(GeometryError, match=r"use one of \['l1', 'l2'\]"):
        Autoencoder(residual(), loss="l3")
