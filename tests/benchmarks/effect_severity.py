"""Grades of severity on a real background: few or many lesions in volumes of the hippocampus.

Every volume is given lesions of one of several grades, which differ in number. A probe, or a
network, learns the grade from forty labelled volumes, and says it of volumes of other people, each
of which has every grade once.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn
from torch.nn import functional

from tests.benchmarks.effect_training import RATE, TESTED
from volseg.networks.encoder import Encoder
from volseg.pretext.rotation import cube_turns, turn_copies

LABELLED, TUNED = 40, 150
RADII = (1.8, 2.8)
"""Smallest and largest radius of a lesion, in voxels."""

LIFT = 1.5
"""How much brighter a lesion is, in standard deviations of the volume. It was chosen with one seed
of the untrained and the scratch network alone: 0.59 and 0.77 right of two grades, 0.49 and 0.46 of
three."""


@dataclass(frozen=True)
class Graded:
    """Volumes with lesions, ``(N, 1, X, Y, Z)``, and their grades, ``(N,)``.

    Args:
        unlabelled: Volumes to pretrain on.
        images: The labelled ones, some of the unlabelled.
        grades: Their grades.
        tested: Volumes of other people.
        truth: Their grades.
    """

    unlabelled: Tensor
    images: Tensor
    grades: Tensor
    tested: Tensor
    truth: Tensor


def grade(images: Tensor, seed: int, counts: tuple[tuple[int, int], ...]) -> Graded:
    """Put lesions into volumes.

    Args:
        images: Volumes; the last sixty are tested.
        seed: Of the lesions.
        counts: Fewest and most lesions of each grade.
    """
    random = np.random.default_rng(seed)
    pool, others = images[:-TESTED], images[-TESTED:]
    grades = torch.from_numpy(random.permutation(np.arange(len(pool)) % len(counts)))
    spoilt = torch.stack(
        [add_lesions(x, counts[g], random) for x, g in zip(pool, grades, strict=True)]
    )
    chosen = balanced(grades, random)
    tested = [[add_lesions(x, each, random) for each in counts] for x in others]
    truth = torch.arange(len(counts)).repeat(TESTED)
    stacked = torch.stack([volume for case in tested for volume in case])
    return Graded(spoilt, spoilt[chosen], grades[chosen], stacked, truth)


def balanced(grades: Tensor, random: np.random.Generator) -> Tensor:
    """Choose the labelled volumes, as many of each grade as the number allows."""
    order = torch.from_numpy(random.permutation(len(grades)))
    ranks = torch.zeros(len(grades), dtype=torch.long)
    for value in grades.unique():
        own = order[grades[order] == value]
        ranks[own] = torch.arange(len(own))
    return order[ranks[order].argsort(stable=True)][:LABELLED]


def add_lesions(image: Tensor, counts: tuple[int, int], random: np.random.Generator) -> Tensor:
    """Brighten some small balls of a volume, ``(1, X, Y, Z)``."""
    size = image.shape[1:]
    grid = torch.stack(torch.meshgrid(*map(torch.arange, size), indexing="ij"))
    lesions = torch.zeros(size, dtype=torch.bool)
    for _ in range(int(random.integers(counts[0], counts[1] + 1))):
        middle = torch.tensor([random.uniform(2, n - 3) for n in size]).view(3, 1, 1, 1)
        lesions |= ((grid - middle) ** 2).sum(0) <= random.uniform(*RADII) ** 2
    return torch.where(lesions, image + LIFT, image)


def turn(images: Tensor, seed: int) -> Tensor:
    """Turn cubes, each by one of the nine rotations about the axes that are none."""
    turns = cube_turns(is_about_axes=True)
    generator = torch.Generator().manual_seed(seed)
    numbers = torch.randint(1, len(turns), (len(images), 1), generator=generator)
    return turn_copies(images, numbers, turns)[:, 0]


@torch.no_grad()
def describe(encode: Callable[[Tensor], Tensor], images: Tensor) -> np.ndarray:
    """Give the features of volumes, a row each."""
    return torch.cat([encode(part) for part in images.split(60)]).double().numpy()


def probe_grade(encode: Callable[[Tensor], Tensor], data: Graded, *tests: Tensor) -> list[float]:
    """Fit a logistic regression to frozen features, and give its accuracy on each test."""
    rows = describe(encode, data.images)
    mean, deviation = rows.mean(axis=0), rows.std(axis=0) + 1e-6
    model = LogisticRegression(C=0.1, max_iter=2000)
    model.fit((rows - mean) / deviation, data.grades.numpy())
    scores = []
    for images in tests:
        said = model.predict((describe(encode, images) - mean) / deviation)
        scores.append(round(float((said == data.truth.numpy()).mean()), 4))
    return scores


def tune_grade(encoder: Encoder, data: Graded, seed: int, *tests: Tensor) -> list[float]:
    """Fine-tune an encoder and a linear layer, and give its accuracy on each test."""
    torch.manual_seed(seed)
    layer = nn.LazyLinear(int(data.grades.max()) + 1)
    layer(encoder.embed(data.images[:2]))
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW([*encoder.parameters(), *layer.parameters()], RATE)
    for step in range(TUNED):
        for options in optimizer.param_groups:
            options["lr"] = RATE * (1 + np.cos(np.pi * step / TUNED)) / 2
        chosen = torch.randint(len(data.images), (16,), generator=generator)
        optimizer.zero_grad()
        answers = layer(encoder.embed(data.images[chosen]))
        functional.cross_entropy(answers, data.grades[chosen]).backward()
        optimizer.step()
    said = [describe(lambda x: layer(encoder.embed(x)), images).argmax(axis=1) for images in tests]
    return [round(float((each == data.truth.numpy()).mean()), 4) for each in said]
