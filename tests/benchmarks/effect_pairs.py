"""Two architectures that learn from each other: what a probe reads, and what a step costs.

CASS (Singh, Sizikova & Cirrone 2022, https://arxiv.org/abs/2206.04170) claims better features than
BYOL's at a fraction of the cost. Here a probe reads three grades of severity from frozen features,
with forty labels, of the encoder that two networks trained, with the decorrelated objective and
with the paper's; that contrast trained, and BYOL (Grill et al. 2020,
https://arxiv.org/abs/2006.07733); and of the untrained one, which must score below 0.6 for the
comparison to mean anything. Cost is counted in operations of a step, forward and backward: of both
networks together, against BYOL for each of them.
"""

import argparse
from collections.abc import Callable, Mapping
from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import default_collate
from torch.utils.flop_counter import FlopCounterMode

from tests.benchmarks.effect_severity import grade, probe_grade
from tests.benchmarks.effect_training import BATCH, ENCODERS, SIZE, pretrain
from tests.benchmarks.effect_verdicts import Claim
from volseg.networks.encoder import Encoder
from volseg.pretext.collapse import feature_spread
from volseg.pretext.contrastive import Contrastive
from volseg.pretext.cross_architecture import CrossArchitecture
from volseg.pretext.projection import Projector
from volseg.pretext.task import PretextResult, PretextTask
from volseg.pretext.teacher import Teacher, cosine_momentum
from volseg.pretext.views import RandomViews

GRADES = ((1, 2), (4, 5), (8, 10))
"""Fewest and most lesions of each grade."""

HARD = ("untrained", 0.6)
WIDTH = 64

CLAIMS = (
    Claim("two networks gain over none", "decorrelated", "untrained", hard=HARD),
    Claim("over contrast", "decorrelated", "contrastive", hard=HARD),
    Claim("over BYOL", "decorrelated", "byol", hard=HARD),
    Claim("the paper's objective gains over none", "cosine", "untrained", hard=HARD),
    Claim("the paper's objective loses spread", "untrained_spread", "cosine_spread"),
    Claim("the partner gains too", "decorrelated_partner", "untrained_partner"),
    Claim("a step costs less than 0.6 of BYOL's", "cost_limit", "cost"),
)


class OwnLatent(PretextTask):
    """BYOL: say of one view what a slow copy of oneself says of the other."""

    def __init__(self, encoder: Encoder, momentum: float = 0.97) -> None:
        super().__init__(encoder)
        head = Projector(2 * encoder.spec.channels[-1], WIDTH)
        self.student = nn.ModuleDict({"encoder": encoder, "head": head})
        self.teacher = Teacher(self.student)
        self.guess = Projector(WIDTH, WIDTH)
        self.momentum = momentum

    def views(self, patch_size: tuple) -> RandomViews:
        """Crop twice, and change each crop's intensities."""
        return RandomViews(patch_size, "pair", (), is_augmented=True)

    def forward(self, batch: Mapping[str, Tensor], *, panels: bool = False) -> PretextResult:
        """Compare each view's guess with the teacher's answer to the other."""
        images = batch["image"].unbind(dim=1)
        guesses = [self.guess(describe(self.student, image)) for image in images]
        with torch.no_grad():
            answers = [describe(self.teacher.network, image) for image in images]
        pairs = zip(guesses, reversed(answers), strict=True)
        cosines = [functional.cosine_similarity(*pair).mean() for pair in pairs]
        return PretextResult(2 - 2 * torch.stack(cosines).mean())

    def after_step(self, step: int, total: int) -> None:
        """Let the teacher follow."""
        self.teacher.follow(self.student, cosine_momentum(self.momentum, step / total))


def describe(networks: nn.Module, image: Tensor) -> Tensor:
    """Project the image vectors of volumes."""
    encoder, head = (networks.get_submodule(name) for name in ("encoder", "head"))
    return head(encoder.embed(image))


def cross(objective: str, other: str) -> Callable[[Encoder], PretextTask]:
    """Make the task of two networks."""
    return lambda encoder: CrossArchitecture(encoder, ENCODERS[other](), objective, WIDTH)


def compare_pairs(
    kind: str, seed: int, data: tuple[Tensor, Tensor], options: argparse.Namespace
) -> dict:
    """Probe each arm's encoder, and count what a step costs."""
    graded = grade(data[0], seed, GRADES)
    other = "vit" if kind == "cnn" else "cnn"
    arms: dict[str, Callable[[Encoder], PretextTask]] = {
        "contrastive": Contrastive,
        "byol": OwnLatent,
        "decorrelated": cross("decorrelated", other),
        "cosine": cross("cosine", other),
    }
    torch.manual_seed(seed)
    start = ENCODERS[kind]()
    figures = probe("untrained", start, graded)
    for name, build in arms.items():
        torch.manual_seed(seed)
        task = build(deepcopy(start))
        if name == "decorrelated":
            figures |= probe("untrained_partner", task.partner, graded)
        pretrain(task, graded.unlabelled, seed, options.pretraining_steps, SIZE)
        figures |= probe(name, task.encoder, graded)
        if name == "decorrelated":
            figures |= probe("decorrelated_partner", task.partner, graded)
    single = sum(count_operations(OwnLatent(ENCODERS[each]()), data[0]) for each in (kind, other))
    both = count_operations(arms["decorrelated"](ENCODERS[kind]()), data[0])
    return {**figures, "cost": round(both / single, 3), "cost_limit": 0.6}


def probe(name: str, encoder: Encoder, graded) -> dict:
    """Give the accuracy of a probe and the spread of the image vectors."""
    encoder.eval()
    (accuracy,) = probe_grade(encoder.embed, graded, graded.tested)
    with torch.no_grad():
        spread = feature_spread(encoder.embed(graded.tested)).item()
    return {name: accuracy, f"{name}_spread": round(spread, 4)}


def count_operations(task: PretextTask, images: Tensor) -> int:
    """Count the operations of a step, forward and backward."""
    view = task.views(SIZE)
    view.set_random_state(0)
    batch = default_collate([view({"image": image}) for image in images[:BATCH]])
    with FlopCounterMode(display=False) as counter:
        task(batch).loss.backward()
    return counter.get_total_flops()
