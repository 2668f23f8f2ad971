"""Masked reconstruction, over encoders that fill, replace and drop, with and without a decoder."""

import json
from functools import partial
from typing import ClassVar

import pytest
import torch
from torch import nn

from tests.pretext.contract import PretextContract, make_batch, smooth_volume
from volseg.errors import GeometryError
from volseg.networks.decoder import ConvolutionalDecoder
from volseg.networks.decoder_unetr import UnetrDecoder
from volseg.networks.residual import ResidualEncoder
from volseg.networks.swin import SwinEncoder
from volseg.networks.vit import ViTEncoder, cut_patches
from volseg.pretext.heads import TokenDecoder, spread_voxels
from volseg.pretext.masked import MaskedReconstruction, block_statistics
from volseg.pretext.reconstruction import masked_error
from volseg.transforms.masking import BlockMask


def residual(in_channels=1):
    return ResidualEncoder(in_channels, widths=(4, 8, 8))


def swin(in_channels=1):
    return SwinEncoder(in_channels, 8, (2, 2), (2, 2), window=3)


def vit(in_channels=1, mask_mode="drop"):
    return ViTEncoder(in_channels, (16, 24, 8), 4, 24, 4, 2, mask_mode)


class MaskedContract(PretextContract):
    """The contract, and what only masked reconstruction promises."""

    patch = (16, 24, 8)
    make = staticmethod(residual)
    options: ClassVar = {}

    def build(self, encoder=None):
        torch.manual_seed(0)
        return MaskedReconstruction(encoder or self.make(), **{"block": 8, **self.options})

    def unfit(self):
        return ViTEncoder(1, (12, 12, 12), 12, 24, 4, 2), "ResidualEncoder"

    @pytest.fixture
    def batch(self, task):
        """Give a batch in which some voxels of hidden blocks are invalid."""
        batch = make_batch(task, self.patch)
        holes = torch.rand(batch["valid"].shape, generator=torch.Generator().manual_seed(1)) < 0.2
        batch["valid"] &= ~holes
        return batch

    def counted(self, task, batch):
        """Expand the mask by hand, block by block."""
        counted = torch.zeros_like(batch["valid"])
        a, b, c = task.block
        for case, i, j, k in batch["mask"].nonzero().tolist():
            box = (
                case,
                0,
                slice(a * i, a * i + a),
                slice(b * j, b * j + b),
                slice(c * k, c * k + c),
            )
            counted[box] = batch["valid"][box]
        return counted

    def test_the_gradient_of_the_target_is_that_of_the_hidden_valid_voxels(self, task, batch):
        """The prediction does not depend on hidden voxels, so theirs is known in closed form."""
        counted = self.counted(task, batch).expand_as(batch["image"])
        hidden = BlockMask(batch["mask"], task.block).to((1, 1, 1))[:, None].expand_as(counted)
        image = batch["image"].clone().requires_grad_()
        result = task({**batch, "image": image}, panels=True)
        result.loss.backward()
        assert image.grad[hidden & ~counted].abs().max() == 0
        error = batch["image"] - result.panels["reconstruction"]
        wanted = 2 * error / counted.sum()
        torch.testing.assert_close(
            image.grad[:, :1][counted[:, :1]], wanted[:, :1][counted[:, :1]], rtol=1e-4, atol=1e-7
        )
        assert result.loss.item() == pytest.approx(error[counted].square().mean().item(), rel=1e-4)

    def test_invalid_hidden_voxels_may_hold_anything(self, task, batch):
        hidden = BlockMask(batch["mask"], task.block).to((1, 1, 1))[:, None]
        changed = torch.where(hidden & ~batch["valid"], 1e6, batch["image"])
        assert torch.equal(task(batch).loss, task({**batch, "image": changed}).loss)

    def test_the_pictures_differ_only_where_blocks_are_hidden(self, task, batch):
        panels = task(batch, panels=True).panels
        assert list(panels) == ["clean", "masked", "reconstruction"]
        hidden = BlockMask(batch["mask"], task.block).to((1, 1, 1))[:, None]
        assert torch.equal(panels["clean"], batch["image"][:, :1])
        for name in ("masked", "reconstruction"):
            assert torch.equal(panels[name][~hidden], panels["clean"][~hidden])
            assert not torch.equal(panels[name][hidden], panels["clean"][hidden])

    def test_the_masked_fraction_is_of_the_valid_voxels(self, task, batch):
        wanted = self.counted(task, batch).sum() / batch["valid"].sum()
        assert task(batch).monitors["masked_fraction"].item() == pytest.approx(wanted.item())

    def test_the_settings_are_json_and_name_the_task(self, task):
        settings = json.loads(json.dumps(task.settings()))
        assert settings["_target_"] == "volseg.pretext.masked.MaskedReconstruction"
        assert settings["block"] == list(task.block)

    def test_only_a_pyramid_decoder_is_kept_beside_the_encoder(self, task):
        assert task.trained().get("decoder") is task.decoder


class TestFilling(MaskedContract):
    pass


class TestFillingBlocksFinerThanTheDeepestCell(MaskedContract):
    options: ClassVar = {"block": (2, 6, 2), "ratio": 0.4}


class TestFillingWithDecoder(MaskedContract):
    options: ClassVar = {"decoder": ConvolutionalDecoder}


class TestReplacing(MaskedContract):
    make = staticmethod(swin)
    options: ClassVar = {"block": (8, 4, 2)}


class TestReplacingWithDecoder(MaskedContract):
    make = staticmethod(swin)
    options: ClassVar = {"decoder": ConvolutionalDecoder, "block": 4}


class TestReplacingInViT(MaskedContract):
    make = staticmethod(partial(vit, mask_mode="replace"))


class TestDropping(MaskedContract):
    make = staticmethod(vit)
    options: ClassVar = {"block": (4, 8, 4)}


class TestDroppingWithDecoder(MaskedContract):
    make = staticmethod(vit)
    options: ClassVar = {"decoder": partial(UnetrDecoder, width=4)}


class TestNormalisedAbsoluteError(MaskedContract):
    options: ClassVar = {"loss": "l1", "is_target_normalized": True}

    def test_the_gradient_of_the_target_is_that_of_the_hidden_valid_voxels(self, task, batch):
        check_where_the_gradient_is(task, batch, self.counted(task, batch))


class TestTwoChannels(MaskedContract):
    make = staticmethod(partial(residual, 2))

    def test_the_gradient_of_the_target_is_that_of_the_hidden_valid_voxels(self, task, batch):
        check_where_the_gradient_is(task, batch, self.counted(task, batch))


def check_where_the_gradient_is(task, batch, counted):
    """Of the hidden voxels, exactly the valid ones must matter, in every channel."""
    image = batch["image"].clone().requires_grad_()
    task({**batch, "image": image}).loss.backward()
    hidden = BlockMask(batch["mask"], task.block).to((1, 1, 1))[:, None]
    assert image.grad[(hidden & ~counted).expand_as(image)].abs().max() == 0
    assert (image.grad[counted.expand_as(image)] != 0).float().mean() > 0.99


def test_cells_laid_out_as_voxels_are_cut_into_the_same_cells():
    x = torch.arange(2 * 3 * 4 * 8 * 12.0).view(2, 3, 4, 8, 12)
    cells = cut_patches(x, 4).transpose(1, 2).reshape(2, 3 * 64, 1, 2, 3)
    assert torch.equal(spread_voxels(cells, (4, 4, 4)), x)


def test_cells_may_be_of_unlike_edges():
    x = torch.arange(4 * 3 * 10.0).view(1, 1, 4, 3, 10)
    cells = torch.empty(1, 2 * 1 * 5, 2, 3, 2)
    for i, j, k in torch.cartesian_prod(torch.arange(2), torch.arange(3), torch.arange(2)).tolist():
        cells[0, :, i, j, k] = x[0, 0, 2 * i : 2 * i + 2, j, 5 * k : 5 * k + 5].flatten()
    assert torch.equal(spread_voxels(cells, (2, 1, 5)), x)


@pytest.mark.parametrize(("loss", "wanted"), [("l2", (4 + 16) / 2), ("l1", (2 + 4) / 2)])
def test_only_counted_voxels_enter_the_error(loss, wanted):
    target = torch.tensor([2.0, 100.0, -4.0, float("nan")]).view(1, 1, 2, 1, 2)
    counted = torch.tensor([True, False, True, False]).view(1, 1, 2, 1, 2)
    prediction = torch.zeros_like(target).requires_grad_()
    error = masked_error(prediction, target, counted, loss)
    error.backward()
    assert error.item() == wanted
    assert prediction.grad[~counted].tolist() == [0, 0]


def test_nothing_counted_is_no_error():
    x = torch.ones(1, 1, 2, 2, 2)
    assert masked_error(x, 3 * x, torch.zeros_like(x, dtype=torch.bool), "l2") == 0


def test_the_statistics_of_a_block_are_of_its_valid_voxels():
    volume = torch.tensor([[1.0, 3.0, 99.0], [10.0, 10.0, 10.0]]).view(1, 1, 2, 1, 3)
    valid = volume < 50
    mean, spread = block_statistics(volume, valid, (1, 1, 3))
    assert mean.flatten().tolist() == [2.0, 2.0, 2.0, 10.0, 10.0, 10.0]
    assert spread[0, 0, 0].tolist() == [[pytest.approx(1.0)] * 3]
    assert spread[0, 0, 1].tolist() == [[pytest.approx(1e-3)] * 3]  # root of the floor


def test_a_normalised_target_ignores_brightness_and_contrast_of_hidden_blocks():
    torch.manual_seed(0)
    task = MaskedReconstruction(residual(), block=8, is_target_normalized=True)
    batch = make_batch(task, (16, 24, 8))
    hidden = BlockMask(batch["mask"], (8, 8, 8)).to((1, 1, 1))[:, None]
    changed = torch.where(hidden, 3 * batch["image"] + 5, batch["image"])
    loss, other = (task({**batch, "image": image}).loss for image in (batch["image"], changed))
    torch.testing.assert_close(loss, other, rtol=1e-3, atol=1e-4)  # the floor of the variance


def test_dropped_tokens_are_not_taken_for_features():
    task = MaskedReconstruction(vit(), block=4)
    nn.init.zeros_(task.encoder.norm.weight)
    nn.init.ones_(task.encoder.norm.bias)
    monitors = task(make_batch(task, (16, 24, 8))).monitors
    assert monitors["feature_spread"].item() == pytest.approx(0, abs=1e-6)
    assert monitors["effective_rank"] == 0


def test_the_token_decoder_does_not_read_hidden_places():
    decoder = TokenDecoder(vit().spec)
    features = torch.randn(2, 24, 2, 3, 1)
    hidden = torch.rand(2, 2, 3, 1) < 0.5
    changed = torch.where(hidden[:, None], 9.0, features)
    assert torch.equal(decoder(features, hidden), decoder(changed, hidden))


def test_an_encoder_that_hides_in_an_unknown_way_is_refused():
    encoder = residual()
    object.__setattr__(encoder.spec, "mask_mode", "sparse")
    with pytest.raises(GeometryError, match=r"'sparse'.*SwinEncoder, ViTEncoder or Residual"):
        MaskedReconstruction(encoder)


@pytest.mark.parametrize("options", [{"loss": "l3"}, {"ratio": 0.0}, {"ratio": 1.0}])
def test_an_unknown_loss_or_ratio_is_refused(options):
    with pytest.raises(GeometryError, match="use loss 'l1' or 'l2' and a ratio between 0 and 1"):
        MaskedReconstruction(residual(), **options)


def test_a_crop_that_does_not_fit_is_refused_with_one_that_fits_block_and_stride():
    task = MaskedReconstruction(residual(), block=(3, 8, 2))  # strides 4: every 12, 8 and 4
    with pytest.raises(GeometryError, match=r"use \(24, 16, 4\)"):
        task.views((16, 12, 4))


def test_hiding_every_block_is_refused_at_once():
    task = MaskedReconstruction(residual(), block=8, ratio=0.75)
    with pytest.raises(GeometryError, match=r"has 3 blocks.*hides them all"):
        task.views((8, 24, 8))
    assert task.views((16, 16, 8))


def test_flips_are_drawn_along_the_given_axes_alone():
    task = MaskedReconstruction(residual(), block=8, flip_axes=(1,))
    volume = smooth_volume((16, 24, 8))
    view = task.views((16, 24, 8))
    view.set_random_state(0)
    crops = [view({"image": volume})["image"] for _ in range(20)]
    kept = sum(torch.equal(crop, volume) for crop in crops)
    flipped = sum(torch.equal(crop, volume.flip(2)) for crop in crops)
    assert kept + flipped == 20
    assert 3 <= kept <= 17
