"""Nested structures in phantoms: what max-trees and thresholds teach, with four labels.

A body holds one large structure with a brighter core in it, and small decoys that are as bright as
the structure, or as its core. Intensity does not tell the structure from its decoys; its size, and
what lies in what, do. That is what a component tree describes (Tang, Du & Xu 2022), and what
thresholds mark (Singh & Cirrone 2024, https://arxiv.org/abs/2402.02367).
"""

import argparse

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

from tests.benchmarks.effect_training import SIZE, TESTED, transfer
from tests.benchmarks.effect_verdicts import Claim
from volseg.transforms.intensity import normalize_foreground

UNLABELLED, LABELLED = 200, 4

BODY, SHELL, CORE = 0.4, 0.7, 1.0
"""Brightness of the three tissues; air is 0."""

ARMS = ("scratch", "autoencoder", "max_tree", "max_tree_log", "pseudo_mask", "pseudo_mask_encoder")

CLAIMS = (
    Claim("component trees help with few labels", "max_tree", "scratch"),
    Claim("so do logarithms of areas", "max_tree_log", "scratch"),
    Claim("component trees help more than the control", "max_tree", "autoencoder"),
    Claim("thresholds help with few labels", "pseudo_mask", "scratch"),
    Claim("to hand over the decoder helps", "pseudo_mask", "pseudo_mask_encoder"),
)


def segment_phantoms(
    kind: str,
    seed: int,
    data: tuple[Tensor, Tensor],
    options: argparse.Namespace,
) -> dict:
    """Pretrain each arm on phantoms, and give the mean Dice of structure and core."""
    phantoms = make_phantoms(UNLABELLED + TESTED, np.random.default_rng(seed))
    figures = {}
    for name in ARMS:
        (run,) = transfer(name, kind, seed, phantoms, options, [LABELLED])
        figures[name] = round(float(np.mean(run["dice"])), 4)
    return figures


def make_phantoms(count: int, random: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Make images, ``(N, 1, X, Y, Z)``, and labels: 1 the structure, 2 its core."""
    pairs = [make_phantom(random) for _ in range(count)]
    images, labels = (
        torch.from_numpy(np.stack(each))[:, None] for each in zip(*pairs, strict=True)
    )
    return images, labels


def make_phantom(random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Make one image and its labels."""
    grid = np.stack(np.meshgrid(*map(np.arange, SIZE), indexing="ij"))
    axes = np.array(SIZE) / 2 * random.uniform(0.85, 1.0, 3)
    middle = (np.array(SIZE) - 1) / 2
    body = (((grid.T - middle) / axes) ** 2).sum(-1).T <= 1
    value, label = np.where(body, BODY, 0.0), np.zeros(SIZE, dtype=np.int64)
    taken: list[tuple[np.ndarray, float]] = []
    radius = random.uniform(3.2, 4.2)
    place = find_place(random, axes, radius, taken)
    taken.append((place, radius))
    away = distance(grid, place)
    core = random.uniform(0.4, 0.55) * radius
    value[away <= radius], label[away <= radius] = SHELL, 1
    value[away <= core], label[away <= core] = CORE, 2
    for brightness in [SHELL] * int(random.integers(4, 8)) + [CORE] * int(random.integers(2, 5)):
        small = random.uniform(1.2, 2.0)
        place = find_place(random, axes, small, taken)
        taken.append((place, small))
        value[(distance(grid, place) <= small) & (label == 0) & body] = brightness
    blurred = gaussian_filter(value, 0.6) * random.uniform(0.8, 1.2)
    noisy = np.where(body, np.maximum(blurred + random.normal(0, 0.06, SIZE), 0.05), 0.0)
    return normalize_foreground(torch.from_numpy(noisy)).numpy(), label


def find_place(
    random: np.random.Generator,
    axes: np.ndarray,
    radius: float,
    taken: list[tuple[np.ndarray, float]],
) -> np.ndarray:
    """Draw the middle of a ball within the body, as far from others as a few attempts allow."""
    best, most = np.zeros(3), -np.inf
    for _ in range(30):
        direction = random.normal(size=3)
        inside = direction / np.linalg.norm(direction) * random.uniform() ** (1 / 3)
        place = (np.array(SIZE) - 1) / 2 + inside * (axes - radius)
        gaps = [np.linalg.norm(place - other) - width - radius for other, width in taken]
        gap = min(gaps, default=np.inf)
        if gap > most:
            best, most = place, gap
        if gap >= 1:
            break
    return best


def distance(grid: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Measure how far voxels are from a place."""
    return np.sqrt(((grid - place.reshape(3, 1, 1, 1)) ** 2).sum(0))
