"""Tests that every pretext task must pass; a test class inherits them."""

import pickle
from abc import ABC, abstractmethod
from typing import ClassVar

import pytest
import torch
from monai.data import MetaTensor
from torch.utils.data import default_collate

from volseg.errors import VolsegError
from volseg.networks.encoder import Encoder
from volseg.pretext.task import PretextTask
from volseg.types import Size

STEPS = 12


def smooth_volume(size: Size, channels: int = 1, seed: int = 0) -> torch.Tensor:
    """Give a volume whose neighbours resemble each other, so that there is something to learn."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(1, channels, 4, 4, 4, generator=generator)
    return torch.nn.functional.interpolate(coarse, size, mode="trilinear")[0]


def make_batch(
    task: PretextTask,
    patch: Size,
    seed: int = 0,
    image: torch.Tensor | None = None,
    count: int = 2,
):
    """Give views of one volume, which is longer than the crop and less wide."""
    size = (patch[0] + 3, patch[1], patch[2] - 3)
    volume = smooth_volume(size, task.encoder.spec.in_channels) if image is None else image
    view = task.views(patch)
    view.set_random_state(seed)
    return default_collate([view({"image": volume}) for _ in range(count)])


class PretextContract(ABC):
    """What every pretext task promises."""

    patch: Size
    count: ClassVar[int] = 2
    """Views of a batch; more where a task compares a batch's volumes with each other."""

    steps: ClassVar[int] = STEPS
    """Optimizer steps after which the loss of one batch must have fallen."""

    rate: ClassVar[float] = 3e-3
    """Their learning rate."""

    unused: ClassVar[tuple[str, ...]] = ()
    """Ends of the names of parameters that the task never reaches, such as ``mask_token``."""

    @abstractmethod
    def build(self, encoder: Encoder | None = None) -> PretextTask:
        """Build the task with the same weights each time, of a tiny encoder unless one is given."""

    @abstractmethod
    def unfit(self) -> tuple[Encoder, str]:
        """Give an encoder that the task cannot train, and the name of one that it says it could."""

    @pytest.fixture
    def task(self) -> PretextTask:
        return self.build()

    def give(self, task: PretextTask, seed: int = 0, image: torch.Tensor | None = None):
        """Give a batch of the task."""
        return make_batch(task, self.patch, seed, image, self.count)

    def test_views_of_unlike_volumes_collate(self, task):
        view = task.views(self.patch)
        view.set_random_state(0)
        sizes = [self.patch, tuple(n + 5 for n in self.patch), tuple(n - 3 for n in self.patch)]
        channels = task.encoder.spec.in_channels
        batch = default_collate([view({"image": smooth_volume(size, channels)}) for size in sizes])
        assert all(len(value) == 3 for value in batch.values())

    def test_equal_seeds_give_equal_views_and_unlike_ones_do_not(self, task):
        first, again, other = (self.give(task, seed) for seed in (0, 0, 1))
        assert all(torch.equal(first[key], again[key]) for key in first)
        assert not all(torch.equal(first[key], other[key]) for key in first)

    def test_a_view_is_made_alike_in_another_process(self, task):
        view = task.views(self.patch)
        copy = pickle.loads(pickle.dumps(view))
        volume = smooth_volume(self.patch, task.encoder.spec.in_channels)
        crops = []
        for one in (view, copy):
            one.set_random_state(3)
            crops.append(one({"image": volume}))
        assert all(torch.equal(crops[0][key], crops[1][key]) for key in crops[0])

    def test_tensors_with_metadata_give_plain_views(self, task):
        volume = smooth_volume(self.patch, task.encoder.spec.in_channels)
        views = []
        for image in (volume, MetaTensor(volume), volume.numpy()):
            view = task.views(self.patch)
            view.set_random_state(0)
            views.append(view({"image": image, "label": "not read"}))
        for key, value in views[0].items():
            assert type(views[1][key]) is torch.Tensor
            assert torch.equal(value, views[1][key])
            assert torch.equal(value, views[2][key])

    def test_equal_seeds_give_equal_losses(self):
        losses = []
        for _ in range(2):
            task = self.build()
            torch.manual_seed(5)
            losses.append(task(self.give(task)).loss)
        assert torch.equal(losses[0], losses[1])

    def test_the_loss_of_one_batch_falls(self, task):
        batch = self.give(task)
        optimizer = torch.optim.AdamW(task.parameters(), self.rate)
        losses = []
        for step in range(self.steps):
            result = task(batch)
            result.loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            task.after_step(step + 1, self.steps)
            losses.append(result.loss.item())
        assert losses[-1] < 0.9 * losses[0]

    def test_the_loss_reaches_every_parameter_of_the_encoder(self, task):
        task(self.give(task)).loss.backward()
        named = task.encoder.named_parameters()
        still = [n for n, p in named if p.grad is None or not p.grad.any()]
        assert [n for n in still if not n.endswith(self.unused)] == []

    def test_a_constant_volume_is_survived(self, task):
        constant = torch.full((task.encoder.spec.in_channels, *self.patch), 7.0)
        result = task(self.give(task, image=constant))
        result.loss.backward()
        assert result.loss.isfinite()
        gradients = [p.grad for p in task.parameters() if p.grad is not None]
        assert gradients
        assert all(gradient.isfinite().all() for gradient in gradients)

    def test_the_loss_is_in_single_precision_under_autocast(self, task):
        batch = self.give(task)
        full = task(batch).loss
        with torch.autocast("cpu", torch.bfloat16):
            half = task(batch).loss
        assert half.dtype == torch.float32
        torch.testing.assert_close(half, full, rtol=0.05, atol=0.05)  # bf16 keeps 8 bits

    def test_parts_and_monitors_are_detached_finite_scalars(self, task):
        result = task(self.give(task))
        assert result.loss.ndim == 0
        for value in (*result.parts.values(), *result.monitors.values()):
            assert value.ndim == 0
            assert not value.requires_grad
            assert value.isfinite()

    def test_pictures_come_only_when_asked_for(self, task):
        batch = self.give(task)
        assert not task(batch).panels
        panels = task(batch, panels=True).panels
        assert panels
        for picture in panels.values():
            assert picture.shape == (self.count, 1, *self.patch)
            assert not picture.requires_grad

    def test_the_encoder_is_among_what_is_kept(self, task):
        assert task.trained()["encoder"] is task.encoder

    def test_an_unfit_encoder_is_refused_by_naming_a_fit_one(self):
        encoder, fit = self.unfit()
        with pytest.raises(VolsegError, match=fit):
            self.build(encoder)
