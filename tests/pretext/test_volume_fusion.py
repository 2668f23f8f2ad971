"""Proportions in which two volumes were mixed."""

from functools import partial
from typing import ClassVar

import numpy as np
import pytest
import torch

from tests.pretext.contract import PretextContract, make_batch
from volseg.errors import GeometryError
from volseg.networks.residual import ResidualEncoder
from volseg.networks.swin import SwinEncoder
from volseg.networks.vit import ViTEncoder
from volseg.pretext.volume_fusion import VolumeFusion, draw_levels, fuse

PATCH = (16, 24, 8)


def residual(in_channels=1):
    return ResidualEncoder(in_channels, widths=(4, 8, 8))


class FusionContract(PretextContract):
    patch = PATCH
    make = staticmethod(residual)
    options: ClassVar = {}

    def build(self, encoder=None):
        torch.manual_seed(0)
        return VolumeFusion(encoder or self.make(), **self.options)

    def unfit(self):
        return ViTEncoder(1, PATCH, 4, 24, 4, 2), "or UnetrDecoder for a plain ViT"


class TestConvolutional(FusionContract):
    pass


class TestSwinWithThreeLevels(FusionContract):
    make = staticmethod(partial(SwinEncoder, 1, 8, (2, 2), (2, 2), window=3))
    options: ClassVar = {"levels": 3}
    unused = ("mask_token",)


class TestTwoChannels(FusionContract):
    make = staticmethod(partial(residual, 2))
    options: ClassVar = {"is_augmented": False}


def test_a_voxel_is_the_front_and_the_back_in_its_proportion():
    front, back = torch.randn(2, 3, 2, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    for level in range(5):
        mixed = fuse(front, back, torch.full((3, 1, 4, 4, 4), level), 5)
        torch.testing.assert_close(mixed, level / 4 * front + (1 - level / 4) * back)


def test_each_volume_is_mixed_with_the_next_one():
    task = VolumeFusion(residual(), is_augmented=False)
    batch = make_batch(task, PATCH)
    batch["image"][0], batch["image"][1] = 1.0, 5.0
    mixed = task(batch, panels=True).panels["fused"]
    share = batch["levels"].float() / 4
    torch.testing.assert_close(mixed[0], share[0] + 5 * (1 - share[0]))
    torch.testing.assert_close(mixed[1], 5 * share[1] + (1 - share[1]))


def test_boxes_are_drawn_of_every_proportion_and_none_is_longer_than_allowed():
    random = np.random.RandomState(0)
    grids = [draw_levels(random, (32, 40, 6), 5) for _ in range(20)]
    assert set(torch.stack(grids).unique().tolist()) == {0, 1, 2, 3, 4}
    for grid in grids:
        assert (grid == 0).any()
    one = draw_levels(RandomOnce(), (32, 40, 6), 2)
    filled = one.nonzero()
    assert (filled.amax(0) - filled.amin(0) + 1).tolist() == [20, 25, 6]  # 62.5 %, thin: all


class RandomOnce:
    """Draws one box, as long as may be."""

    def randint(self, low, high=None):
        if (low, high) == (10, 40):
            return 1
        return 0 if high is None else max(low, high - 1)


def test_one_volume_cannot_be_fused():
    task = VolumeFusion(residual())
    with pytest.raises(GeometryError, match="use batch_size 2 or more"):
        task(make_batch(task, PATCH, count=1))


def test_one_proportion_is_no_task():
    with pytest.raises(GeometryError, match="use 2 or more, such as 5"):
        VolumeFusion(residual(), levels=1)
