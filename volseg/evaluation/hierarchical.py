"""Means over runs and cases, and how they compare: the hierarchical bootstrap, with Holm's step.

A difference between two ways of training is no finding if another seed would have turned it round,
so that runs are drawn again as well as cases (Efron and Tibshirani 1993, chapter 8); the cases of
one patient are drawn together, and both arms see the same ones. With one run an arm there is
nothing to draw of the runs, and the interval holds for these two networks only.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan, nan

import numpy as np
from numpy.typing import NDArray

from volseg.errors import DataError
from volseg.evaluation.intervals import CHUNK, RESAMPLES, Interval

Values = NDArray[np.floating]
"""One number a run, case and quantity, ``(R, C, Q)``; `nan` is left out."""


@dataclass(frozen=True)
class Comparison:
    """A difference between two arms.

    Args:
        difference: Mean of the first minus that of the second; `nan` if one has none.
        low: Lower end of its interval.
        high: Upper end.
        p: Two-sided, from the draws on the other side of zero.
        p_holm: Adjusted for all quantities that were compared together (Holm 1979).
    """

    difference: float
    low: float
    high: float
    p: float
    p_holm: float

    @property
    def is_clear(self) -> bool:
        """Whether the adjusted p is below 0.05."""
        return self.p_holm < 0.05


def run_intervals(
    values: Values, groups: Sequence[str], *, level: float = 0.95, seed: int = 0
) -> list[Interval]:
    """Give the mean of each quantity over runs and cases, and its interval.

    Args:
        values: Of one arm.
        groups: Group of each case, for instance the patient.
        level: Fraction of the draws that the interval holds.
        seed: Of the draws.

    Returns:
        Mean, both ends and the number of cases of each quantity; no ends where fewer than two
        groups have a value.
    """
    means = _pooled(values)
    drawn = _draw(values, groups, np.random.default_rng(seed), np.random.default_rng([seed, 1]))
    intervals = []
    for column, mean in enumerate(means.tolist()):
        has_value = np.asarray(~np.isnan(values[:, :, column]).all(axis=0))
        names = {name for name, has in zip(groups, has_value, strict=True) if has}
        low, high = _ends(drawn[:, column], level) if len(names) > 1 else (nan, nan)
        intervals.append(Interval(mean, low, high, int(has_value.sum())))
    return intervals


def compare_runs(
    first: Values, second: Values, groups: Sequence[str], *, level: float = 0.95, seed: int = 0
) -> list[Comparison]:
    """Compare two arms quantity by quantity.

    Args:
        first: Of one arm.
        second: Of the other, on the same cases; the number of runs may differ.
        groups: Group of each case.
        level: Fraction of the draws that the interval holds.
        seed: Of the draws.

    Returns:
        The differences, adjusted for each other.

    Raises:
        DataError: If the arms have other cases or quantities.
    """
    if first.shape[1:] != second.shape[1:]:
        raise DataError(
            f"arms hold {first.shape[1:]} and {second.shape[1:]} cases and quantities; measure both"
            " on the same"
        )
    drawn = [
        _draw(values, groups, np.random.default_rng(seed), np.random.default_rng([seed, 1, arm]))
        for arm, values in enumerate((first, second))
    ]
    gaps = drawn[0] - drawn[1]
    means = _pooled(first) - _pooled(second)
    is_enough = len(set(groups)) > 1
    found = []
    for column, mean in enumerate(means.tolist()):
        finite = gaps[np.isfinite(gaps[:, column]), column]
        if isnan(mean) or not len(finite) or not is_enough:
            found.append((mean, nan, nan, nan))
            continue
        tail = min((finite <= 0).sum(), (finite >= 0).sum())
        found.append((mean, *_ends(finite, level), min(1.0, 2 * (tail + 1) / (len(finite) + 1))))
    adjusted = holm([each[3] for each in found])
    return [Comparison(*each, p_holm=p) for each, p in zip(found, adjusted, strict=True)]


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values for their number by Holm's step-down (1979).

    Args:
        p_values: Any number of them; `nan` stays and does not count.

    Returns:
        The adjusted ones, in the same order.

    Examples:
        >>> [round(p, 3) for p in holm([0.01, 0.04, 0.03])]
        [0.03, 0.06, 0.06]
    """
    adjusted = [nan] * len(p_values)
    known = sorted((p, place) for place, p in enumerate(p_values) if not isnan(p))
    worst = 0.0
    for rank, (p, place) in enumerate(known):
        worst = max(worst, min(1.0, (len(known) - rank) * p))
        adjusted[place] = worst
    return adjusted


def _pooled(values: Values) -> Values:
    has_value = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        pooled: Values = np.where(has_value, values, 0).sum(axis=(0, 1)) / has_value.sum(
            axis=(0, 1)
        )
    return pooled


def _draw(
    values: Values,
    groups: Sequence[str],
    of_groups: np.random.Generator,
    of_runs: np.random.Generator,
) -> Values:
    """Give the means of redrawn runs and groups, ``(RESAMPLES, Q)``."""
    runs = len(values)
    if len(groups) != values.shape[1]:
        raise DataError(f"{len(groups)} groups for {values.shape[1]} cases; give one a case")
    _, group = np.unique(list(groups), return_inverse=True)
    membership = np.eye(group.max() + 1)[group]
    has_value = ~np.isnan(values)
    sums = np.einsum("rcq,cg->rgq", np.where(has_value, values, 0), membership)
    counts = np.einsum("rcq,cg->rgq", has_value.astype(float), membership)
    size = sums.shape[1]
    parts = []
    for _ in range(RESAMPLES // CHUNK):
        times = of_groups.multinomial(size, np.full(size, 1 / size), size=CHUNK).astype(float)
        often = of_runs.multinomial(runs, np.full(runs, 1 / runs), size=CHUNK).astype(float)
        total, number = (
            np.einsum("br,bg,rgq->bq", often, times, each, optimize=True) for each in (sums, counts)
        )
        with np.errstate(invalid="ignore"):
            parts.append(total / number)
    return np.concatenate(parts)


def _ends(drawn: Values, level: float) -> tuple[float, float]:
    finite = drawn[np.isfinite(drawn)]
    if not len(finite):
        return nan, nan
    low, high = np.quantile(finite, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
