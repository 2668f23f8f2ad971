"""Self-distillation, over encoders that fill and replace."""

from functools import partial
from typing import ClassVar

import pytest
import torch

from tests.pretext.contract import PretextContract, make_batch
from volseg.errors import GeometryError
from volseg.networks.residual import ResidualEncoder
from volseg.networks.swin import SwinEncoder
from volseg.networks.vit import ViTEncoder
from volseg.pretext.self_distillation import SelfDistillation, cross_entropy, find_level, summarise

PATCH = (16, 24, 8)


def residual(in_channels=1):
    return ResidualEncoder(in_channels, widths=(4, 8, 8))


def swin(in_channels=1):
    return SwinEncoder(in_channels, 8, (2, 2), (2, 2), window=3)


def vit(mask_mode="replace"):
    return ViTEncoder(1, PATCH, 4, 24, 4, 2, mask_mode)


class DistillationContract(PretextContract):
    """The contract, and what only distillation promises."""

    patch = PATCH
    make = staticmethod(residual)
    options: ClassVar = {}

    def build(self, encoder=None):
        torch.manual_seed(0)
        options = {"block": 8, "ratio": 0.5, "prototypes": 12, "momentum": 0.5, **self.options}
        return SelfDistillation(encoder or self.make(), **options)

    def unfit(self):
        return vit("drop"), "SwinEncoder, ResidualEncoder, or ViTEncoder with mask_mode='replace'"

    def test_the_teacher_starts_equal_and_follows_after_a_step(self, task):
        own = [p.detach().clone() for p in task.encoder.parameters()]
        taught = list(task.teacher.network["encoder"].parameters())
        assert all(map(torch.equal, own, taught))
        task(make_batch(task, self.patch)).loss.backward()
        torch.optim.SGD(task.parameters(), 0.1).step()
        task.after_step(1, 10)
        for before, teacher, student in zip(own, taught, task.encoder.parameters(), strict=True):
            torch.testing.assert_close(teacher, (before + student) / 2)  # momentum 0.5
        assert any(not torch.equal(b, t) for b, t in zip(own, taught, strict=True))

    def test_the_teacher_never_trains(self, task):
        task.train()
        assert not any(part.training for part in task.teacher.modules())
        assert not any(p.requires_grad for p in task.teacher.parameters())

    def test_the_teacher_sees_the_whole_crop_and_the_student_does_not(self, task):
        batch = make_batch(task, self.patch)
        hidden = batch["mask"].repeat_interleave(8, 2).repeat_interleave(8, 3)
        hidden = hidden.repeat_interleave(8, 4)[:, :, None]
        changed = {**batch, "image": torch.where(hidden, 0.3, batch["image"])}
        first, other = task(batch), task(changed)
        assert torch.equal(first.monitors["feature_spread"], other.monitors["feature_spread"])
        assert not torch.equal(first.monitors["token_spread"], other.monitors["token_spread"])

    def test_the_terms_add_up(self, task):
        result = task(make_batch(task, self.patch))
        parts = result.parts
        wanted = parts["image"] + 0.1 * (parts["token"] + parts["crop"])
        torch.testing.assert_close(result.loss.detach(), wanted)

    def test_only_the_encoder_is_kept(self, task):
        assert list(task.trained()) == ["encoder"]

    def test_a_restored_task_goes_on_to_the_same_bits(self, task):
        """Teacher, centres and temperature are part of the state."""
        other = self.build()
        batch = make_batch(task, self.patch)
        train(task, batch, range(1, 3))
        other.load_state_dict(task.state_dict())
        assert torch.equal(task(batch).loss, other(batch).loss)
        train(task, batch, range(3, 5))
        train(other, batch, range(3, 5))
        assert all(map(torch.equal, task.state_dict().values(), other.state_dict().values()))


def train(task, batch, steps):
    for step in steps:
        task(batch).loss.backward()
        torch.optim.SGD((p for p in task.parameters() if p.requires_grad), 0.1).step()
        task.zero_grad()
        task.after_step(step, 10)


class TestFilling(DistillationContract):
    pass


class TestReplacing(DistillationContract):
    make = staticmethod(swin)


class TestReplacingAtALevelThatIsNotTheDeepest(DistillationContract):
    make = staticmethod(swin)
    options: ClassVar = {"block": (8, 4, 4)}

    def test_the_teacher_sees_the_whole_crop_and_the_student_does_not(self, task):
        assert task.encoder.spec.strides[task.level] == (4, 4, 4)


class TestReplacingInViT(DistillationContract):
    make = staticmethod(vit)


class TestTwoChannels(DistillationContract):
    make = staticmethod(partial(residual, 2))


def test_a_collapsed_teacher_trips_both_alarms_of_entropy():
    task = SelfDistillation(residual(), block=8, ratio=0.5, prototypes=12)
    batch = make_batch(task, PATCH)
    task.teacher.network["token"].prototypes.data[:] = 1.0  # every prototype the same
    monitors = task(batch).monitors
    assert monitors["token_teacher_entropy"].item() == pytest.approx(1)
    task.token_centre.mean[0] = -100.0  # and now the first one always wins
    monitors = task(batch).monitors
    assert monitors["token_prototype_entropy"].item() == pytest.approx(0, abs=1e-6)


def test_the_centre_moves_by_a_tenth_towards_the_mean_answer():
    task = SelfDistillation(residual(), block=8, ratio=0.5, prototypes=12)
    task(make_batch(task, PATCH))
    mean = task.crop_centre.noted.clone()
    task.after_step(1, 10)
    torch.testing.assert_close(task.crop_centre.mean, 0.1 * mean[0])


def test_the_temperature_rises_to_its_end_within_the_first_steps():
    task = SelfDistillation(residual(), block=8, prototypes=3)
    vectors = torch.randn(5, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        cosines = task.token_head(vectors)
    for progress, temperature in [(0, 0.04), (0.03, 0.055), (0.06, 0.07), (1, 0.07)]:
        task.progress.fill_(progress)
        wanted = (cosines / temperature).softmax(1)
        torch.testing.assert_close(task._teach("token", vectors, task.token_centre), wanted)


def test_each_crop_is_compared_with_the_other_of_its_volume():
    task = SelfDistillation(residual(), block=8, prototypes=3)
    maps = torch.randn(4, 8, 2, 2, 2, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        said = task.crop_head(summarise(maps))
        wanted = (said / 0.04).softmax(1)[[2, 3, 0, 1]]
        loss, _ = task._compare_crops(maps, maps)
    torch.testing.assert_close(loss, -(wanted * (said / 0.1).log_softmax(1)).sum(1).mean())


def test_the_cross_entropy_with_a_sure_teacher_is_the_students_surprise():
    cosines = torch.tensor([[0.1, 0.0]])
    wanted = torch.tensor([[1.0, 0.0]])  # log(1 + e^-1)
    assert cross_entropy(wanted, cosines).item() == pytest.approx(0.313262, abs=1e-5)


def test_the_deepest_level_that_fits_into_a_block_is_distilled():
    spec = residual().spec  # strides 1, 2, 4
    assert find_level(spec, (8, 4, 4)) == 2
    assert find_level(spec, (8, 2, 4)) == 1
    with pytest.raises(GeometryError, match=r"no level of the encoder fits into blocks of \(3"):
        find_level(spec, (3, 8, 8))


@pytest.mark.parametrize("options", [{"weights": (0, 0, 0)}, {"weights": (1,)}, {"ratio": 1.0}])
def test_weights_and_ratios_without_a_task_are_refused(options):
    with pytest.raises(GeometryError, match="use three weights of 0 or more"):
        SelfDistillation(residual(), **options)
