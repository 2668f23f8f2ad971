"""Robustness that pretraining brings: how much Dice falls when contrast changes.

The pretext changes intensities, fine-tuning here does not. Scratch and pretrained networks learn
from the same labelled volumes and are scored on the same volumes as they are, and with a gamma of
0.6, blurred, and with noise. Jiang et al. 2024 (https://arxiv.org/abs/2405.08657) compare drops so.
"""

import argparse
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from tests.benchmarks.effect_training import TESTED, make_network, score
from tests.benchmarks.effect_training import finetune as tune
from tests.benchmarks.effect_verdicts import Claim

LABELLED = 24
ARMS = ("scratch", "pseudo_mask")

CLAIMS = (
    Claim("a gamma of 0.6 costs less Dice after pretraining", "scratch_gamma", "pseudo_mask_gamma"),
    Claim("so does blur", "scratch_blur", "pseudo_mask_blur"),
    Claim("so does noise", "scratch_noise", "pseudo_mask_noise"),
)


def change_gamma(images: Tensor) -> Tensor:
    """Bend the intensities of each volume between its extremes."""
    low, high = images.amin((1, 2, 3, 4), keepdim=True), images.amax((1, 2, 3, 4), keepdim=True)
    return low + (high - low) * ((images - low) / (high - low)) ** 0.6


def blur(images: Tensor) -> Tensor:
    """Average over three voxels along each axis."""
    return functional.avg_pool3d(images, 3, stride=1, padding=1, count_include_pad=False)


def add_noise(images: Tensor) -> Tensor:
    """Add a third of a standard deviation, the same to every network."""
    return images + 0.33 * torch.randn(images.shape, generator=torch.Generator().manual_seed(0))


SHIFTS: dict[str, Callable[[Tensor], Tensor]] = {
    "identity": torch.clone,
    "gamma": change_gamma,
    "blur": blur,
    "noise": add_noise,
}


def measure_drops(
    kind: str, seed: int, data: tuple[Tensor, Tensor], options: argparse.Namespace
) -> dict:
    """Give each arm's Dice and how much of it each shift costs; the identity costs nothing."""
    images, labels = data
    figures = {}
    order = np.random.default_rng(100 + seed).permutation(len(images) - TESTED)
    few = torch.from_numpy(order[:LABELLED].copy())
    for name in ARMS:
        network = make_network(name, kind, seed, images, options)
        tune(network, images[few], labels[few], seed, options.steps, is_augmented=False)
        tests, truth = images[-TESTED:], labels[-TESTED:]
        whole = float(np.mean(score(network, tests, truth)))
        figures[f"{name}_dice"] = round(whole, 4)
        for shift, change in SHIFTS.items():
            drop = whole - float(np.mean(score(network, change(tests), truth)))
            figures[f"{name}_{shift}"] = round(drop, 4)
    return figures
