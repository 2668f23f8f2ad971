"""Component trees as the target."""

from functools import partial
from typing import ClassVar

import pytest
import torch

from tests.pretext.contract import PretextContract, make_batch, smooth_volume
from volseg.errors import GeometryError
from volseg.networks.residual import ResidualEncoder
from volseg.networks.swin import SwinEncoder
from volseg.networks.vit import ViTEncoder
from volseg.pretext.max_tree import ComponentTreeRegression, TreeMaps

PATCH = (16, 24, 8)


def residual(in_channels=1):
    return ResidualEncoder(in_channels, widths=(4, 8, 8))


class TreeContract(PretextContract):
    patch = PATCH
    make = staticmethod(residual)
    options: ClassVar = {}

    def build(self, encoder=None):
        torch.manual_seed(0)
        return ComponentTreeRegression(encoder or self.make(), **self.options)

    def unfit(self):
        return ViTEncoder(1, PATCH, 4, 24, 4, 2), "or UnetrDecoder for a plain ViT"


class TestBothTrees(TreeContract):
    pass


class TestMaxTreeInSwin(TreeContract):
    make = staticmethod(partial(SwinEncoder, 1, 8, (2, 2), (2, 2), window=3))
    options: ClassVar = {"target": TreeMaps(("max",), "log_area", 8, 0)}
    unused = ("mask_token",)


class TestTwoChannels(TreeContract):
    make = staticmethod(partial(residual, 2))
    options: ClassVar = {"target": TreeMaps(channel=1), "is_augmented": False}

    def unfit(self):
        return ViTEncoder(2, PATCH, 4, 24, 4, 2), "or UnetrDecoder for a plain ViT"


def nested():
    """A bright and a dark cube of 2 voxels in grey, in a volume whose half is air."""
    volume = torch.zeros(1, 16, 8, 8)
    volume[:, 8:] = 2
    volume[:, 10:12, 2:4, 2:4] = 3
    volume[:, 13:15, 4:6, 4:6] = 1
    return volume


def test_each_tree_sees_its_cube_and_neither_sees_the_air():
    volume = nested()
    bright, dark = TreeMaps(levels=3, sigma=0)(volume, volume > 0)
    grey = 8 * 8 * 8 - 16
    assert bright[10:12, 2:4, 2:4].unique().tolist() == [pytest.approx(8 / (grey + 8))]
    assert dark[13:15, 4:6, 4:6].unique().tolist() == [pytest.approx(8 / (grey + 8))]
    assert bright[:8].min() == 1  # the whole volume
    assert dark[:8].min() == 1


def test_maps_are_computed_once_for_each_content_and_setting(tmp_path, monkeypatch):
    computed = []
    own = TreeMaps.__call__
    monkeypatch.setattr(TreeMaps, "__call__", lambda *a: computed.append(1) or own(*a))

    def look(volume, **settings):
        task = ComponentTreeRegression(residual(), TreeMaps(**settings), cache_dir=tmp_path)
        view = task.views(PATCH)
        view.set_random_state(0)
        return view({"image": volume})["trees"]

    first = look(smooth_volume(PATCH))
    assert torch.equal(first, look(smooth_volume(PATCH)))
    assert len(computed) == len(list(tmp_path.iterdir())) == 1
    look(smooth_volume(PATCH, seed=1))
    look(smooth_volume(PATCH), levels=8)
    assert len(computed) == len(list(tmp_path.iterdir())) == 3
    next(tmp_path.iterdir()).write_bytes(b"cut off")
    for volume in (smooth_volume(PATCH), smooth_volume(PATCH, seed=1)):
        look(volume)
    look(smooth_volume(PATCH), levels=8)
    assert len(computed) == 4


def test_without_a_folder_maps_stay_in_memory_but_do_not_travel(monkeypatch):
    import pickle

    computed = []
    own = TreeMaps.__call__
    monkeypatch.setattr(TreeMaps, "__call__", lambda *a: computed.append(1) or own(*a))
    target = ComponentTreeRegression(residual()).target
    volume = smooth_volume(PATCH)
    for copy in (target, target, pickle.loads(pickle.dumps(target))):
        copy(volume, volume > 0)
    assert len(computed) == 2


def test_the_memory_is_bounded(monkeypatch):
    target = ComponentTreeRegression(residual()).target
    monkeypatch.setattr("volseg.pretext.cached.MAXIMUM_BYTES", 1)
    for seed in range(3):
        volume = smooth_volume(PATCH, seed=seed)
        target(volume, volume > 0)
    assert len(target.kept) == 1


def test_the_error_of_each_tree_is_a_part():
    task = ComponentTreeRegression(residual())
    batch = make_batch(task, PATCH)
    batch["valid"][:] = True
    result = task(batch, panels=True)
    error = (result.panels["predicted"] - batch["trees"][:, :1].float()).square().mean()
    assert result.parts["max_tree"].item() == pytest.approx(error.item(), rel=1e-5)
    assert result.loss == result.parts["max_tree"] + result.parts["min_tree"]


@pytest.mark.parametrize(
    "settings",
    [{"trees": ()}, {"trees": ("mid",)}, {"attribute": "a"}, {"levels": 1}, {"sigma": -1}],
)
def test_settings_without_a_map_are_refused(settings):
    with pytest.raises(GeometryError, match="2 to 256 levels, and a sigma of 0 or more"):
        TreeMaps(**settings)


def test_a_channel_that_is_not_there_is_refused():
    with pytest.raises(GeometryError, match="channel 1 is not there; use one from 0 to 0"):
        ComponentTreeRegression(residual(), TreeMaps(channel=1))
