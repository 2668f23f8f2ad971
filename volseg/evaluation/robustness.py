"""What changes of the acquisition do to segmentations: drops, their spread, and two arms compared.

The protocol follows Jiang, Rangnekar and Veeraraghavan 2024 (https://arxiv.org/abs/2405.08657),
who stratify by kernel, thickness and contrast; here each case is also its own control.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import nan

import numpy as np
from numpy.typing import NDArray

from volseg.evaluation.hierarchical import Comparison, compare_runs, run_intervals
from volseg.evaluation.intervals import Interval
from volseg.evaluation.outcomes import Condition, Outcomes
from volseg.evaluation.repeatability import (
    Agreement,
    limits_of_agreement,
    within_subject_variation,
)

SCORES, VOLUME = ("dice", "surface_dice"), "volume_ml"

FAILED = 0.1
"""A case of which less Dice is left was not found."""


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
        tables = [outcomes.table(arm, name) for name in SCORES]
        tables += [outcomes.loss(arm, name) for name in SCORES]
        intervals = [run_intervals(table, outcomes.groups, seed=seed) for table in tables]
        for place, condition in enumerate(outcomes.conditions):
            dice, surface_dice, drop, surface_drop = (each[place] for each in intervals)
            scores = tables[0][:, :, place]
            scores = scores[~np.isnan(scores)]
            found.append(
                Effect(
                    arm,
                    condition,
                    dice,
                    surface_dice,
                    drop,
                    surface_drop,
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


def _mean_drops(outcomes: Outcomes, arm: int, shifts: Sequence[str]) -> NDArray[np.float64]:
    """Give each case's mean drop over the strengths of each shift, ``(R, C, shifts)``."""
    drops = outcomes.loss(arm, "dice")
    return np.stack([drops[:, :, outcomes.of_shift(shift)].mean(axis=2) for shift in shifts], -1)


def _quartiles(scores: NDArray[np.float64]) -> tuple[float, ...]:
    if not len(scores):
        return (nan,) * 5
    return tuple(float(value) for value in np.quantile(scores, (0, 0.25, 0.5, 0.75, 1)))


def _agreements(outcomes: Outcomes, arm: int, place: int) -> dict[str, Agreement]:
    found = {}
    for label in outcomes.classes:
        pair = [
            outcomes.table(arm, VOLUME, label, is_before=is_before)[:, :, place].ravel()
            for is_before in (True, False)
        ]
        found[label] = limits_of_agreement(pair[0], pair[1])
    return found


def _variation(outcomes: Outcomes, arm: int, shift: str) -> dict[str, float]:
    """Take the volume relative to the unchanged one on the same voxels, which crops differ in."""
    found = {}
    places = outcomes.of_shift(shift)
    for label in outcomes.classes:
        after, before = (
            outcomes.table(arm, VOLUME, label, is_before=is_before)[:, :, places]
            for is_before in (False, True)
        )
        with np.errstate(divide="ignore", invalid="ignore"):
            relative = np.where(before > 0, after / before, np.nan)
        rows = relative.reshape(-1, len(places))
        ones = np.where(np.isnan(rows).all(axis=1), np.nan, 1.0)
        found[label] = within_subject_variation(np.column_stack([ones, rows]))
    return found
