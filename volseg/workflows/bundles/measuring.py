"""What a network costs and gives: parameters, seconds for a patch, and Dice on cases."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isnan, nan
from pathlib import Path
from statistics import median
from time import process_time
from typing import Any

import numpy as np
import torch
from torch import nn

from volseg.bundle import Bundle
from volseg.data.cases import Case, find_cases
from volseg.data.channels import scanned
from volseg.data.label_names import require_same_names
from volseg.errors import DataError
from volseg.evaluation.intervals import Interval, mean_intervals
from volseg.evaluation.metrics import dice
from volseg.evaluation.report import ALL_CLASSES
from volseg.inference.predictor import Predictor
from volseg.networks.card import Card
from volseg.workflows.plain import plain
from volseg.workflows.robustness_cases import read_subject, segment
from volseg.workflows.splitting import fitting_split

TIMED = 5
"""Patches that are timed; the median counts, and one more comes before them."""


@dataclass(frozen=True)
class Measured:
    """What was measured of a network.

    Args:
        parameters: How many it has.
        seconds: Median CPU seconds for one patch; `nan` if the patch is not known.
        dice: Mean of each class, and of all classes, over the cases; empty if there were none.
    """

    parameters: int
    seconds: float
    dice: Mapping[str, Interval] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Give plain values, `None` for what has none."""
        scores = {name: each.to_json() for name, each in self.dice.items()}
        return {"parameters": self.parameters, "seconds": plain(self.seconds), "dice": scores}


def time_patch(network: nn.Module, card: Card) -> float:
    """Time a network on the CPU.

    Args:
        network: The network.
        card: Says its channels and its patch.

    Returns:
        Median CPU seconds for one patch, which other work on the machine changes little; `nan` if
        the card does not say how large one is.
    """
    if card.patch_size is None:
        return nan
    patch = torch.zeros(1, len(card.channels), *card.patch_size)
    seconds = []
    was_training = network.training
    network.eval()
    with torch.inference_mode():
        for _ in range(TIMED + 1):
            began = process_time()
            network(patch)
            seconds.append(process_time() - began)
    network.train(was_training)
    return median(seconds[1:])


def unseen_cases(bundle: Bundle, data: str | Path, most: int | None) -> list[Case]:
    """Take the labelled cases of a data set that a bundle's split has for validation.

    Args:
        bundle: The bundle.
        data: What `find_cases` takes, with labels.
        most: How many at most; `None`: all.

    Returns:
        The cases; all labelled ones if the bundle's split is of other data.

    Raises:
        DataError: If no case has a label, none is asked for, or the names of the data set's labels
            say that they are other classes.
    """
    if most is not None and most < 1:
        raise DataError(f"Dice is asked for on {most} cases; use 1 or more")
    classes = bundle.classes()
    same = {str(value): value for value in classes}
    require_same_names(data, same, [classes.get(value, "") for value in range(max(classes) + 1)])
    channels = scanned(bundle.raw_config("inference").get("channels", ()))
    cases = [case for case in find_cases(data, None, channels) if case.label is not None]
    if not cases:
        raise DataError(f"{data} holds no labelled case; Dice needs references")
    split = fitting_split(cases, bundle)
    if split is not None:
        cases = [case for case in cases if case.name in set(split["validation"])]
    return cases[:most]


def score_cases(bundle: Bundle, cases: Sequence[Case]) -> dict[str, Interval]:
    """Segment cases with a bundle's network, and score them.

    Args:
        bundle: The bundle, with weights.
        cases: Labelled cases.

    Returns:
        Mean Dice of each class over the cases with its interval over groups, and of all classes.
    """
    predictor = Predictor.from_bundle(bundle)
    names = {value: name for value, name in predictor.classes.items() if value}
    rows = []
    for case in cases:
        subject = read_subject(case, predictor.classes)
        found = segment(predictor, subject, subject.scans)
        masks = [
            (torch.from_numpy(found == value), torch.from_numpy(subject.reference == value))
            for value in names
        ]
        scores = [dice(*pair) for pair in masks]
        known = [score for score in scores if not isnan(score)]
        rows.append([*scores, float(np.mean(known)) if known else nan])
    groups = [case.group or case.name for case in cases]
    intervals = mean_intervals(np.array(rows), groups)
    return dict(zip([*names.values(), ALL_CLASSES], intervals, strict=True))
