"""Tiny pretrainings with every task that has more state than its encoder."""

from tests.engines.tiny import loop, optimisation, volumes
from volseg.engines.pretrain import pretrain_trainer
from volseg.networks.residual import ResidualEncoder
from volseg.networks.vit import ViTEncoder
from volseg.pretext.contrastive import Contrastive
from volseg.pretext.cross_architecture import CrossArchitecture
from volseg.pretext.rotation import RotationDecoupling
from volseg.pretext.self_distillation import SelfDistillation

PATCH = (8, 8, 8)


def encoder():
    return ResidualEncoder(1, widths=(4, 8))


def vit():
    return ViTEncoder(1, PATCH, 4, 24, 4, 2)


TASKS = {
    "self_distillation": lambda: SelfDistillation(
        encoder(), block=4, ratio=0.5, prototypes=8, momentum=0.9
    ),
    "cross_architecture": lambda: CrossArchitecture(encoder(), vit(), projection=8, memory=8),
    "contrastive": lambda: Contrastive(encoder(), projection=8, memory=8),
    "rotation": lambda: RotationDecoupling(encoder(), copies=2, projection=8),
}


def pretraining(name, folder, handlers=(), **changes):
    """Build a pretraining of nine steps."""
    import torch

    torch.manual_seed(0)
    task = TASKS[name]()
    return pretrain_trainer(
        task, volumes(4), PATCH, 3, optimisation(), loop(folder, **changes), handlers
    )
