"""Tiny pretrainings with every task but the masked one."""

from tests.engines.tiny import loop, optimisation, volumes
from volseg.engines.pretrain import pretrain_trainer
from volseg.networks.residual import ResidualEncoder
from volseg.networks.vit import ViTEncoder
from volseg.pretext.autoencoder import Autoencoder
from volseg.pretext.combined import Combined
from volseg.pretext.contrastive import Contrastive
from volseg.pretext.cross_architecture import CrossArchitecture
from volseg.pretext.max_tree import ComponentTreeRegression
from volseg.pretext.partners import TransformerPartner
from volseg.pretext.pseudo_mask import PseudoMaskSegmentation
from volseg.pretext.restoration import Restoration
from volseg.pretext.rotation import RotationDecoupling
from volseg.pretext.self_distillation import SelfDistillation
from volseg.pretext.volume_fusion import VolumeFusion

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
    "pseudo_mask": lambda: PseudoMaskSegmentation(encoder()),
    "max_tree": lambda: ComponentTreeRegression(encoder()),
    "restoration": lambda: Restoration(encoder()),
    "volume_fusion": lambda: VolumeFusion(encoder()),
    "autoencoder": lambda: Autoencoder(encoder(), partner=TransformerPartner),
    "combined": lambda: combined(encoder()),
}


def combined(shared):
    tasks = {
        "masks": PseudoMaskSegmentation(shared),
        "trees": ComponentTreeRegression(shared),
        "contrast": Contrastive(shared, projection=8, memory=8),
    }
    return Combined(shared, tasks, {"contrast": 0.1})


def pretraining(name, folder, handlers=(), **changes):
    """Build a pretraining of nine steps."""
    import torch

    torch.manual_seed(0)
    task = TASKS[name]()
    return pretrain_trainer(
        task, volumes(4), PATCH, 3, optimisation(), loop(folder, **changes), handlers
    )
