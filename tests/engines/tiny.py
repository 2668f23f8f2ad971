"""A tiny pretext task, tiny volumes and tiny trainings, which tests also run in other processes."""

import multiprocessing
import time
from pathlib import Path

import numpy as np
import torch
from monai.inferers import SlidingWindowInferer
from monai.transforms import Compose, RandGaussianNoised, RandSpatialCropd
from torch import nn

from volseg.engines.loop import Loop
from volseg.engines.optimisation import Optimisation
from volseg.engines.pretrain import pretrain_trainer
from volseg.engines.schedules import Sawtooth
from volseg.engines.segment import segmentation_evaluator, segmentation_trainer
from volseg.networks.residual import ResidualEncoder
from volseg.networks.segmenter import Segmenter
from volseg.pretext.task import PretextResult, PretextTask

PATCH = (8, 8, 4)
EPOCHS = 4
EPOCH_LENGTH = 3


class Denoising(PretextTask):
    """Predicts the clean volume from one with noise; draws from torch's generator in `forward`."""

    def __init__(self, encoder):
        super().__init__(encoder)
        self.head = nn.Conv3d(encoder.spec.channels[0], 1, 1)
        self.dropout = nn.Dropout(0.2)
        self.register_buffer("counted", torch.zeros(()))
        self.seen = []

    def views(self, patch_size):
        crop = RandSpatialCropd(["image"], patch_size, random_size=False)
        return Compose([crop, RandGaussianNoised(["image"], prob=0.5)])

    def forward(self, batch, *, panels=False):
        clean = batch["image"]
        noisy = clean + torch.randn_like(clean)
        output = self.head(self.dropout(self.encoder(noisy)[0]))
        loss = (output.float() - clean).square().mean()
        monitors = {"spread": output.detach().float().std()}
        pictures = {"clean": clean, "output": output.detach()} if panels else {}
        return PretextResult(loss, {"l2": loss.detach()}, monitors, pictures)

    def after_step(self, step, total):
        self.counted += 1
        self.seen.append((step, total))


def volumes(count, seed=0):
    """Make volumes whose bright voxels are class 1; of odd size, so that crops differ."""
    generator = np.random.default_rng(seed)
    cases = []
    for _ in range(count):
        image = torch.from_numpy(generator.standard_normal((1, 12, 10, 9), dtype=np.float32))
        label = (image > 0.5).to(torch.uint8)
        cases.append({"image": image + 2 * label, "label": label})
    return cases


def encoder(seed=0):
    torch.manual_seed(seed)
    return ResidualEncoder(1, widths=(4, 8))


def loop(folder, **changes):
    options = {"batch_size": 2, "epoch_length": EPOCH_LENGTH, "progress": False, "device": "cpu"}
    return Loop(folder, **{**options, **changes})


def optimisation(**changes):
    return Optimisation(**{"learning_rate": 0.01, "ema_decay": 0.9, **changes})


def pretraining(folder, *, cases=4, handlers=(), learning=None, **changes):
    """Build a pretraining of a few steps."""
    return pretrain_trainer(
        Denoising(encoder()),
        volumes(cases),
        PATCH,
        EPOCHS,
        learning or optimisation(),
        loop(folder, **changes),
        handlers,
    )


def segmentation(folder, *, cases=4, handlers=(), learning=None, network=None, **changes):
    """Build a fine-tuning of a few steps."""
    network = network or Segmenter(encoder(), num_classes=2, num_heads=2)
    evaluator = segmentation_evaluator(
        network, volumes(3, seed=1), SlidingWindowInferer(PATCH, 2), num_classes=2, device="cpu"
    )
    crop = RandSpatialCropd(["image", "label"], PATCH, random_size=False)
    return segmentation_trainer(
        network,
        volumes(cases),
        Compose([crop, RandGaussianNoised(["image"], prob=0.5)]),
        EPOCHS,
        learning or optimisation(schedule=Sawtooth(alone=0.3, warmup=0.3)),
        loop(folder, **changes),
        evaluator,
        handlers,
    )


class VoxelMean(nn.Module):
    """Cross-entropy as a mean over voxels, which is the same over a batch and over its halves."""

    def forward(self, logits, label):
        return nn.functional.cross_entropy(logits, label[:, 0].long())


def averaged(folder, **changes):
    """Build a fine-tuning whose gradient is a mean over cases."""
    return segmentation(folder, learning=optimisation(loss=VoxelMean()), **changes)


BUILDERS = {"pretrain": pretraining, "segment": segmentation}


class Slow:
    """A handler that leaves time for a kill between steps and inside epochs' ends."""

    def attach(self, engine):
        from ignite.engine import Events

        engine.add_event_handler(Events.ITERATION_STARTED, lambda _: time.sleep(0.02))


def train(kind, folder, workers, *, resume):
    """Train to the end, in a process that may be killed."""
    torch.set_num_threads(1)
    multiprocessing.set_start_method("fork", force=True)  # loader workers notice a dead parent
    folder = Path(folder)
    trainer = BUILDERS[kind](folder, num_workers=workers, resume=resume, handlers=[Slow()])
    (folder / "started").parent.mkdir(parents=True, exist_ok=True)
    (folder / "started").touch()
    trainer.run()
