"""Every task with every family of encoders: it learns, or says by name what would do."""

from functools import partial

import pytest
import torch

from tests.pretext.contract import make_batch
from volseg.errors import VolsegError
from volseg.networks.decoder import ConvolutionalDecoder
from volseg.networks.decoder_unetr import UnetrDecoder
from volseg.networks.primus import PrimusEncoder
from volseg.networks.resenc import ResEncEncoder
from volseg.networks.residual import ResidualEncoder
from volseg.networks.swin import SwinEncoder
from volseg.networks.vit import ViTEncoder
from volseg.pretext.autoencoder import Autoencoder
from volseg.pretext.combined import Combined
from volseg.pretext.contrastive import Contrastive
from volseg.pretext.cross_architecture import CrossArchitecture
from volseg.pretext.masked import MaskedReconstruction
from volseg.pretext.max_tree import ComponentTreeRegression
from volseg.pretext.partners import ConvolutionalPartner, TransformerPartner
from volseg.pretext.pseudo_mask import PseudoMaskSegmentation
from volseg.pretext.restoration import Restoration
from volseg.pretext.rotation import RotationDecoupling
from volseg.pretext.self_distillation import SelfDistillation
from volseg.pretext.volume_fusion import VolumeFusion

PATCH = (16, 16, 16)
ENCODERS = {
    "residual": partial(ResidualEncoder, 1, (4, 8)),
    "resenc": partial(ResEncEncoder, 1, (4, 8), (1, 1)),
    "swin": partial(SwinEncoder, 1, 8, (2, 2), (2, 2), window=3),
    "vit_drop": partial(ViTEncoder, 1, PATCH, 4, 24, 4, 2),
    "vit_replace": partial(ViTEncoder, 1, PATCH, 4, 24, 4, 2, "replace"),
    "primus": partial(PrimusEncoder, 1, PATCH, 4, 24, 4, 2),
}
PLAIN = ("vit_drop", "vit_replace", "primus")
"""Of one scale, whose maps are brought to a pyramid by their own decoder."""


def decoder_of(encoder):
    is_plain = isinstance(encoder, ViTEncoder | PrimusEncoder)
    return UnetrDecoder if is_plain else ConvolutionalDecoder


def pair(encoder):
    is_convolutional = isinstance(encoder, ResidualEncoder | ResEncEncoder)
    return CrossArchitecture(encoder, ENCODERS["swin" if is_convolutional else "residual"]())


def both(encoder):
    kind = decoder_of(encoder)
    tasks = {"masks": PseudoMaskSegmentation(encoder, decoder=kind), "views": Contrastive(encoder)}
    return Combined(encoder, tasks)


TASKS = {
    "masked": lambda e: MaskedReconstruction(e, 4, 0.5),
    "masked_with_decoder": lambda e: MaskedReconstruction(e, 4, 0.5, decoder_of(e)),
    "self_distillation": lambda e: SelfDistillation(e, 4, 0.5, prototypes=8),
    "cross_architecture": pair,
    "contrastive": Contrastive,
    "rotation": partial(RotationDecoupling, copies=2),
    "pseudo_mask": lambda e: PseudoMaskSegmentation(e, decoder=decoder_of(e)),
    "max_tree": lambda e: ComponentTreeRegression(e, decoder=decoder_of(e)),
    "restoration": lambda e: Restoration(e, decoder_of(e)),
    "volume_fusion": lambda e: VolumeFusion(e, decoder=decoder_of(e)),
    "autoencoder": lambda e: Autoencoder(e, decoder_of(e), ConvolutionalPartner),
    "heterogeneous": lambda e: Autoencoder(e, decoder_of(e), TransformerPartner),
    "combined": both,
}
REFUSED = {
    ("self_distillation", "vit_drop"): "use SwinEncoder",
    **{("heterogeneous", name): "use ResidualEncoder" for name in (*PLAIN, "swin")},
}


@pytest.mark.parametrize("kind", ENCODERS)
@pytest.mark.parametrize("name", TASKS)
def test_a_task_teaches_an_encoder_or_names_one_that_it_can_teach(name, kind):
    torch.manual_seed(0)
    encoder = ENCODERS[kind]()
    if (name, kind) in REFUSED:
        with pytest.raises(VolsegError, match=REFUSED[name, kind]):
            TASKS[name](encoder)
        return
    task = TASKS[name](encoder)
    result = task(make_batch(task, PATCH, count=4))
    result.loss.backward()
    assert result.loss.isfinite()
    assert {"_spread", "_rank"} <= {f"_{key.rpartition('_')[2]}" for key in result.monitors}
    kept = task.trained()["encoder"]
    taught = [n for n, p in kept.named_parameters() if p.grad is not None and p.grad.any()]
    untaught = {n for n, _ in kept.named_parameters()} - set(taught)
    assert all(name.endswith("mask_token") for name in untaught)


TRAINING_A_DECODER = ("pseudo_mask", "max_tree", "restoration", "volume_fusion", "autoencoder")


@pytest.mark.parametrize("kind", PLAIN)
@pytest.mark.parametrize("name", TRAINING_A_DECODER)
def test_a_decoder_that_does_not_fit_is_refused_with_one_that_does(name, kind):
    kinds = {
        "pseudo_mask": PseudoMaskSegmentation, "max_tree": ComponentTreeRegression,
        "restoration": Restoration, "volume_fusion": VolumeFusion, "autoencoder": Autoencoder,
    }  # fmt: skip
    with pytest.raises(VolsegError, match="UnetrDecoder"):
        kinds[name](ENCODERS[kind]())
