"""Scores against the number of labelled cases, with intervals over runs and patients.

A run that went badly moves all its cases, so that an interval over cases alone is far too narrow:
runs are drawn first, then groups of cases within them (the hierarchical bootstrap). Two arms are
compared run by run of the same seed, case by case.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, nan
from typing import Any

import numpy as np
from numpy.typing import NDArray

from volseg.evaluation.intervals import Interval

DRAWS = 4000


@dataclass(frozen=True)
class Run:
    """A training that was scored.

    Args:
        arm: What it started from.
        cases: Labelled cases.
        seed: Its seed.
        dice: Dice of each class by validation case; `nan` where there is none.
        steps: Steps in all.
        seconds: Time of the training.
    """

    arm: str
    cases: int
    seed: int
    dice: Mapping[str, Sequence[float]]
    steps: int = 0
    seconds: float = 0.0

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> "Run":
        """Read a run.

        Args:
            record: What `to_json` gave, or a line of the log.

        Returns:
            The run.
        """
        dice = {
            case: [nan if value is None else float(value) for value in values]
            for case, values in record["dice"].items()
        }
        facts = {key: record[key] for key in ("arm", "cases", "seed", "steps", "seconds")}
        return cls(dice=dice, **facts)

    def to_json(self) -> dict[str, Any]:
        """Give everything as plain values."""
        dice = {
            case: [value if isfinite(value) else None for value in values]
            for case, values in self.dice.items()
        }
        return {**vars(self), "dice": dice}

    @property
    def has_zero_class(self) -> bool:
        """Whether a class was found in no case at all."""
        means = np.nanmean(np.array(list(self.dice.values())), axis=0)
        return bool((means == 0).any())

    def means(self) -> dict[str, float]:
        """Give the mean over classes of each case."""
        return {case: _mean(values) for case, values in self.dice.items()}


@dataclass(frozen=True)
class Point:
    """An arm at a number of labelled cases.

    Args:
        arm: The arm.
        cases: Labelled cases.
        dice: Mean over runs, cases and classes, and its interval.
        spread: Standard deviation of the runs' means; `nan` of a single run.
        runs: How many.
        zero_runs: How many found a class in no case.
    """

    arm: str
    cases: int
    dice: Interval
    spread: float
    runs: int
    zero_runs: int

    def to_json(self) -> dict[str, Any]:
        """Give everything as plain values."""
        spread = self.spread if isfinite(self.spread) else None
        return {**vars(self), "dice": self.dice.to_json(), "spread": spread}

    def __str__(self) -> str:
        """Give mean and interval."""
        return self.dice.text(4)


@dataclass(frozen=True)
class Comparison:
    """One arm minus another at a number of labelled cases.

    Args:
        cases: Labelled cases.
        difference: Of the mean Dice, and its interval.
        seeds: Seeds that both have.
        other: The arm that is subtracted.
    """

    cases: int
    difference: Interval
    seeds: int
    other: str

    def to_json(self) -> dict[str, Any]:
        """Give everything as plain values."""
        return {**vars(self), "difference": self.difference.to_json()}

    def __str__(self) -> str:
        """Give difference and interval."""
        return self.difference.text(4, signed=True)


def summarise_runs(runs: Sequence[Run], groups: Mapping[str, str]) -> list[Point]:
    """Sum up each arm at each number of cases.

    Args:
        runs: All runs.
        groups: Group of each validation case.

    Returns:
        The points, by arm and number.
    """
    points = []
    for arm in dict.fromkeys(run.arm for run in runs):
        for cases in sorted({run.cases for run in runs if run.arm == arm}):
            here = [run for run in runs if (run.arm, run.cases) == (arm, cases)]
            tables = [run.means() for run in here]
            means = [_mean(list(table.values())) for table in tables]
            spread = float(np.std(means, ddof=1)) if len(means) > 1 else nan
            zeros = sum(run.has_zero_class for run in here)
            points.append(Point(arm, cases, _bootstrap(tables, groups), spread, len(here), zeros))
    return points


def compare_arms(
    runs: Sequence[Run], groups: Mapping[str, str], one: str, other: str
) -> list[Comparison]:
    """Subtract one arm from another, seed by seed and case by case.

    Args:
        runs: All runs.
        groups: Group of each validation case.
        one: The arm that ought to be better.
        other: The arm that is subtracted.

    Returns:
        The difference at each number of cases where both have a seed.
    """
    found = []
    by_key = {(run.arm, run.cases, run.seed): run.means() for run in runs}
    for cases in sorted({run.cases for run in runs}):
        seeds = [seed for arm, number, seed in by_key if (arm, number) == (one, cases)]
        seeds = [seed for seed in seeds if (other, cases, seed) in by_key]
        tables = []
        for seed in seeds:
            first, second = by_key[one, cases, seed], by_key[other, cases, seed]
            tables.append({case: first[case] - second[case] for case in first if case in second})
        if tables:
            found.append(Comparison(cases, _bootstrap(tables, groups), len(seeds), other))
    return found


def _bootstrap(
    tables: Sequence[Mapping[str, float]], groups: Mapping[str, str], seed: int = 0
) -> Interval:
    """Draw runs, then groups of cases; the interval of one run is that over groups alone."""
    cases = list(tables[0])
    values = np.array([[table.get(case, nan) for case in cases] for table in tables])
    mean = _mean(values)
    owners = [groups.get(case, case) for case in cases]
    names, index = np.unique(owners, return_inverse=True)
    if len(names) < 2:
        return Interval(mean, nan, nan, len(cases))
    random = np.random.default_rng(seed)
    membership = np.eye(len(names))[index]
    known = np.isfinite(values)
    sums, counts = np.where(known, values, 0) @ membership, known @ membership
    drawn = np.full(DRAWS, nan)
    for number in range(DRAWS):
        total, count = 0.0, 0.0
        for run in random.integers(len(tables), size=len(tables)):
            taken = random.integers(len(names), size=len(names))
            total, count = total + sums[run, taken].sum(), count + counts[run, taken].sum()
        drawn[number] = total / count if count else nan
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    return Interval(mean, float(low), float(high), len(cases))


def _mean(values: Sequence[float] | NDArray[np.floating]) -> float:
    finite = np.asarray(values)[np.isfinite(values)]
    return float(finite.mean()) if finite.size else nan
