"""How far a mean over cases would move with other cases: the percentile bootstrap.

Cases are drawn again with replacement (Efron 1979, https://doi.org/10.1214/aos/1176344552). Cases
of one patient are not independent, so whole groups are drawn; the mean is over the cases of the
drawn groups.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite, nan

import numpy as np
from numpy.typing import NDArray

from volseg.errors import DataError

RESAMPLES = 10_000
"""Draws of one interval: its ends are then known to about 1 % of its width."""

CHUNK = 1000
"""Draws held in memory at once."""


@dataclass(frozen=True)
class Interval:
    """A mean and the range in which it would lie for most other draws of the cases.

    Args:
        mean: Mean over the cases; `nan` if there are none.
        low: Lower end; `nan` below two groups, which say nothing about the spread.
        high: Upper end, likewise.
        cases: Cases that have a value.
    """

    mean: float
    low: float
    high: float
    cases: int

    def to_json(self) -> dict[str, float | int | None]:
        """Give the fields; `None` for what is not a number, which JSON lacks."""
        return {key: value if isfinite(value) else None for key, value in vars(self).items()}

    def text(self, digits: int = 3, *, signed: bool = False) -> str:
        """Write it as ``mean [low, high]``.

        Args:
            digits: After the point.
            signed: Whether to write a plus.

        Returns:
            The text; without ends where there are none, ``-`` where there is no mean.

        Examples:
            >>> Interval(0.5, 0.25, 0.75, 9).text(2, signed=True)
            '+0.50 [+0.25, +0.75]'
        """
        sign = "+" if signed else ""
        mean, low, high = (f"{x:{sign}.{digits}f}" for x in (self.mean, self.low, self.high))
        if not isfinite(self.mean):
            return "-"
        return mean if not isfinite(self.low) else f"{mean} [{low}, {high}]"


def mean_intervals(
    values: NDArray[np.floating],
    groups: Sequence[str] | None = None,
    *,
    level: float = 0.95,
    seed: int = 0,
) -> list[Interval]:
    """Give the mean of each column over the cases, and its bootstrap interval.

    Every column sees the same draws. A draw in which no case has a value for a column is left out
    of that column's interval.

    Args:
        values: One row a case, one column a quantity; `nan` is left out.
        groups: Group of each case, for instance the patient; by default each is its own.
        level: Fraction of the draws that the interval holds.
        seed: Of the draws.

    Returns:
        Mean, both ends and the number of cases of each column.

    Raises:
        DataError: If there is not one group a case.

    Examples:
        >>> interval, = mean_intervals(np.array([[0.75], [1.0], [np.nan]]))
        >>> interval.mean, interval.cases
        (0.875, 2)
    """
    names = list(range(len(values))) if groups is None else list(groups)
    if len(names) != len(values):
        raise DataError(f"{len(names)} groups for {len(values)} cases; give one a case")
    if not names:
        return [Interval(nan, nan, nan, 0) for _ in range(values.shape[1])]
    has_value = ~np.isnan(values)
    _, group = np.unique(names, return_inverse=True)
    membership = np.eye(group.max() + 1)[group].T
    sums, counts = membership @ np.where(has_value, values, 0), membership @ has_value
    means = _draw_means(sums, counts, seed)
    intervals = []
    for column in range(values.shape[1]):
        cases = int(counts[:, column].sum())
        mean = float(sums[:, column].sum() / cases) if cases else nan
        low = high = nan
        if (counts[:, column] > 0).sum() >= 2:
            drawn = means[np.isfinite(means[:, column]), column]
            low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
        intervals.append(Interval(mean, float(low), float(high), cases))
    return intervals


def _draw_means(
    sums: NDArray[np.floating], counts: NDArray[np.floating], seed: int
) -> NDArray[np.floating]:
    """Give the means of resampled groups, ``(RESAMPLES, columns)``; `nan` where nothing was drawn.

    How often each group is drawn is multinomial, so a draw is two matrix products.
    """
    random = np.random.default_rng(seed)
    shares = np.full(len(sums), 1 / len(sums))
    parts = []
    for _ in range(RESAMPLES // CHUNK):
        times = random.multinomial(len(sums), shares, size=CHUNK).astype(float)
        with np.errstate(invalid="ignore"):
            parts.append((times @ sums) / (times @ counts))
    return np.concatenate(parts)
