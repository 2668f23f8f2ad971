"""A weighted sum of tasks."""

from functools import partial
from typing import ClassVar

import pytest
import torch

from tests.pretext.contract import PretextContract, make_batch
from volseg.errors import GeometryError
from volseg.networks.residual import ResidualEncoder
from volseg.networks.vit import ViTEncoder
from volseg.pretext.autoencoder import Autoencoder
from volseg.pretext.combined import Combined, shared_passes
from volseg.pretext.contrastive import Contrastive
from volseg.pretext.masked import MaskedReconstruction
from volseg.pretext.pseudo_mask import PseudoMaskSegmentation
from volseg.pretext.restoration import Restoration

PATCH = (16, 24, 8)

MAKERS = {
    "masks": partial(PseudoMaskSegmentation, is_augmented=False),
    "rebuilt": Autoencoder,
    "changed": PseudoMaskSegmentation,
    "restored": Restoration,
    "masked": partial(MaskedReconstruction, block=8),
    "contrast": partial(Contrastive, projection=8, memory=8),
}


def residual(in_channels=1):
    return ResidualEncoder(in_channels, widths=(4, 8, 8))


def combine(names, encoder=None, weights=None):
    torch.manual_seed(0)
    encoder = encoder or residual()
    return Combined(encoder, {name: MAKERS[name](encoder) for name in names}, weights)


class CombinedContract(PretextContract):
    patch = PATCH
    steps = 20
    names: ClassVar = ("masks", "rebuilt")

    def build(self, encoder=None):
        return combine(self.names, encoder)

    def unfit(self):
        return ViTEncoder(1, PATCH, 4, 24, 4, 2), "or UnetrDecoder for a plain ViT"


class TestAgreeing(CombinedContract):
    pass


class TestDisagreeing(CombinedContract):
    names = ("masked", "changed")


def count_passes(task):
    """Count how often the encoder computes volumes in one forward."""
    calls = []
    handle = task.encoder.levels[0].register_forward_hook(lambda *_: calls.append(1))
    result = task(make_batch(task, PATCH))
    handle.remove()
    return len(calls), result


def test_tasks_that_look_at_one_crop_share_one_pass_and_others_do_not():
    assert count_passes(combine(["masks", "rebuilt"]))[0] == 1
    assert count_passes(combine(["masks", "changed"]))[0] == 2
    assert count_passes(combine(["masks", "rebuilt", "restored", "contrast"]))[0] == 3


def test_a_shared_pass_gives_the_loss_and_gradient_of_two_passes():
    task = combine(["masks", "rebuilt"], weights={"masks": 2.0, "rebuilt": 0.5})
    batch = make_batch(task, PATCH)
    result = task(batch)
    result.loss.backward()
    together = [p.grad.clone() for p in task.encoder.parameters()]
    task.zero_grad()
    image, valid = batch["masks+rebuilt.image"], batch["masks+rebuilt.valid"]
    masks = {"image": image, "valid": valid, "mask": batch["masks.mask"]}
    rebuilt = {"image": image, "valid": valid, "clean": batch["rebuilt.clean"]}
    alone = 2.0 * task.tasks["masks"](masks).loss + 0.5 * task.tasks["rebuilt"](rebuilt).loss
    torch.testing.assert_close(result.loss, alone)
    alone.backward()
    for own, parameter in zip(together, task.encoder.parameters(), strict=True):
        torch.testing.assert_close(own, parameter.grad, rtol=1e-3, atol=1e-6)


def test_another_tensor_or_mask_is_computed_anew_and_the_encoder_is_left_as_it_was():
    encoder = residual()
    calls = []
    encoder.levels[0].register_forward_hook(lambda *_: calls.append(1))
    x, y = torch.randn(2, 1, 1, *PATCH)
    with shared_passes(encoder):
        first, again = encoder(x), encoder(x)
        encoder.embed(x)
        assert len(calls) == 1
        assert all(a is b for a, b in zip(first, again, strict=True))
        encoder(y)
        with torch.no_grad():
            assert not encoder(x)[0].requires_grad
    assert len(calls) == 3
    encoder(x)
    assert len(calls) == 4
    assert "forward" not in vars(encoder)


def test_the_encoder_is_left_as_it_was_when_a_task_fails():
    encoder = residual()
    with pytest.raises(ZeroDivisionError), shared_passes(encoder):
        raise ZeroDivisionError
    assert "forward" not in vars(encoder)


def test_a_weight_of_zero_leaves_a_task_without_a_say():
    task = combine(["masks", "rebuilt"], weights={"masks": 0})
    result = task(make_batch(task, PATCH))
    assert result.loss.item() == pytest.approx(result.parts["rebuilt.loss"].item())


def test_parts_and_monitors_carry_the_name_of_their_task():
    result = count_passes(combine(["masks", "contrast"]))[1]
    assert {"masks.loss", "masks.dice", "contrast.contrast"} <= set(result.parts)
    assert {"masks.feature_spread", "contrast.retrieval"} <= set(result.monitors)


def test_every_task_is_told_of_a_step():
    task = combine(["contrast", "masks"])
    task(make_batch(task, PATCH))
    task.after_step(1, 2)
    assert task.tasks["contrast"].memory.count == 4


def test_of_two_decoders_the_first_is_kept():
    task = combine(["masks", "rebuilt"])
    assert task.trained()["decoder"] is task.tasks["masks"].head.decoder


@pytest.mark.parametrize(
    ("names", "weights"),
    [([], None), (["masks"], {"mask": 1}), (["masks"], {"masks": -1})],
)
def test_what_is_no_sum_is_refused(names, weights):
    with pytest.raises(GeometryError, match="use one task or more"):
        combine(names, weights=weights)


def test_a_task_of_another_encoder_is_refused_by_name():
    with pytest.raises(
        GeometryError, match=r"\['masks'\] have an encoder of their own.*'@encoder'"
    ):
        Combined(residual(), {"masks": MAKERS["masks"](residual())})
