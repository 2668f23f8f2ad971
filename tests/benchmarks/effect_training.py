"""What the miniature experiments of the pretext tasks share: networks, tasks, data and training.

Hippocampus volumes at half resolution, 16 x 24 x 16 voxels, and small encoders: a residual network
of three levels (``cnn``), a transformer (``vit``) and one of shifted windows (``swin``).
"""

import argparse
import csv
from collections.abc import Callable, Sequence
from copy import deepcopy
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import default_collate

from volseg.errors import VolsegError
from volseg.networks.decoder import ConvolutionalDecoder
from volseg.networks.decoder_unetr import UnetrDecoder
from volseg.networks.encoder import Encoder
from volseg.networks.residual import ResidualEncoder
from volseg.networks.segmenter import Segmenter
from volseg.networks.swin import SwinEncoder
from volseg.networks.vit import ViTEncoder
from volseg.pretext.autoencoder import Autoencoder
from volseg.pretext.combined import Combined
from volseg.pretext.contrastive import Contrastive
from volseg.pretext.cross_architecture import CrossArchitecture
from volseg.pretext.masked import MaskedReconstruction
from volseg.pretext.max_tree import ComponentTreeRegression, TreeMaps
from volseg.pretext.pseudo_mask import PseudoMaskSegmentation
from volseg.pretext.restoration import Restoration
from volseg.pretext.rotation import RotationDecoupling
from volseg.pretext.self_distillation import SelfDistillation
from volseg.pretext.task import PretextTask
from volseg.pretext.volume_fusion import VolumeFusion
from volseg.pretext.voxels import balanced_losses
from volseg.transforms.intensity import normalize_foreground

SIZE = (16, 24, 16)
CUBE = (16, 16, 16)
TESTED, BATCH = 60, 8
RATE = 2e-3


def vit(mask_mode: str = "drop") -> ViTEncoder:
    """Build a small transformer for these crops."""
    return ViTEncoder(1, SIZE, 4, 48, 4, 4, mask_mode)


def cnn() -> ResidualEncoder:
    """Build a residual network of three levels."""
    return ResidualEncoder(1, (8, 16, 32))


def swin() -> SwinEncoder:
    """Build a small transformer of shifted windows."""
    return SwinEncoder(1, width=12, depths=(2, 2), heads=(2, 4), window=4)


ENCODERS: dict[str, Callable[[], Encoder]] = {"cnn": cnn, "vit": vit, "swin": swin}


def encoder_for(kind: str, name: str) -> Encoder:
    """Build the encoder that a task learns with: hidden tokens stay where they are distilled."""
    return vit("replace") if (kind, name) == ("vit", "self_distillation") else ENCODERS[kind]()


def combine(encoder: Encoder) -> Combined:
    """Combine the two tasks whose targets are computed."""
    kind = decoder_of(encoder)
    masks = PseudoMaskSegmentation(encoder, decoder=kind)
    return Combined(
        encoder, {"masks": masks, "trees": ComponentTreeRegression(encoder, decoder=kind)}
    )


def cross(encoder: Encoder) -> CrossArchitecture:
    """Learn together with a network of the other kind."""
    return CrossArchitecture(encoder, vit() if isinstance(encoder, ResidualEncoder) else cnn())


def masked(encoder: Encoder) -> MaskedReconstruction:
    """Predict hidden voxels: as MAE with a transformer, else with the decoder that is kept."""
    decoder = None if isinstance(encoder, ViTEncoder) else ConvolutionalDecoder
    return MaskedReconstruction(encoder, 4, 0.6, decoder)


def decoder_of(encoder: Encoder) -> Callable:
    """Choose the decoder that goes with an encoder."""
    return UnetrDecoder if isinstance(encoder, ViTEncoder) else ConvolutionalDecoder


LOG_AREA = TreeMaps(attribute="log_area")

TASKS: dict[str, Callable[[Encoder], PretextTask]] = {
    "autoencoder": lambda e: Autoencoder(e, decoder_of(e)),
    "masked": masked,
    "restoration": lambda e: Restoration(e, decoder_of(e)),
    "volume_fusion": lambda e: VolumeFusion(e, decoder=decoder_of(e)),
    "pseudo_mask": lambda e: PseudoMaskSegmentation(e, decoder=decoder_of(e)),
    "pseudo_mask_2": lambda e: PseudoMaskSegmentation(e, 2, decoder_of(e)),
    "pseudo_mask_encoder": lambda e: PseudoMaskSegmentation(e, decoder=decoder_of(e)),
    "max_tree": lambda e: ComponentTreeRegression(e, decoder=decoder_of(e)),
    "max_tree_log": lambda e: ComponentTreeRegression(e, LOG_AREA, decoder_of(e)),
    "combined": combine,
    "self_distillation": lambda e: SelfDistillation(e, 4, 0.6, prototypes=64, momentum=0.97),
    "contrastive": Contrastive,
    "cross_architecture": cross,
    "rotation": RotationDecoupling,
}
ENCODER_ALONE = ("pseudo_mask_encoder",)
"""Arms that leave the decoder that they trained behind: what does it add to hand it over?"""


def load(source: Path) -> tuple[Tensor, Tensor]:
    """Read all cases at half resolution; the last sixty are those of people of their own."""
    rows = list(csv.DictReader((source / "cases.csv").open(encoding="utf-8")))
    groups = sorted({row["subject group"] for row in rows})
    order = {g: i for i, g in enumerate(np.random.default_rng(0).permutation(groups).tolist())}
    names = [row["case"] for row in sorted(rows, key=lambda row: order[row["subject group"]])]
    images, labels = [], []
    for name in names:
        volume = nib.load(source / "imagesTr" / f"{name}.nii.gz").get_fdata(dtype=np.float32)
        label = nib.load(source / "labelsTr" / f"{name}.nii.gz").get_fdata().round().astype(int)
        image = normalize_foreground(torch.from_numpy(volume.copy()), 0.5, 99.5)[None, None]
        shares = functional.one_hot(torch.from_numpy(label), 3).movedim(-1, 0)[None].float()
        images.append(centre(functional.avg_pool3d(image, 2, ceil_mode=True)[0]))
        halved = functional.avg_pool3d(shares, 2, ceil_mode=True).argmax(dim=1)
        labels.append(centre(halved))
    return torch.stack(images), torch.stack(labels)


def centre(volume: Tensor) -> Tensor:
    """Crop or pad ``(C, X, Y, Z)`` to the size of this experiment, around the middle."""
    pads = []
    for length, wanted in zip(reversed(volume.shape[1:]), reversed(SIZE), strict=True):
        before = (wanted - length) // 2
        pads += [before, wanted - length - before]
    return functional.pad(volume, pads, value=float(volume.min()))


def pretrain(task: PretextTask, images: Tensor, seed: int, steps: int, size: tuple) -> PretextTask:
    """Train a task with AdamW on a cosine."""
    view = task.views(size)
    generator = np.random.default_rng(seed)
    optimizer = torch.optim.AdamW(task.parameters(), RATE)
    for step in range(steps):
        for options in optimizer.param_groups:
            options["lr"] = RATE * (1 + np.cos(np.pi * step / steps)) / 2
        chosen = generator.integers(len(images), size=BATCH)
        views = []
        for index in chosen:
            view.set_random_state(int(generator.integers(2**31)))
            views.append(view({"image": images[index]}))
        optimizer.zero_grad()
        task(default_collate(views)).loss.backward()
        nn.utils.clip_grad_norm_(task.parameters(), 1.0)
        optimizer.step()
        task.after_step(step + 1, steps)
    return task


def transfer(
    name: str,
    kind: str,
    seed: int,
    data: tuple[Tensor, Tensor],
    options: argparse.Namespace,
    budgets: Sequence[int],
) -> list[dict]:
    """Pretrain once, then fine-tune on so many cases each, and score."""
    images, labels = data
    try:
        network = make_network(name, kind, seed, images, options)
    except VolsegError as error:
        return [{"refused": str(error)} for _ in budgets]
    # batches of pretraining are twice as large
    steps = options.steps + 2 * options.pretraining_steps * (name == "longer")
    order = np.random.default_rng(100 + seed).permutation(len(images) - TESTED)
    runs = []
    for budget in budgets:
        few, pupil = torch.from_numpy(order[:budget].copy()), deepcopy(network)
        finetune(pupil, images[few], labels[few], seed, steps)
        runs.append({"dice": score(pupil, images[-TESTED:], labels[-TESTED:])})
    return runs


def make_network(
    name: str, kind: str, seed: int, images: Tensor, options: argparse.Namespace
) -> Segmenter:
    """Build a segmenter whose encoder, and decoder if it fits, a task has trained."""
    torch.manual_seed(seed)
    encoder = encoder_for(kind, name)
    network = Segmenter(encoder, 3, decoder_of(encoder), num_heads=1)
    if name in TASKS:
        size = CUBE if name == "rotation" else SIZE
        task = TASKS[name](network.encoder)
        kept = pretrain(task, images[:-TESTED], seed, options.pretraining_steps, size).trained()
        is_handed = "decoder" in kept and name not in ENCODER_ALONE
        if is_handed and is_alike(kept["decoder"], network.decoder):
            network.decoder.load_state_dict(kept["decoder"].state_dict())
    return network


def is_alike(one: nn.Module, other: nn.Module) -> bool:
    """Tell whether the weights of one module fit the other."""
    shapes = [{k: v.shape for k, v in each.state_dict().items()} for each in (one, other)]
    return shapes[0] == shapes[1]


def finetune(
    network: Segmenter,
    images: Tensor,
    labels: Tensor,
    seed: int,
    steps: int,
    *,
    is_augmented: bool = True,
) -> None:
    """Train a segmenter, with scaled and shifted intensities if wanted, without flips."""
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(network.parameters(), RATE)
    for step in range(steps):
        for options in optimizer.param_groups:
            options["lr"] = RATE * min(1, step / 20) * (1 + np.cos(np.pi * step / steps)) / 2
        chosen = torch.randint(len(images), (4,), generator=generator)
        change = 0.2 * is_augmented * torch.randn(2, 4, 1, 1, 1, 1, generator=generator)
        optimizer.zero_grad()
        logits = network(images[chosen] * (1 + change[0]) + change[1])
        target = labels[chosen]
        losses = balanced_losses(logits, target, target >= 0)
        (losses["dice"] + functional.cross_entropy(logits, target[:, 0])).backward()
        optimizer.step()


@torch.no_grad()
def score(network: Segmenter, images: Tensor, labels: Tensor) -> list[float]:
    """Give the mean Dice of both classes, case by case."""
    network.eval()
    said = network(images).argmax(dim=1)
    classes = []
    for value in (1, 2):
        own, true = said == value, labels[:, 0] == value
        overlap = 2 * (own & true).sum((1, 2, 3)) / (own.sum((1, 2, 3)) + true.sum((1, 2, 3)))
        classes.append(overlap)
    return torch.stack(classes).mean(dim=0).round(decimals=4).tolist()
