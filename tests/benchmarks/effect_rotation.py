"""What the split of rotation features is for: severity that is read from turned volumes, too.

Song et al. 2022 (https://doi.org/10.3390/diagnostics12081805) pretrain so for COVID-19.
The half of the features that ignores rotation should tell how severe a turned volume is as well as
an upright one; the half that knows the rotation should not. Both, and networks that are fine-tuned,
learn from forty upright volumes.
"""

import argparse
from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.benchmarks.effect_severity import grade, probe_grade, tune_grade, turn
from tests.benchmarks.effect_training import CUBE, ENCODERS, TESTED, decoder_of, pretrain
from tests.benchmarks.effect_verdicts import Claim
from volseg.pretext.autoencoder import Autoencoder
from volseg.pretext.collapse import cosine_of_copies, share_within
from volseg.pretext.rotation import RotationDecoupling, turn_copies

MILD_AND_SEVERE = ((1, 2), (6, 8))
"""Fewest and most lesions of each grade."""

SPLIT = (
    Claim("the first half knows the rotation better", "trained_half_a", "trained_half_b", 0.15),
    Claim("the second ignores it", "trained_cosine_b", "trained_cosine_a"),
)

SEVERITY = (
    Claim(
        "severity of turned volumes is read better from the second half",
        "half_b_turned",
        "half_a_turned",
        0.1,
    ),
    Claim(
        "it is read better from the second half than untrained", "half_b_turned", "untrained_turned"
    ),
    Claim("fine-tuning gains over scratch", "tuned_rotation", "tuned_scratch"),
    Claim("fine-tuning gains over another pretraining", "tuned_rotation", "tuned_autoencoder"),
)

TESTS = ("upright", "turned")


def cubes_of(data: tuple[Tensor, Tensor]) -> Tensor:
    """Cut the middle cube out of every volume."""
    return data[0][..., 4:20, :]


def read_severity(
    kind: str, seed: int, data: tuple[Tensor, Tensor], options: argparse.Namespace
) -> dict:
    """Read the severity of upright and turned volumes, by probes and by fine-tuned networks."""
    graded = grade(cubes_of(data), seed, MILD_AND_SEVERE)
    tests = (graded.tested, turn(graded.tested, seed))
    torch.manual_seed(seed)
    task = RotationDecoupling(ENCODERS[kind]())
    control = Autoencoder(deepcopy(task.encoder), decoder_of(task.encoder))
    tuned = {"scratch": deepcopy(task.encoder)}
    figures = dict(zip(TESTS, probe_grade(task.encoder.embed, graded, *tests), strict=True))
    figures = {f"untrained_{name}": value for name, value in figures.items()}
    for each in (task, control):
        pretrain(each, graded.unlabelled, seed, options.pretraining_steps, CUBE)
        each.eval()
    halves = {"a": slice(None, task.split), "b": slice(task.split, None)}
    for half, part in halves.items():
        found = probe_grade(
            lambda x, part=part: task.features(task.encoder.embed(x))[:, part], graded, *tests
        )
        figures |= {f"half_{half}_{n}": v for n, v in zip(TESTS, found, strict=True)}
    tuned |= {"rotation": task.encoder, "autoencoder": control.encoder}
    for name, encoder in tuned.items():
        upright, turned = tune_grade(encoder, graded, seed, *tests)
        figures |= {f"tuned_{name}": upright, f"tuned_{name}_turned": turned}
    return figures


def split_rotation(
    kind: str, seed: int, data: tuple[Tensor, Tensor], options: argparse.Namespace
) -> dict:
    """Read the rotation from either half of the features, and see how much it moves the half.

    A linear probe of standardised features finds any trace of the rotation, however small; how
    alike the copies of a volume are, and their share of the variance, tell how large it is.
    """
    images = cubes_of(data)
    torch.manual_seed(seed)
    figures = {}
    task = RotationDecoupling(ENCODERS[kind]())
    for stage in ("untrained", "trained"):
        if stage == "trained":
            pretrain(task, data[0][:-TESTED], seed, options.pretraining_steps, CUBE)
        numbers = torch.arange(10).expand(len(images), 10)
        with torch.no_grad():
            copies = turn_copies(images, numbers, task.turns).flatten(0, 1)
            rows = task.features(task.encoder.embed(copies)).view(len(images), 10, -1)
        for half, part in (("a", rows[..., : task.split]), ("b", rows[..., task.split :])):
            figures[f"{stage}_half_{half}"] = probe(part, numbers, seed)
            alike, share = cosine_of_copies(part[-TESTED:]), share_within(part[-TESTED:])
            figures[f"{stage}_cosine_{half}"] = round(alike.item(), 3)
            figures[f"{stage}_share_{half}"] = round(share.item(), 3)
    return figures


def probe(rows: Tensor, numbers: Tensor, seed: int) -> float:
    """Train a linear classifier on the training cases and score it on the others."""
    torch.manual_seed(seed)
    rows = (rows - rows[:-TESTED].mean((0, 1))) / (rows[:-TESTED].std((0, 1)) + 1e-6)
    layer = nn.Linear(rows.shape[-1], 10)
    optimizer = torch.optim.AdamW(layer.parameters(), 1e-2, weight_decay=1e-2)
    for _ in range(200):
        optimizer.zero_grad()
        answers = layer(rows[:-TESTED]).flatten(0, 1)
        functional.cross_entropy(answers, numbers[:-TESTED].flatten()).backward()
        optimizer.step()
    right = layer(rows[-TESTED:]).argmax(-1) == numbers[-TESTED:]
    return round(right.float().mean().item(), 3)
