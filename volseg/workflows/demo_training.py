"""The demo's three runs: one pretraining, and fine-tuning with and without it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from monai.data import CacheDataset
from torch import Tensor

from volseg.data.pipelines import augmentation, preprocessing
from volseg.engines.log import MetricsFile
from volseg.engines.loop import Loop
from volseg.engines.optimisation import Optimisation
from volseg.engines.pretrain import pretrain_trainer
from volseg.engines.schedules import Warmup
from volseg.engines.segment import segmentation_trainer
from volseg.networks.card import describe_data
from volseg.networks.decoder import ConvolutionalDecoder
from volseg.networks.receipt import Receipt
from volseg.networks.residual import tiny
from volseg.networks.segmenter import Segmenter
from volseg.networks.weights import load_encoder
from volseg.pretext.masked import MaskedReconstruction
from volseg.workflows.demo_data import CLASSES, DemoData
from volseg.workflows.demo_settings import DemoSettings

ENCODER: dict[str, Any] = {"_target_": "volseg.networks.residual.tiny", "in_channels": 1}
SEGMENTER: dict[str, Any] = {
    "_target_": "volseg.networks.segmenter.Segmenter",
    "encoder": ENCODER,
    "num_classes": len(CLASSES),
    "decoder": {"_target_": "volseg.networks.decoder.ConvolutionalDecoder", "_mode_": "callable"},
}
"""The networks of the demo as configs, for the cards of their weights."""


@dataclass(frozen=True)
class Pretraining:
    """What the pretraining gives.

    Args:
        weights: The encoder's weights file.
        losses: Mean loss of each epoch.
        panels: Pictures of one crop by name, ``(1, 1, D, H, W)`` each.
    """

    weights: Path
    losses: list[float]
    panels: dict[str, Tensor]


@dataclass(frozen=True)
class Finetuning:
    """What one arm gives.

    Args:
        network: The trained segmenter.
        losses: Mean loss of each epoch.
        receipt: What was loaded before training; `None` from scratch.
    """

    network: Segmenter
    losses: list[float]
    receipt: Receipt | None


def pretrain_encoder(data: DemoData, output: Path, settings: DemoSettings) -> Pretraining:
    """Pretrain the encoder, and a decoder with it, on unlabelled crops of the front.

    Args:
        data: The files.
        output: Folder of the run.
        settings: How long and on what.

    Returns:
        Weights, losses and pictures.
    """
    with seeded(settings.seed):
        decoder = ConvolutionalDecoder
        task = MaskedReconstruction(tiny(), settings.block, ratio=0.6, decoder=decoder)
    dataset = cached({"image": str(data.front_image)}, settings)
    loop = loop_of(settings, output, {"encoder": ENCODER})
    optimisation = Optimisation(learning_rate=5e-3)
    patch_size, epochs = settings.patch_size, settings.pretraining_epochs
    pretrain_trainer(task, dataset, patch_size, epochs, optimisation, loop).run()
    return Pretraining(
        loop.models_dir / "encoder.safetensors",
        read_losses(loop),
        draw_panels(task, dataset, settings),
    )


def finetune_segmenter(
    data: DemoData, output: Path, settings: DemoSettings, encoder: Path | None = None
) -> Finetuning:
    """Fine-tune a segmenter on labelled crops of the front.

    Whatever is not loaded starts from the same random weights in both arms, and both see the same
    crops at the same rates.

    Args:
        data: The files.
        output: Folder of the run.
        settings: How long and on what.
        encoder: Weights to start from; `None` starts from scratch.

    Returns:
        The network, losses and receipt.
    """
    with seeded(settings.seed):
        network = Segmenter(tiny(), len(CLASSES))
    receipt = None if encoder is None else load_encoder(network, encoder)
    files = {"image": str(data.front_image), "label": str(data.front_label)}
    loop = loop_of(settings, output, SEGMENTER)
    segmentation_trainer(
        network,
        cached(files, settings),
        augmentation(settings.patch_size),
        settings.finetuning_epochs,
        Optimisation(learning_rate=5e-3, schedule=Warmup(warmup=0.1)),
        loop,
    ).run()
    return Finetuning(network.eval(), read_losses(loop), receipt)


def cached(files: dict[str, str], settings: DemoSettings) -> CacheDataset:
    """Preprocess one case once.

    Args:
        files: ``image``, and ``label`` where there is one.
        settings: The spacing.

    Returns:
        A dataset of one case.
    """
    transform = preprocessing(tuple(files), settings.spacing)
    return CacheDataset([files], transform, progress=False)


def draw_panels(
    task: MaskedReconstruction, dataset: CacheDataset, settings: DemoSettings
) -> dict[str, Tensor]:
    """Let the trained task fill in one crop, the fullest of a few.

    Args:
        task: The task after training.
        dataset: The case.
        settings: The size of the crop and the seed.

    Returns:
        Pictures by name, ``(1, 1, D, H, W)`` each.
    """
    view = task.views(settings.patch_size)
    view.set_random_state(settings.seed)
    crops = [view(dataset[0]) for _ in range(8)]
    fullest = max(crops, key=lambda crop: float(crop["image"].std()))  # the others may be air
    device = next(task.parameters()).device
    batch = {key: value[None].to(device) for key, value in fullest.items()}
    with torch.no_grad():
        result = task.eval()(batch, panels=True)
    return {name: panel.float().cpu() for name, panel in result.panels.items()}


def loop_of(settings: DemoSettings, output: Path, network: dict[str, Any]) -> Loop:
    """Describe a run.

    Args:
        settings: How long and on what.
        output: Folder of the run.
        network: Config of the network, for the card of its weights.

    Returns:
        Where, on what and from which seed it runs.
    """
    card = {
        "network": network,
        "channels": ("T1",),
        "spacing": settings.spacing,
        "patch_size": settings.patch_size,
        "data": describe_data(["MNI152 2009a symmetric"], "ICBM, as in nilearn", ["front_t1"]),
    }
    return Loop(
        output,
        device=settings.device,
        batch_size=settings.batch_size,
        epoch_length=settings.epoch_length,
        seed=settings.seed,
        progress=settings.progress,
        card=card,
    )


def read_losses(loop: Loop) -> list[float]:
    """Read the mean loss of each epoch from a run's log.

    Args:
        loop: The run.

    Returns:
        Losses, first epoch first.
    """
    return [
        float(record["loss"]) for record in MetricsFile(loop.train_dir / "metrics.jsonl").read()
    ]


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw random weights from a seed, and leave torch's own state as it was.

    Args:
        seed: The seed.

    Yields:
        Nothing.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
