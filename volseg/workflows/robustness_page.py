"""What the robustness page shows: curves, tables, and the worst cases in pictures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isnan

import numpy as np

from volseg.data.case import Case
from volseg.data.scan import Scan, resample
from volseg.evaluation.intervals import Interval
from volseg.evaluation.outcomes import UNCHANGED, Condition, Outcome
from volseg.evaluation.robustness import Effect, ShiftResult
from volseg.evaluation.shifts.shift import Shift
from volseg.evaluation.strata import Stratification
from volseg.inference.gallery.colours import colour_of
from volseg.inference.gallery.planes import draw_planes
from volseg.inference.gallery.scan import find_focus, turn_upright
from volseg.inference.gallery.window import find_window
from volseg.workflows.charts import Panel, Point, draw_panels
from volseg.workflows.pages import Shot, aligned, write_section, write_strip, write_table
from volseg.workflows.robustness_cases import Labels, Runs, Subject, read_subject, segment

PIXELS, BYTES = 320, 60_000
"""Of the longest edge of a slice, and most of a case's slices."""

CURVES = (
    "Mean Dice over classes, runs and cases with its 95 % interval (thick), and the cases' spread"
    " (box: quartiles; thin line: lowest to highest). The first place is the unchanged scan. Scores"
    " are taken on the case's own grid, on the voxels that the changed scan still shows."
)
DROPS = (
    "Loss of Dice against the unchanged scan, averaged over the strengths of a shift, with 95 %"
    " intervals from a bootstrap over runs and patients. Volume variation is the within-subject"
    " coefficient of variation of the segmented volume; the mean of the classes is shown."
)
STRATA = (
    "Dice of the unchanged cases by how they were acquired. Strata hold different patients, so that"
    " a difference need not be the scanner's. p: Kruskal and Wallis, Holm-adjusted."
)
WORST = "The largest losses, each case and each shift once. Colours are the classes."


@dataclass(frozen=True)
class Study:
    """What is needed to draw a case again.

    Args:
        cases: The cases, by name.
        arms: The networks.
        shifts: What was tried.
        names: Of the arms.
        seed: Of the changes.
    """

    cases: Mapping[str, Case]
    arms: Runs
    shifts: Sequence[Shift]
    names: Sequence[str]
    seed: int


def facts_of(study: Study, data: str, failed: Mapping[str, str]) -> dict[str, str]:
    """Say what holds for the whole page."""
    runs = ", ".join(
        f"{name} ({len(each)} run{'s' * (len(each) > 1)})"
        for name, each in zip(study.names, study.arms, strict=True)
    )
    facts = {"Networks": runs, "Data": data, "Cases": str(len(study.cases) - len(failed))}
    if failed:
        facts["Failed"] = ", ".join(failed)
    if any(len(each) == 1 for each in study.arms):
        facts["Note"] = "an arm with one run: the intervals say nothing about other trainings"
    return {**facts, "Seed": str(study.seed)}


def sections_of(
    study: Study,
    effects: Sequence[Effect],
    shifts: Sequence[ShiftResult],
    strata: Sequence[Sequence[Stratification]],
    worst: Sequence[Outcome],
) -> list[str]:
    """Write the parts of the page, pictures first."""
    panels = draw_panels(shift_panels(study.shifts, effects, len(study.names)), study.names)
    parts = [
        write_section("Dice under each shift", CURVES, panels),
        write_section("The worst cases", WORST, *(draw_outcome(study, each) for each in worst)),
        write_section("Drops", DROPS, write_table(drop_rows(shifts, study.names))),
        write_section("Every condition", "", write_table(condition_rows(effects, study.names))),
    ]
    for name, found in zip(study.names, strata, strict=True):
        if found:
            title = f"Real strata: {name}"
            parts.insert(2, write_section(title, STRATA, write_table(strata_rows(found))))
    return parts


def shift_panels(
    shifts: Sequence[Shift], effects: Sequence[Effect], num_arms: int, lowest: float = 0.0
) -> list[Panel]:
    """Lay out one panel a shift.

    Args:
        shifts: What was tried.
        effects: What it did.
        num_arms: How many arms.
        lowest: Lower end of the axis.

    Returns:
        The panels.
    """
    known = {(each.arm, each.condition): each for each in effects}
    panels = []
    for shift in shifts:
        steps = sorted({*shift.strengths, shift.neutral})
        conditions = [
            UNCHANGED if step == shift.neutral else Condition(shift.name, step) for step in steps
        ]
        series = [
            [_point(known[arm, condition]) for condition in conditions] for arm in range(num_arms)
        ]
        ticks = ["as it is" if step == shift.neutral else f"{step:g}" for step in steps]
        panels.append(Panel(shift.name, shift.unit, ticks, series, (lowest, 1.0)))
    return panels


def drop_rows(shifts: Sequence[ShiftResult], names: Sequence[str]) -> list[list[str]]:
    """Lay out the drops, and how the arms compare."""
    head = ["shift", *(f"drop, {name}" for name in names), *(f"volume CoV, {n}" for n in names)]
    is_compared = any(each.comparison is not None for each in shifts)
    if is_compared:
        head += ["difference of drops", "p (Holm)"]
    rows = [head]
    for each in shifts:
        row = [each.shift, *map(_interval, each.drops)]
        row += [_percent(list(variation.values())) for variation in each.variation]
        if each.comparison is not None:
            c = each.comparison
            row += [_interval(Interval(c.difference, c.low, c.high, 0)), _number(c.p_holm)]
        rows.append(row)
    return rows


def condition_rows(effects: Sequence[Effect], names: Sequence[str]) -> list[list[str]]:
    """Lay out every condition: scores, failures, and limits of agreement of the volumes."""
    rows = [["arm", "shift", "strength", "Dice", "surface Dice", "drop", "surface drop"]]
    rows[0] += ["not found", "volume, mL"]
    for each in effects:
        is_changed = each.condition != UNCHANGED
        volumes = [
            f"{label} {a.bias:+.2f} ({a.low:+.2f} to {a.high:+.2f})"
            for label, a in each.volumes.items()
        ]
        rows.append(
            [
                names[each.arm],
                each.condition.shift or "unchanged",
                f"{each.condition.strength:g}" if is_changed else "",
                _interval(each.dice),
                _interval(each.surface_dice),
                _interval(each.drop) if is_changed else "",
                _interval(each.surface_drop) if is_changed else "",
                f"{each.failures:.0%}",
                "; ".join(volumes) if is_changed else "",
            ]
        )
    return rows


def strata_rows(found: Sequence[Stratification]) -> list[list[str]]:
    """Lay out the strata."""
    rows = [["column", "value", "cases", "Dice", "p (Holm)"]]
    for each in found:
        for value, interval in each.strata.items():
            p = _number(each.p_holm)
            rows.append([each.column, value, str(interval.cases), _interval(interval), p])
    return rows


def table_of(
    effects: Sequence[Effect], shifts: Sequence[ShiftResult], names: Sequence[str]
) -> list[str]:
    """Lay the drops out as text."""
    rows = drop_rows(shifts, names)
    lines = [
        f"{names[each.arm]}: Dice {_interval(each.dice)} unchanged, {each.dice.cases} cases"
        for each in effects
        if each.condition == UNCHANGED
    ]
    return lines + aligned(rows)


def draw_outcome(study: Study, outcome: Outcome) -> str:
    """Draw a case before and after: the reference, and what the network says of both scans."""
    predictor = study.arms[outcome.arm][outcome.run]
    subject = read_subject(study.cases[outcome.case], predictor.classes)
    shift = next(each for each in study.shifts if each.name == outcome.condition.shift)
    scans = subject.changed(shift, outcome.condition.strength, study.seed)
    native = subject.scans[0]
    changed = Scan(resample(scans[0], native.values.shape, native.affine, np.eye(4)), native.affine)
    captions = (
        "reference",
        _said("unchanged", outcome.mean("dice", is_before=True)),
        _said(f"{shift.name} {outcome.condition.strength:g}", outcome.mean("dice")),
    )
    maps = (
        subject.reference,
        segment(predictor, subject, subject.scans),
        segment(predictor, subject, scans),
    )
    shots = [
        _shot(caption, scan, labels, subject)
        for caption, scan, labels in zip(captions, (native, native, changed), maps, strict=True)
    ]
    title = f"{outcome.case}: {shift.name}, {outcome.condition.strength:g} {shift.unit}"
    return write_strip(f"{title} ({study.names[outcome.arm]})", shots)


def _shot(caption: str, scan: Scan, labels: Labels, subject: Subject) -> Shot:
    """Cut the axial slice through the reference."""
    upright = turn_upright(scan.values, np.asarray(labels), scan.affine)
    truth = turn_upright(scan.values, subject.reference, scan.affine)
    focus = find_focus(truth)
    values = [int(value) for value in np.unique(labels) if value]
    colours = {value: colour_of(value - 1) for value in values}
    plane = draw_planes(upright, focus, find_window(upright, focus), colours, PIXELS, BYTES)[0]
    return Shot(caption, plane.image, plane.mask)


def _said(what: str, dice: float) -> str:
    return f"{what}: Dice {_number(dice)}"


def _point(effect: Effect) -> Point:
    return Point(effect.dice.mean, effect.dice.low, effect.dice.high, effect.quartiles)


def _number(value: float) -> str:
    return "-" if isnan(value) else f"{value:.3f}"


def _percent(values: Sequence[float]) -> str:
    known = [value for value in values if not isnan(value)]
    return f"{np.mean(known):.1%}" if known else "-"


def _interval(interval: Interval) -> str:
    mean, low, high = map(_number, (interval.mean, interval.low, interval.high))
    return mean if isnan(interval.low) else f"{mean} [{low}, {high}]"
