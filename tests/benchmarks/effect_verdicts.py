"""Whether an effect is shown: a rule that is fixed before the runs.

Every seed gives one figure for each arm. A paper's claim is that one arm's figure is larger than
another's. It is shown if, from four seeds on, the 95 % interval of the paired differences by
Student's t lies above 0, and their mean above a margin where the claim has one; reversed if the
interval lies below 0; and not shown otherwise. A claim may need a task that is not solved without
training: it is not shown where an arm's mean is above a limit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isnan
from typing import Any

import numpy as np
from scipy.stats import t as student

LEAST_SEEDS = 4


@dataclass(frozen=True)
class Claim:
    """One figure is larger than another, by a margin or more.

    Args:
        text: The claim in words.
        larger: Name of the figure that should be larger.
        smaller: Name of the other.
        margin: What the mean difference must exceed.
        hard: An arm, and the mean that it must stay below for the claim to be tested.
    """

    text: str
    larger: str
    smaller: str
    margin: float = 0.0
    hard: tuple[str, float] | None = None


def judge(claim: Claim, runs: Sequence[Mapping]) -> dict:
    """Judge a claim by the runs of all seeds.

    Args:
        claim: The claim.
        runs: The figures of one seed each.

    Returns:
        Both means with their spread over seeds, the difference with its interval, the verdict.

    Examples:
        >>> runs = [{"a": 0.8 + noise, "b": 0.7} for noise in (0, 0.01, 0.02, 0.03)]
        >>> [judge(Claim("", "a", "b"), runs[:count])["verdict"] for count in (3, 4)]
        ['not shown: 3 seeds', 'shown']
        >>> judge(Claim("", "b", "a"), runs)["verdict"]
        'reversed'
    """
    larger, smaller = (
        np.array([run[name] for run in runs], dtype=float) for name in (claim.larger, claim.smaller)
    )
    difference = larger - smaller
    count, mean = len(difference), float(difference.mean())
    deviation = float(difference.std(ddof=1)) if count > 1 else float("nan")
    half = float(student.ppf(0.975, max(1, count - 1))) * deviation / count**0.5
    found = {
        "claim": claim.text,
        "seeds": count,
        "larger": [claim.larger, float(larger.mean()), spread(larger)],
        "smaller": [claim.smaller, float(smaller.mean()), spread(smaller)],
        "difference": [mean, deviation, mean - half, mean + half],
    }
    return {**found, "verdict": decide(claim, runs, mean, half)}


def decide(claim: Claim, runs: Sequence[Mapping], mean: float, half: float) -> str:
    """Apply the rule to the mean difference and half its interval."""
    if len(runs) < LEAST_SEEDS:
        return f"not shown: {len(runs)} seeds"
    if mean + half < 0:
        return "reversed"
    if claim.hard is not None:
        arm, limit = claim.hard
        reached = float(np.mean([run[arm] for run in runs]))
        if reached >= limit:
            return f"not shown: {arm} is {reached:.2f}, and the task too easy"
    return "shown" if mean - half > 0 and mean > claim.margin else "not shown"


def spread(values: np.ndarray) -> float:
    """Give the standard deviation over seeds."""
    return float(values.std(ddof=1)) if len(values) > 1 else float("nan")


def plain(value: Any) -> Any:
    """Replace what JSON does not have: of one seed there is no spread."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return None if isinstance(value, float) and isnan(value) else value


def row(found: Mapping) -> str:
    """Lay out a judged claim as a row of a table."""
    arms = (
        f"{name} {mean:.3f} ± {sd:.3f}" for name, mean, sd in (found["larger"], found["smaller"])
    )
    mean, deviation, low, high = found["difference"]
    cells = [found["task"], found["encoder"], found["claim"], str(found["seeds"]), *arms]
    cells += [f"{mean:+.3f} ± {deviation:.3f} [{low:+.3f}, {high:+.3f}]", found["verdict"]]
    return f"| {' | '.join(cells)} |"


HEAD = (
    "| experiment | encoder | claim | seeds | mean ± SD | against | difference ± SD [95 %] |"
    " verdict |\n|---|---|---|---|---|---|---|---|"
)
