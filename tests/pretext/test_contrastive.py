"""Contrast between volumes, over ways of cropping and encoders."""

from functools import partial
from typing import ClassVar

import pytest
import torch

from tests.pretext.contract import PretextContract, make_batch
from volseg.errors import GeometryError
from volseg.networks.residual import ResidualEncoder
from volseg.networks.swin import SwinEncoder
from volseg.networks.vit import ViTEncoder
from volseg.pretext.contrastive import Contrastive, contrast

PATCH = (16, 24, 8)


def residual(in_channels=1):
    return ResidualEncoder(in_channels, widths=(4, 8, 8))


def swin():
    return SwinEncoder(1, 8, (2, 2), (2, 2), window=3)


def vit():
    return ViTEncoder(1, PATCH, 4, 24, 4, 2)


class ContrastContract(PretextContract):
    """The contract, over pairs of crops."""

    patch = PATCH
    make = staticmethod(residual)
    options: ClassVar = {}

    def build(self, encoder=None):
        torch.manual_seed(0)
        return Contrastive(encoder or self.make(), **{"projection": 8, "memory": 0, **self.options})

    def unfit(self):
        pytest.skip("every encoder fits")


class TestPair(ContrastContract):
    pass


class TestMemory(ContrastContract):
    """A batch that comes again and again has itself in its memory, so its loss need not fall."""

    options: ClassVar = {"memory": 6}

    def test_the_loss_of_one_batch_falls(self, task):
        assert task.memory.size == 6


class TestSame(ContrastContract):
    options: ClassVar = {"crops": "same"}


class TestMultiWithoutAugmentation(ContrastContract):
    options: ClassVar = {"crops": "multi", "is_augmented": False, "flip_axes": (0,)}


class TestSwin(ContrastContract):
    make = staticmethod(swin)
    unused = ("mask_token",)


class TestViT(ContrastContract):
    steps = 40  # two crops of one volume are hard to tell apart
    rate = 1e-3  # a higher one makes a transformer forget what it has found
    make = staticmethod(vit)


class TestTwoChannels(ContrastContract):
    make = staticmethod(partial(residual, 2))


def test_the_loss_of_four_known_views():
    """Views of a volume are equal, those of the other orthogonal: every share is e^2/(e^2 + 2)."""
    rows = torch.tensor([[1.0, 0], [1, 0], [0, 1], [0, 1]])
    owner = torch.tensor([0, 0, 1, 1])
    loss, found = contrast(rows, owner, torch.zeros(0, 2), temperature=0.5)
    share = 7.389056 / (7.389056 + 2)
    assert loss.item() == pytest.approx(-torch.tensor(share).log().item(), abs=1e-5)
    assert found == 1


def test_what_is_remembered_is_another_volume():
    rows = torch.tensor([[1.0, 0], [0, 1]])
    loss, found = contrast(rows, torch.tensor([0, 0]), torch.tensor([[1.0, 0]]), temperature=1.0)
    # the first view is as like the memory as e, its pair as 1; the second is like neither
    wanted = (torch.tensor(2.718282 + 1).log() + torch.tensor(2.0).log()) / 2
    assert loss.item() == pytest.approx(wanted.item(), abs=1e-5)
    assert found == 0.5  # of two equal ones the first is taken


def test_three_views_of_a_volume_are_all_compared():
    torch.manual_seed(0)
    rows = torch.nn.functional.normalize(torch.randn(6, 3), dim=1)
    owner = torch.tensor([0, 0, 0, 1, 1, 1])
    loss, _ = contrast(rows, owner, torch.zeros(0, 3), temperature=0.7)
    terms = []
    for i in range(6):
        for j in range(6):
            if i != j and owner[i] == owner[j]:
                among = [torch.exp(rows[i] @ rows[k] / 0.7) for k in range(6) if k != i]
                terms.append(-torch.log(torch.exp(rows[i] @ rows[j] / 0.7) / sum(among)))
    assert loss.item() == pytest.approx(torch.stack(terms).mean().item(), abs=1e-5)


def test_the_memory_is_used_from_the_second_step_on_and_keeps_the_latest():
    task = Contrastive(residual(), projection=8, memory=6)
    batch = make_batch(task, PATCH)
    alone = task(batch).loss
    task.after_step(1, 10)
    assert task.memory.recall().shape == (4, 8)  # two views of two volumes
    assert task(batch).loss > alone  # its own past is the hardest other volume
    task.after_step(2, 10)
    assert task.memory.recall().shape == (6, 8)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"crops": "one"}, r"use one of \['pair', 'same', 'multi'\]"),
        ({"crops": "same", "is_augmented": False}, "is no task; use crops 'pair' or 'multi'"),
        ({"temperature": 0.0}, "use a value above 0"),
    ],
)
def test_options_without_a_task_are_refused(options, reason):
    with pytest.raises(GeometryError, match=reason):
        Contrastive(residual(), **options)


def test_a_single_volume_needs_a_memory():
    with pytest.raises(GeometryError, match="use batch_size 2 or more, or a memory"):
        Contrastive(residual(), memory=0)({"image": torch.zeros(1, 2, 1, *PATCH)})
    assert Contrastive(residual(), memory=2)({"image": torch.zeros(1, 2, 1, *PATCH)}).loss == 0


def test_an_indivisible_crop_is_refused():
    with pytest.raises(GeometryError, match=r"use \(16, 24, 8\)"):
        Contrastive(residual()).views((15, 24, 8))
