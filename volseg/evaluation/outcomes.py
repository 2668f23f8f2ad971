"""What networks say of cases under all conditions: single outcomes, and tables of them.

An *arm* is one way of making a network, its *runs* are networks made so with other seeds. The
*drop* of a case is its score unchanged minus its score under the shift, both on the voxels that
both scans show.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan, nan

import numpy as np
from numpy.typing import NDArray


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
    """What one network says of one class in one scan, on the voxels that both scans show.

    Args:
        dice: Dice overlap; `nan` where neither map has the class.
        surface_dice: Surface Dice.
        volume_ml: Volume of the segmentation.
    """

    dice: float
    surface_dice: float
    volume_ml: float


@dataclass(frozen=True)
class Outcome:
    """What one run says of one case under one condition.

    Args:
        arm: Number of the arm.
        run: Number of the run within it.
        case: Name of the case.
        condition: The condition.
        now: What it says of each class, by name.
        before: What it said of the unchanged scan.
    """

    arm: int
    run: int
    case: str
    condition: Condition
    now: dict[str, Measure]
    before: dict[str, Measure]

    def measures(self, *, is_before: bool = False) -> dict[str, Measure]:
        """Give what is said now, or what was said before."""
        return self.before if is_before else self.now

    def mean(self, name: str, *, is_before: bool = False) -> float:
        """Give the mean of a measure over the classes that have it."""
        values = [getattr(each, name) for each in self.measures(is_before=is_before).values()]
        known = [value for value in values if not isnan(value)]
        return float(np.mean(known)) if known else nan

    @property
    def drop(self) -> float:
        """Give the mean loss of Dice over the classes."""
        return self.mean("dice", is_before=True) - self.mean("dice")


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
        self.classes = list(dict.fromkeys(n for each in outcomes for n in each.now))
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

    def table(
        self, arm: int, name: str, label: str | None = None, *, is_before: bool = False
    ) -> NDArray[np.float64]:
        """Lay a measure out.

        Args:
            arm: Number of the arm.
            name: Name of the measure.
            label: One class; `None`: the mean over classes.
            is_before: Whether to take what was said of the unchanged scans.

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
            if label is None:
                table[place] = each.mean(name, is_before=is_before)
            elif label in each.now:
                table[place] = getattr(each.measures(is_before=is_before)[label], name)
        return table

    def loss(self, arm: int, name: str) -> NDArray[np.float64]:
        """Lay out what is lost of a measure against the unchanged scans, ``(R, C, Q)``."""
        return self.table(arm, name, is_before=True) - self.table(arm, name)


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
