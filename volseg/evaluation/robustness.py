"""What changes of the acquisition do to segmentations: drops, their spread, and two arms compared.

The protocol follows Jiang, Rangnekar and Veeraraghavan 2024 (https://arxiv.org/abs/2405.08657),
who stratify by kernel, thickness and contrast; here each case is also its own control. An *arm* is
one way of making a network, its *runs* are networks made so with other seeds. The *drop* of a case
is its score unchanged minus its score under the shift, both on the voxels that both scans show.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan, nan
from typing import Any

import numpy as np
from numpy.typing import NDArray

from volseg.evaluation.hierarchical import Comparison, compare_runs, run_intervals
from volseg.evaluation.intervals import Interval
from volseg.evaluation.repeatability import (
    Agreement,
    limits_of_agreement,
    within_subject_variation,
)

FAILED = 0.1
"""A case of which less Dice is left was not found."""


@dataclass(frozen=True)
class Condition:
    """A shift at one strength.

    Args:
        shift: Name of the shift; empty for the unchanged scan.
        strength: How strong.
    """

    shift: str = ""
    strength: float = 0.0


UNCHANGED = Condition()


@dataclass(frozen=True)
class Measure:
    """What one network says of one class in one scan, and what it said of it unchanged.

    Args:
        dice: Dice overlap; `nan` where neither map has the class.
        surface_dice: Surface Dice.
        volume_ml: Volume of the segmentation on the voxels that both scans show.
        dice_before: Dice of the unchanged scan on the same voxels.
        surface_dice_before: Surface Dice, likewise.
        volume_ml_before: Volume, likewise.
    """

    dice: float
    surface_dice: float
    volume_ml: float
    dice_before: float
    surface_dice_before: float
    volume_ml_before: float


@dataclass(frozen=True)
class Outcome:
    """What one run says of one case under one condition.

    Args:
        arm: Number of the arm.
        run: Number of the run within it.
        case: Name of the case.
        condition: The condition.
        measures: What it says of each class, by name.
    """

    arm: int
    run: int
    case: str
    condition: Condition
    measures: dict[str, Measure]

    def mean(self, name: str) -> float:
        """Give the mean of a measure over the classes that have it."""
        values = [getattr(each, name) for each in self.measures.values()]
        known = [value for value in values if not isnan(value)]
        return float(np.mean(known)) if known else nan

    @property
    def drop(self) -> float:
        """Give the mean loss of Dice over the classes."""
        return self.mean("dice_before") - self.mean("dice")


@dataclass(frozen=True)
class Effect:
    """What one condition does to one arm.

    Args:
        arm: Number of the arm.
        condition: The condition.
        dice: Mean Dice over classes, runs and cases.
        surface_dice: Surface Dice, likewise.
        drop: Loss of Dice.
        surface_drop: Loss of surface Dice.
        quartiles: Of the cases' Dice: 0, 25, 50, 75 and 100 %.
        failures: Share of the cases of which less than `FAILED` Dice is left.
        volumes: Agreement of the volume with that of the unchanged scan, in mL, by class.
    """

    arm: int
    condition: Condition
    dice: Interval
    surface_dice: Interval
    drop: Interval
    surface_drop: Interval
    quartiles: tuple[float, ...]
    failures: float
    volumes: dict[str, Agreement]


@dataclass(frozen=True)
class ShiftResult:
    """What a shift does, over all its strengths.

    Args:
        shift: Its name.
        drops: Mean loss of Dice, one an arm.
        variation: Within-subject coefficient of variation of the volume, unchanged and changed,
            one an arm, by class.
        comparison: Drop of the first arm minus that of the second, in Dice; `None` for one arm.
    """

    shift: str
    drops: tuple[Interval, ...]
    variation: tuple[dict[str, float], ...]
    comparison: Comparison | None = None


class Outcomes:
    """All outcomes, as tables of runs, cases and conditions.

    Args:
        outcomes: In any order; what is missing is `nan`.
        groups: Group of each case, by name; cases without one are their own.
    """

    def __init__(self, outcomes: Sequence[Outcome], groups: dict[str, str] | None = None) -> None:
        self.outcomes = list(outcomes)
        self.cases = sorted({each.case for each in outcomes})
        self.conditions = list(dict.fromkeys(each.condition for each in outcomes))
        self.classes = list(dict.fromkeys(n for each in outcomes for n in each.measures))
        self.num_arms = 1 + max((each.arm for each in outcomes), default=0)
        self.groups = [(groups or {}).get(case, case) for case in self.cases]

    @property
    def shifts(self) -> list[str]:
        """List the shifts in the order in which they were tried."""
        names = (each.shift for each in self.conditions)
        return [name for name in dict.fromkeys(names) if name]

    def of_shift(self, shift: str) -> list[int]:
        """Find the conditions of a shift."""
        return [n for n, each in enumerate(self.conditions) if each.shift == shift]

    def table(self, arm: int, name: str, label: str | None = None) -> NDArray[np.float64]:
        """Lay a measure out.

        Args:
            arm: Number of the arm.
            name: Name of the measure, or ``drop``, ``surface_drop``.
            label: One class; `None`: the mean over classes.

        Returns:
            One number a run, case and condition, ``(R, C, Q)``.
        """
        own = [each for each in self.outcomes if each.arm == arm]
        runs = 1 + max((each.run for each in own), default=0)
        table = np.full((runs, len(self.cases), len(self.conditions)), np.nan)
        case_at = {case: place for place, case in enumerate(self.cases)}
        condition_at = {each: place for place, each in enumerate(self.conditions)}
        for each in own:
            place = each.run, case_at[each.case], condition_at[each.condition]
            table[place] = _value(each, name, label)
        return table


def effects(outcomes: Outcomes, seed: int = 0) -> list[Effect]:
    """Sum up every condition for every arm.

    Args:
        outcomes: What was measured.
        seed: Of the draws.

    Returns:
        One effect an arm and condition.
    """
    found = []
    for arm in range(outcomes.num_arms):
        names = ("dice", "surface_dice", "drop", "surface_drop")
        tables = {name: outcomes.table(arm, name) for name in names}
        intervals = {
            name: run_intervals(table, outcomes.groups, seed=seed) for name, table in tables.items()
        }
        for place, condition in enumerate(outcomes.conditions):
            scores = tables["dice"][:, :, place]
            scores = scores[~np.isnan(scores)]
            found.append(
                Effect(
                    arm,
                    condition,
                    *(intervals[name][place] for name in names),
                    quartiles=_quartiles(scores),
                    failures=float((scores < FAILED).mean()) if len(scores) else nan,
                    volumes=_agreements(outcomes, arm, place),
                )
            )
    return found


def shift_results(outcomes: Outcomes, seed: int = 0) -> list[ShiftResult]:
    """Sum up every shift over its strengths, and compare the arms.

    Args:
        outcomes: What was measured.
        seed: Of the draws.

    Returns:
        One result a shift; p-values are adjusted for their number.
    """
    shifts = outcomes.shifts
    if not shifts:
        return []
    drops = [_mean_drops(outcomes, arm, shifts) for arm in range(outcomes.num_arms)]
    intervals = [run_intervals(each, outcomes.groups, seed=seed) for each in drops]
    comparisons: list[Comparison | None] = [None] * len(shifts)
    if len(drops) > 1:
        comparisons = list(compare_runs(drops[0], drops[1], outcomes.groups, seed=seed))
    return [
        ShiftResult(
            shift,
            tuple(each[place] for each in intervals),
            tuple(_variation(outcomes, arm, shift) for arm in range(outcomes.num_arms)),
            comparisons[place],
        )
        for place, shift in enumerate(shifts)
    ]


def worst_outcomes(outcomes: Outcomes, count: int) -> list[Outcome]:
    """Find the largest drops, each case and each shift once.

    Args:
        outcomes: What was measured.
        count: How many to give at most.

    Returns:
        The outcomes, the worst first.
    """
    changed = [each for each in outcomes.outcomes if each.condition != UNCHANGED]
    ranked = sorted((each for each in changed if not isnan(each.drop)), key=lambda each: -each.drop)
    chosen: list[Outcome] = []
    for each in ranked:
        is_new = all(
            each.case != other.case and each.condition.shift != other.condition.shift
            for other in chosen
        )
        if is_new and len(chosen) < count:
            chosen.append(each)
    return chosen


def _value(outcome: Outcome, name: str, label: str | None) -> float:
    if label is not None:
        measure: Any = outcome.measures.get(label)
        return nan if measure is None else float(getattr(measure, name))
    if name == "drop":
        return outcome.drop
    if name == "surface_drop":
        return outcome.mean("surface_dice_before") - outcome.mean("surface_dice")
    return outcome.mean(name)


def _mean_drops(outcomes: Outcomes, arm: int, shifts: Sequence[str]) -> NDArray[np.float64]:
    """Give each case's mean drop over the strengths of each shift, ``(R, C, shifts)``."""
    drops = outcomes.table(arm, "drop")
    return np.stack([drops[:, :, outcomes.of_shift(shift)].mean(axis=2) for shift in shifts], -1)


def _quartiles(scores: NDArray[np.float64]) -> tuple[float, ...]:
    if not len(scores):
        return (nan,) * 5
    return tuple(float(value) for value in np.quantile(scores, (0, 0.25, 0.5, 0.75, 1)))


def _agreements(outcomes: Outcomes, arm: int, place: int) -> dict[str, Agreement]:
    found = {}
    for label in outcomes.classes:
        pair = [
            outcomes.table(arm, name, label)[:, :, place].ravel()
            for name in ("volume_ml_before", "volume_ml")
        ]
        found[label] = limits_of_agreement(pair[0], pair[1])
    return found


def _variation(outcomes: Outcomes, arm: int, shift: str) -> dict[str, float]:
    """Take the volume relative to the unchanged one on the same voxels, which crops differ in."""
    found = {}
    places = outcomes.of_shift(shift)
    for label in outcomes.classes:
        after, before = (
            outcomes.table(arm, name, label)[:, :, places]
            for name in ("volume_ml", "volume_ml_before")
        )
        with np.errstate(divide="ignore", invalid="ignore"):
            relative = np.where(before > 0, after / before, np.nan)
        rows = relative.reshape(-1, len(places))
        ones = np.where(np.isnan(rows).all(axis=1), np.nan, 1.0)
        found[label] = within_subject_variation(np.column_stack([ones, rows]))
    return found
