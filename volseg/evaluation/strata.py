"""Real strata: how scores differ between kernels, thicknesses or makers, as a table states them.

Other patients lie in other strata, so that a difference may be theirs and not the scanner's; the
test is that of Kruskal and Wallis, adjusted by Holm for the number of columns.
"""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import nan
from pathlib import Path

import numpy as np
from scipy import stats

from volseg.data.tables import read_rows
from volseg.errors import DataError
from volseg.evaluation.hierarchical import holm
from volseg.evaluation.intervals import Interval, mean_intervals

MOST_VALUES = 6
"""A column of more different numbers is cut into thirds."""

CASE = "case"


@dataclass(frozen=True)
class Stratification:
    """Scores by the values of one column.

    Args:
        column: Its name.
        strata: Mean score and interval, by value.
        p_holm: Kruskal and Wallis' p, adjusted for all columns; `nan` with fewer than two strata.
    """

    column: str
    strata: dict[str, Interval]
    p_holm: float


def read_strata(table: Path, columns: Sequence[str] = ()) -> dict[str, dict[str, str]]:
    """Read what a table says of the cases.

    Args:
        table: A CSV with the column ``case``.
        columns: Which columns to take; none: all others that hold numbers or few values.

    Returns:
        The value of each case, by column.

    Raises:
        DataError: If it lacks a column.
    """
    rows = read_rows(table, (CASE,))
    every = [name for name in rows[0] if name != CASE]
    lost = [name for name in columns if name not in every]
    if lost:
        raise DataError(f"{table} has no column {lost[0]!r}; it has {', '.join(every)}")
    read = {name: {row[CASE]: row[name] for row in rows if row[name]} for name in columns or every}
    return {name: values for name, values in read.items() if columns or _is_stratum(values)}


def write_strata(table: Path, strata: Mapping[str, Mapping[str, str]]) -> None:
    """Write a table that `read_strata` reads, to be mended by hand.

    Args:
        table: The CSV, with the column ``case``.
        strata: The value of each case, by column.
    """
    names = list(dict.fromkeys(case for values in strata.values() for case in values))
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([CASE, *strata])
        writer.writerows(
            [name, *(each.get(name, "") for each in strata.values())] for name in names
        )


def stratify(
    scores: Mapping[str, float],
    strata: Mapping[str, Mapping[str, str]],
    groups: Mapping[str, str] | None = None,
    seed: int = 0,
) -> list[Stratification]:
    """Split scores by the columns of a table.

    Args:
        scores: Score of each case; `nan` is left out.
        strata: Value of each case, by column.
        groups: Group of each case, for the intervals; by default each is its own.
        seed: Of the draws.

    Returns:
        One stratification a column; of cases that the table does not name nothing is said.
    """
    known = {case: score for case, score in scores.items() if not np.isnan(score)}
    found: list[tuple[str, dict[str, Interval]]] = []
    p_values: list[float] = []
    for column, values in strata.items():
        named = {case: values[case] for case in known if case in values}
        parts: dict[str, list[str]] = {}
        for case, value in _binned(named).items():
            parts.setdefault(value, []).append(case)
        means = {}
        for value, cases in sorted(parts.items()):
            of = None if groups is None else [groups.get(case, case) for case in cases]
            numbers = np.array([[known[case]] for case in cases])
            (means[value],) = mean_intervals(numbers, of, seed=seed)
        p_values.append(_kruskal([[known[case] for case in cases] for cases in parts.values()]))
        found.append((column, means))
    adjusted = holm(p_values)
    return [Stratification(*each, p) for each, p in zip(found, adjusted, strict=True)]


def _is_stratum(values: Mapping[str, str]) -> bool:
    return len(set(_binned(values).values())) <= MOST_VALUES


def _binned(values: Mapping[str, str]) -> Mapping[str, str]:
    """Cut a column of many different numbers into thirds."""
    if len(set(values.values())) <= MOST_VALUES:
        return values
    try:
        numbers = {case: float(value) for case, value in values.items()}
    except ValueError:
        return values
    low, high = np.quantile(list(numbers.values()), (1 / 3, 2 / 3))
    names = (f"1: below {low:g}", f"2: {low:g} to {high:g}", f"3: from {high:g}")
    return {case: names[int(np.digitize(number, (low, high)))] for case, number in numbers.items()}


def _kruskal(samples: Sequence[Sequence[float]]) -> float:
    usable = [sample for sample in samples if len(sample) > 1]
    if len(usable) < 2 or len({value for sample in usable for value in sample}) < 2:
        return nan
    return float(stats.kruskal(*usable).pvalue)
