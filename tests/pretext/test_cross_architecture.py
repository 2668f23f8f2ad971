"""Two unlike networks that learn from each other."""

from typing import ClassVar

import pytest
import torch
from torch.utils.data import default_collate

from tests.pretext.contract import PretextContract, make_batch, smooth_volume
from volseg.errors import GeometryError
from volseg.networks.residual import ResidualEncoder
from volseg.networks.swin import SwinEncoder
from volseg.networks.vit import ViTEncoder
from volseg.pretext.collapse import CollapseGuard
from volseg.pretext.cross_architecture import CrossArchitecture, correlate, sum_offsets

PATCH = (16, 24, 8)


def residual(in_channels=1):
    return ResidualEncoder(in_channels, widths=(4, 8, 8))


def swin():
    return SwinEncoder(1, 8, (2, 2), (2, 2), window=3)


def vit():
    return ViTEncoder(1, PATCH, 4, 24, 4, 2)


class CrossContract(PretextContract):
    """The contract, and what only this task promises."""

    patch = PATCH
    count = 8
    pair: ClassVar = (residual, vit)
    options: ClassVar = {}

    def build(self, encoder=None):
        torch.manual_seed(0)
        own, other = (make() for make in self.pair)
        options = {"projection": 8, "memory": 16, **self.options}
        return CrossArchitecture(encoder or own, other, **options)

    def unfit(self):
        return self.pair[1](), "use ResidualEncoder with ViTEncoder or SwinEncoder"

    def test_both_encoders_are_kept(self, task):
        assert task.trained() == {"encoder": task.encoder, "partner": task.partner}

    def test_the_loss_reaches_the_partner_too(self, task):
        task(make_batch(task, self.patch, count=8)).loss.backward()
        named = task.partner.named_parameters()
        still = [n for n, p in named if p.grad is None or not p.grad.any()]
        assert [n for n in still if not n.endswith("mask_token")] == []


class TestConvolutionAndViT(CrossContract):
    pass


class TestSwinAndConvolution(CrossContract):
    pair: ClassVar = (swin, residual)
    unused = ("mask_token",)


class TestCosine(CrossContract):
    options: ClassVar = {"objective": "cosine"}


def test_the_correlations_of_known_rows():
    """Entries 1 and 2 of the rows are independent; the other's are copies, one of them reversed."""
    rows = torch.tensor([[1.0, 1.0], [-1, 1], [1, -1], [-1, -1]])
    other = torch.stack([5 * rows[:, 0] + 3, -rows[:, 1]], dim=1)
    same, unlike = correlate(rows, other)
    offset = (1 - 5 / 34**0.5) ** 2  # the mean is not taken away: 5 x + 3 has a mean square of 34
    assert same.item() == pytest.approx((offset + 4) / 2, abs=1e-4)  # the other correlates with -1
    assert unlike.item() == pytest.approx(0, abs=1e-6)
    same, unlike = correlate(rows, rows[:, [0, 0]])
    assert same.item() == pytest.approx((0 + 1) / 2, abs=1e-4)
    assert unlike.item() == pytest.approx(1 / 2, abs=1e-4)


def test_an_offset_is_its_share_of_the_mean_square():
    rows = torch.tensor([[1.0], [-1.0], [3.0], [1.0]])  # mean 1, mean square 3
    assert sum_offsets([rows, rows]).item() == pytest.approx(2 / 3)
    assert sum_offsets([rows - 1]).item() == 0
    assert correlate(rows, rows)[0] == pytest.approx(0, abs=1e-4)  # which does not see it


def test_correlations_are_over_the_batch_and_the_memory():
    task = CrossArchitecture(residual(), vit(), projection=4, memory=4)
    rows = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    for index, memory in enumerate(task.memories):
        memory.note(rows[:4] + index)
        memory.commit()
    joined = task._with_past((rows[4:], rows[4:] + 1))
    assert torch.equal(joined[0], torch.cat([rows[4:], rows[:4]]))
    assert torch.equal(joined[1], joined[0] + 1)


def collapse(objective, seed=0, steps=150):
    """Train on fresh views of unlike volumes, and judge the last twenty steps."""
    torch.manual_seed(seed)
    task = CrossArchitecture(residual(), vit(), objective, projection=16)
    optimizer = torch.optim.AdamW(task.parameters(), 3e-3)
    view = task.views(PATCH)
    view.set_random_state(seed)
    volumes = [smooth_volume(PATCH, seed=number) for number in range(24)]
    figures = []
    for step in range(steps):
        chosen = [volumes[(8 * step + i) % 24] for i in range(8)]
        result = task(default_collate([view({"image": volume}) for volume in chosen]))
        result.loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        task.after_step(step + 1, steps)
        figures.append(result.monitors)
    last = {k: torch.stack([f[k] for f in figures[-20:]]).mean().item() for k in figures[0]}
    return CollapseGuard().complaints(last), last


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.slow
def test_the_papers_loss_collapses_from_random_weights_and_the_default_does_not(seed):
    found, figures = collapse("cosine", seed)
    assert figures["agreement"] > 0.99
    assert any("encoder_spread" in line for line in found)
    assert any("partner_spread" in line for line in found)
    found, figures = collapse("decorrelated", seed)
    assert found == []
    assert min(figures["encoder_spread"], figures["partner_spread"]) > 0.2


def test_a_crop_must_fit_both_networks():
    task = CrossArchitecture(ResidualEncoder(1, widths=(4, 8, 8, 8)), vit())  # strides 8 and 4
    with pytest.raises(GeometryError, match=r"\(8, 8, 8\) and \(4, 4, 4\); use \(16, 24, 8\)"):
        task.views((12, 20, 4))
    assert task.views((16, 24, 8))


def test_a_single_volume_is_refused():
    task = CrossArchitecture(residual(), vit())
    batch = {"image": torch.zeros(1, 1, 1, *PATCH)}
    with pytest.raises(GeometryError, match="use batch_size 2 or more"):
        task(batch)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"objective": "dot"}, r"use one of \['decorrelated', 'cosine'\]"),
        ({"encoder": residual(2)}, "the encoder reads 2 channels and its partner 1"),
        ({"encoder": vit()}, "ViTEncoder and partner ViTEncoder are both a transformer"),
    ],
)
def test_pairs_without_a_task_are_refused(options, reason):
    with pytest.raises(GeometryError, match=reason):
        CrossArchitecture(**{"encoder": residual(), "partner": vit(), **options})
