"""Bar charts: heights from 0 up, and how often values occur."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import isfinite, nan
from typing import Any

import numpy as np

from volseg.workflows.charts import Panel, Point

BINS = 10
"""Of a histogram."""

ROUND = (4, 8, 12, 16, 20, 28, 40)
"""Ends of an axis whose quarters are read easily."""


@dataclass(frozen=True)
class Histogram:
    """How many values lie between edges.

    Args:
        edges: The edges, ascending.
        counts: How many values lie between each two of them.
    """

    edges: tuple[float, ...]
    counts: tuple[int, ...]

    @classmethod
    def of(cls, values: Sequence[float], limits: tuple[float, float] | None = None) -> "Histogram":
        """Count values in ten bins of equal width.

        Args:
            values: The values; what is not finite is not counted.
            limits: Lower and upper end; `None`: the least and the greatest value.

        Returns:
            The counts.

        Examples:
            >>> Histogram.of([0.05, 0.95, 1.0], (0, 1)).counts
            (1, 0, 0, 0, 0, 0, 0, 0, 0, 2)
        """
        known = [value for value in values if isfinite(value)]
        low, high = limits or (min(known, default=0.0), max(known, default=0.0))
        if high - low <= 1e-9 * max(1.0, abs(low)):  # as good as one value
            low, high = low - 0.5, high + 0.5
        counts, edges = np.histogram(known, bins=BINS, range=(low, high))
        return cls(tuple(edges.tolist()), tuple(counts.tolist()))

    def to_json(self) -> dict[str, Any]:
        """Give plain values."""
        return {"edges": list(self.edges), "counts": list(self.counts)}

    def panel(self, title: str, axis: str) -> Panel:
        """Draw it.

        Args:
            title: Heading.
            axis: What the values are.

        Returns:
            Bars; each is named by the middle of its bin.
        """
        middles = [(a + b) / 2 for a, b in pairwise(self.edges)]
        return bars(title, axis, [f"{each:.3g}" for each in middles], self.counts)


def bars(title: str, axis: str, ticks: Sequence[str], heights: Sequence[float]) -> Panel:
    """Draw heights from 0 up.

    Args:
        title: Heading.
        axis: What the places are.
        ticks: Name of each place.
        heights: Its value.

    Returns:
        The panel; its upper end is a round number, and 4 or more where all are whole.
    """
    points = [Point(height, nan, nan) for height in heights]
    top = max(heights, default=0)
    limits = (0.0, above(max(top, 4) if isinstance(top, int) else top))
    return Panel(title, axis, ticks, [points], limits, is_joined=False, is_bars=True)


def above(value: float) -> float:
    """Choose the upper end of an axis.

    Args:
        value: The greatest value.

    Returns:
        The least of 4, 8, 12, 16, 20, 28 and 40 times a power of ten that is not below it, so that
        its quarters have few digits; 1 if there is nothing.

    Examples:
        >>> above(3), above(17), above(200), above(0)
        (4.0, 20.0, 200.0, 1.0)
    """
    if not value > 0:
        return 1.0
    power = 10.0 ** np.floor(np.log10(value / 4))
    return float(next(step * power for step in ROUND if step * power >= value * (1 - 1e-9)))
