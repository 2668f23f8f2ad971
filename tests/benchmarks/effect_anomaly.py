"""What the autoencoder with a partner is for: it finds what normal volumes do not have.

Hetero-AE (Lu et al. 2024) compares features instead of pixels, with a partner of another kind than
the encoder. Bright balls are put into volumes of other people than those that were trained on. Maps
are scored by the average precision of voxels, and volumes by the highest value of their map, or by
the mean of its highest hundredth. ``intensity`` is no model: the distance from the mean of the
training volumes at each voxel. Two arms keep the encoder as it is, as a re-implementation of the
paper does: ``frozen`` after thresholds have taught it, ``untrained`` before.
"""

import argparse

import numpy as np
import torch
from torch import Tensor

from tests.benchmarks.effect_training import (
    ENCODERS,
    SIZE,
    TASKS,
    TESTED,
    pretrain,
)
from tests.benchmarks.effect_verdicts import Claim
from volseg.pretext.autoencoder import Autoencoder
from volseg.pretext.partners import ConvolutionalPartner, TransformerPartner

PARTNERS = {
    "pixels": None,
    "convolutional": ConvolutionalPartner,
    "transformer": TransformerPartner,
    "frozen": TransformerPartner,
    "untrained": TransformerPartner,
}

CLAIMS = (
    Claim(
        "features find voxels better than pixels", "transformer_voxel_ap", "pixels_voxel_ap", 0.05
    ),
    Claim("and volumes, by the highest value", "transformer_max_auroc", "pixels_max_auroc", 0.1),
    Claim("features of a frozen encoder do", "frozen_voxel_ap", "pixels_voxel_ap", 0.05),
    Claim("and volumes", "frozen_max_auroc", "pixels_max_auroc", 0.1),
    Claim("pretraining of the frozen encoder helps", "frozen_voxel_ap", "untrained_voxel_ap"),
    Claim("a partner of another kind helps", "transformer_voxel_ap", "convolutional_voxel_ap"),
    Claim("it takes a model", "transformer_voxel_ap", "intensity_voxel_ap"),
)


def find_anomalies(
    kind: str, seed: int, data: tuple[Tensor, Tensor], options: argparse.Namespace
) -> dict:
    """Compare pixels with features, and one kind of partner with the other, on inserted balls."""
    images = data[0]
    training, normal = images[:-TESTED], images[-TESTED:]
    balls, truth = insert_balls(normal, seed)
    mean, deviation = training.mean(dim=0), training.std(dim=0) + 0.1
    maps = [(each - mean).abs() / deviation for each in (normal, balls)]
    figures = rate("intensity", *maps, truth)
    for title, partner in PARTNERS.items():
        torch.manual_seed(seed)
        encoder = ENCODERS[kind]()
        if title == "frozen":
            teacher = TASKS["pseudo_mask"](encoder)
            pretrain(teacher, training, seed, options.pretraining_steps, SIZE)
        task = Autoencoder(encoder, partner=partner)
        encoder.requires_grad_(title not in ("frozen", "untrained"))
        pretrain(task, training, seed, options.pretraining_steps, SIZE).eval()
        figures |= rate(title, task.anomaly(normal), task.anomaly(balls), truth)
    return figures


def rate(title: str, normal: Tensor, found: Tensor, truth: Tensor) -> dict:
    """Score the maps of normal volumes and of the same volumes with balls."""
    figures = {f"{title}_voxel_ap": precision(found.flatten(), truth.flatten())}
    for name, summarise in (("case", top), ("max", highest)):
        tops = [summarise(maps) for maps in (normal, found)]
        wins = (tops[1][:, None] > tops[0]).float().mean()
        figures[f"{title}_{name}_auroc"] = round(wins.item(), 3)
    return figures


def highest(maps: Tensor) -> Tensor:
    """Take the highest value of each map."""
    return maps.flatten(1).amax(dim=1)


def insert_balls(images: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """Put a bright ball of 2.5 voxels' radius into each volume, one deviation above it."""
    generator = np.random.default_rng(seed)
    grid = torch.stack(torch.meshgrid(*map(torch.arange, SIZE), indexing="ij"))
    truth = torch.zeros(images.shape, dtype=torch.bool)
    for case in range(len(images)):
        middle = torch.tensor([generator.integers(4, n - 4) for n in SIZE]).view(3, 1, 1, 1)
        truth[case, 0] = ((grid - middle) ** 2).sum(0) <= 2.5**2
    return torch.where(truth, images + 1.0, images), truth


def top(maps: Tensor) -> Tensor:
    """Average the highest hundredth of each map."""
    flat = maps.flatten(1)
    return flat.topk(max(1, flat.shape[1] // 100), dim=1).values.mean(dim=1)


def precision(scores: Tensor, truth: Tensor) -> float:
    """Compute the average precision."""
    hits = truth[scores.argsort(descending=True)].float()
    places = torch.arange(1, len(hits) + 1)
    return round(((hits.cumsum(0) / places) * hits).sum().item() / hits.sum().item(), 3)
