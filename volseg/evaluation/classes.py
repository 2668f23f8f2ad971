"""Score predicted classes or grades: accuracy, ROC and kappa, with intervals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_curve

from volseg.errors import DataError
from volseg.evaluation.intervals import Interval
from volseg.evaluation.probing.resampling import DRAWS, group_draws, interval_of, scores_of_draws
from volseg.evaluation.probing.scores import (
    area_under_curve,
    balanced_accuracy,
    quadratic_kappa,
)

FALSE_ALARMS = tuple(number / 10 for number in range(11))
"""Shares of the other classes taken for a class at which sensitivity is given."""


@dataclass(frozen=True)
class ClassReport:
    """What was found.

    Args:
        classes: The classes, in order.
        scores: Each score with its 95 % interval over groups.
        confusion: Rows are true, columns predicted.
        missed: Cases without a prediction: they count as wrong.
        unmatched: Predictions without a label: they count nowhere.
        curves: Sensitivity of each class against all others at `FALSE_ALARMS`; a class that does
            not occur, or alone, has none.
    """

    classes: Sequence[str]
    scores: Mapping[str, Interval]
    confusion: NDArray[np.int64]
    missed: Sequence[str] = ()
    unmatched: Sequence[str] = ()
    curves: Mapping[str, Sequence[float]] = field(default_factory=dict)

    @property
    def is_complete(self) -> bool:
        """Whether every case had a prediction."""
        return not self.missed

    def table(self) -> str:
        """Lay everything out as text."""
        cases = int(self.confusion.sum())
        lines = [f"{name}: {score.text()}" for name, score in self.scores.items()]
        width = max(len(name) for name in [*self.classes, "true"])
        heads = " ".join(name.rjust(width) for name in ["true", *self.classes])
        lines += [f"{cases} cases; rows are true, columns predicted", heads]
        for name, row in zip(self.classes, self.confusion.tolist(), strict=True):
            lines.append(" ".join(str(cell).rjust(width) for cell in [name, *row]))
        lines += [f"missed: {name}: no prediction" for name in self.missed]
        lines += [f"no label for {name}: left out" for name in self.unmatched]
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """Give everything as plain values."""
        return {
            "classes": list(self.classes),
            "scores": {name: score.to_json() for name, score in self.scores.items()},
            "confusion": self.confusion.tolist(),
            "missed": list(self.missed),
            "unmatched": list(self.unmatched),
            "roc": {
                "false_positive_rate": list(FALSE_ALARMS),
                "sensitivity": {name: list(curve) for name, curve in self.curves.items()},
            },
        }


def evaluate_classes(
    chances: Mapping[str, Sequence[float]],
    labels: Mapping[str, str],
    classes: Sequence[str],
    groups: Mapping[str, str] | None = None,
    seed: int = 0,
) -> ClassReport:
    """Score predictions.

    A case that was not predicted counts as the worst: all of the probability on the class that is
    farthest from the true one.

    Args:
        chances: Probability of each class by case.
        labels: True class by case.
        classes: Name of each class; kappa is given where all are numbers, and takes their order.
        groups: Group of each case; the bootstrap draws groups.
        seed: Of the bootstrap.

    Returns:
        The scores.

    Raises:
        DataError: If a label is no class, or no case is predicted.
    """
    if stray := [name for name, label in labels.items() if label not in classes]:
        raise DataError(
            f"{stray[0]} has the label {labels[stray[0]]!r}; the classes are {', '.join(classes)}"
        )
    missed = [name for name in labels if name not in chances]
    if len(missed) == len(labels):
        raise DataError(f"no prediction is of a case with a label, such as {missed[0]!r}")
    names = list(labels)
    truth = np.array([list(classes).index(labels[name]) for name in names])
    count = len(classes)
    places = dict(zip(names, truth.tolist(), strict=True))
    table = np.array([chances.get(name, _worst(places[name], count)) for name in names])
    kinds: dict[str, Any] = {"balanced accuracy": balanced_accuracy, "AUC": area_under_curve}
    if all(_is_number(name) for name in classes):
        kinds["quadratic kappa"] = quadratic_kappa
    owners = [(groups or {}).get(name) or name for name in names]
    draws = group_draws(owners, DRAWS, seed)
    scores = {
        kind: interval_of(*scores_of_draws(partial(score, truth), table[None], draws), len(names))
        for kind, score in kinds.items()
    }
    confusion = np.zeros((len(classes),) * 2, np.int64)
    np.add.at(confusion, (truth, table.argmax(1)), 1)
    unmatched = [name for name in chances if name not in labels]
    curves = _curves(truth, table, classes)
    return ClassReport(classes, scores, confusion, missed, unmatched, curves)


def _curves(
    truth: NDArray[np.int64], table: NDArray[np.floating], classes: Sequence[str]
) -> dict[str, list[float]]:
    """Read each class's ROC where there are so many false alarms."""
    curves = {}
    for number, name in enumerate(classes):
        is_class = truth == number
        if is_class.any() and not is_class.all():
            alarms, found, _ = roc_curve(is_class, table[:, number])
            curves[name] = np.interp(FALSE_ALARMS, alarms, found).tolist()
    return curves


def _worst(place: int, count: int) -> list[float]:
    farthest = 0 if place >= count / 2 else count - 1
    return [float(number == farthest) for number in range(count)]


def _is_number(name: str) -> bool:
    try:
        float(name)
    except ValueError:
        return False
    return True
