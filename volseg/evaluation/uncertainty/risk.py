"""Whether the cases of which a network is least sure are those in which it is worst.

Risk and coverage (El-Yaniv and Wiener 2010, https://jmlr.org/papers/v11/el-yaniv10a.html): if the
least sure cases go to a person, how large is the mean error of those that stay?
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from volseg.evaluation.intervals import Interval

DRAWS = 2000


@dataclass(frozen=True)
class Risk:
    """How well an uncertainty sorts cases.

    Args:
        coverage: Share of the cases that stay, surest first.
        risk: Mean error of these.
        area: Mean of the risk over all coverages.
        random: What it is if cases are sorted by chance: their mean error.
        best: What it is if they are sorted by the error itself.
        gain: ``random - area``, with its interval: above 0 the uncertainty is of use.
        correlation: Rank correlation of uncertainty and error, with its interval.
    """

    coverage: NDArray[np.floating]
    risk: NDArray[np.floating]
    area: float
    random: float
    best: float
    gain: Interval
    correlation: Interval


def risk_and_coverage(
    uncertainty: Sequence[float], error: Sequence[float], groups: Sequence[str], seed: int = 0
) -> Risk:
    """Judge how an uncertainty sorts cases.

    Args:
        uncertainty: Of each case.
        error: Of each case, such as 1 - Dice.
        groups: Group of each case; the bootstrap draws groups.
        seed: Of the bootstrap.

    Returns:
        Curve, areas and intervals.
    """
    unsure, wrong = np.asarray(uncertainty, float), np.asarray(error, float)
    names, index = np.unique(list(groups), return_inverse=True)
    members = [np.flatnonzero(index == number) for number in range(len(names))]
    random = np.random.default_rng(seed)
    gains, correlations = [], []
    for _ in range(DRAWS if len(names) > 1 else 0):
        taken = random.integers(len(names), size=len(names))
        drawn = np.concatenate([members[number] for number in taken])
        gains.append(wrong[drawn].mean() - _area(unsure[drawn], wrong[drawn]))
        correlations.append(_correlation(unsure[drawn], wrong[drawn]))
    area = _area(unsure, wrong)
    interval = partial(_interval, cases=len(wrong))
    return Risk(
        np.arange(1, len(wrong) + 1) / len(wrong),
        _curve(unsure, wrong),
        area,
        float(wrong.mean()),
        _area(wrong, wrong),
        interval(float(wrong.mean()) - area, gains),
        interval(_correlation(unsure, wrong), correlations),
    )


def _curve(unsure: NDArray[np.floating], wrong: NDArray[np.floating]) -> NDArray[np.floating]:
    """Give the mean error of the surest 1, 2, ... cases; equals share their mean error."""
    _, place = np.unique(unsure, return_inverse=True)
    shared = np.bincount(place, weights=wrong) / np.bincount(place)
    ordered = shared[np.sort(place)]
    curve: NDArray[np.floating] = np.cumsum(ordered) / np.arange(1, len(ordered) + 1)
    return curve


def _area(unsure: NDArray[np.floating], wrong: NDArray[np.floating]) -> float:
    return float(_curve(unsure, wrong).mean())


def _correlation(unsure: NDArray[np.floating], wrong: NDArray[np.floating]) -> float:
    """Give Spearman's rank correlation; `nan` if one of the two does not vary."""
    one, other = rankdata(unsure), rankdata(wrong)
    one, other = one - one.mean(), other - other.mean()
    size = np.sqrt((one**2).sum() * (other**2).sum())
    return float((one * other).sum() / size) if size > 0 else float("nan")


def _interval(mean: float, drawn: Sequence[float], cases: int) -> Interval:
    finite = np.asarray(drawn)[np.isfinite(drawn)] if len(drawn) else np.array([])
    if not len(finite):
        return Interval(mean, float("nan"), float("nan"), cases)
    low, high = np.quantile(finite, [0.025, 0.975])
    return Interval(mean, float(low), float(high), cases)
