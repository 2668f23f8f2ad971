"""Tables of a cross-validation: the Dice of each case, means over seeds, and their intervals."""

from typing import Any

import numpy as np

from volseg.evaluation.intervals import Interval, mean_intervals

ARMS = ("scratch", "pretrained")

ALONE = "alone"
"""What is given with ``--encoder``, a whole network, without one labelled case."""


def by_case(runs: list[dict[str, Any]], arm: str) -> dict[str, dict[str, float]]:
    """Give the mean over seeds of the Dice of each class, by case."""
    found: dict[str, dict[str, list[float]]] = {}
    for one in runs:
        for case, scores in one["dice"].items() if one["arm"] == arm else ():
            for name, value in scores.items():
                number = np.nan if value is None else value
                found.setdefault(name, {}).setdefault(case, []).append(number)
    return {
        name: {case: float(np.mean(values)) for case, values in cases.items()}
        for name, cases in found.items()
    }


def summarise(runs: list[dict[str, Any]]) -> dict[str, dict[str, Interval]]:
    """Give the mean of each arm, and of the difference, with the 95 % interval over the cases."""
    arms = {arm: by_case(runs, arm) for arm in (*ARMS, ALONE)}
    summary: dict[str, dict[str, Interval]] = {}
    for name in {name: None for scores in arms.values() for name in scores}:
        scores = {arm: arms[arm].get(name, {}) for arm in arms}
        both = sorted(set(scores["scratch"]) & set(scores["pretrained"]))
        columns = {arm: list(values.values()) for arm, values in scores.items() if values}
        if both:
            gains = [scores["pretrained"][case] - scores["scratch"][case] for case in both]
            columns["difference"] = gains
        summary[name] = {
            key: mean_intervals(np.array(values)[:, None])[0] for key, values in columns.items()
        }
    return summary


def table(runs: list[dict[str, Any]], summary: dict[str, dict[str, Interval]]) -> str:
    """Lay out the Dice of each case, then means, spread over the cases, and intervals."""
    lines = []
    arms = {arm: scores for arm in (*ARMS, ALONE) if (scores := by_case(runs, arm))}
    for name, means in summary.items():
        lines += [
            f"## {name}",
            "",
            f"| case | {' | '.join(arms)} |",
            f"|{'---|' * (len(arms) + 1)}",
        ]
        scores = {arm: arms[arm].get(name, {}) for arm in arms}
        for case in sorted({case for values in scores.values() for case in values}):
            cells = [cell(scores[arm].get(case)) for arm in arms]
            lines.append(f"| {case} | {' | '.join(cells)} |")
        spreads = [cell(deviation(list(scores[arm].values()))) for arm in arms]
        lines.append(f"| standard deviation of the cases | {' | '.join(spreads)} |")
        for key, interval in means.items():
            bounds = f"{interval.low:+.3f} to {interval.high:+.3f}"
            lines.append(f"\nMean, {key}: {interval.mean:+.3f} ({bounds}, {interval.cases} cases)")
        lines.append("")
    seconds = [one["cpu_seconds"] for one in runs]
    lines.append(f"{len(runs)} runs, {np.mean(seconds) / 60:.1f} CPU minutes each.")
    return "\n".join(lines) + "\n"


def deviation(values: list[float]) -> float | None:
    """Give the standard deviation, if there is one."""
    return float(np.nanstd(values, ddof=1)) if len(values) > 1 else None


def cell(value: float | None) -> str:
    """Write a number, or that there is none."""
    return "-" if value is None or np.isnan(value) else f"{value:.3f}"
