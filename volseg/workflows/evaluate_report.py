"""The page of an evaluation: of masks, of lesions, of boxes or of classes."""

from collections.abc import Mapping, Sequence
from math import isnan, nan
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from volseg.errors import DataError
from volseg.evaluation.intervals import Interval
from volseg.evaluation.lesions import RATES
from volseg.evaluation.report import Report
from volseg.inference.work_list import require_writable
from volseg.workflows.beside import Run
from volseg.workflows.box_evaluate import BoxReport
from volseg.workflows.charts import Panel, Point, draw_panels
from volseg.workflows.lesions import LesionReport
from volseg.workflows.pages import write_result_page, write_section, write_table
from volseg.workflows.record import write_record

if TYPE_CHECKING:
    from volseg.evaluation.classes import ClassReport

RESULTS, PAGE = "results.json", "report.html"

MASKS = (
    "Mean of each class with its 95 % interval (thick), and the spread over the cases (box:"
    " quartiles; thin line: lowest to highest)."
)
FROC = (
    "Share of the lesions that is found against false positives a case, as parts are taken in the"
    " order of their scores. The curve ends where there are no more false positives."
)
CLASSES = "Each score with its 95 % interval over groups."
ROC = "Sensitivity for each class against the share of the other classes that is taken for it."


def require_free(folder: Path, *, overwrite: bool) -> None:
    """Refuse a folder that has results already, before anything is computed.

    Args:
        folder: Where they are to be written.
        overwrite: Whether they may be replaced.

    Raises:
        DataError: If there are some, and they may not.
    """
    if (folder / RESULTS).exists() and not overwrite:
        raise DataError(f"{folder / RESULTS} exists already; use another output or --overwrite")


def write_report(
    folder: Path, result: Any, sections: Sequence[str], settings: Mapping[str, Any]
) -> None:
    """Write ``report.html`` and ``results.json``, with what was run.

    Args:
        folder: Where to; it is made if it is not there.
        result: Has ``to_json()``.
        sections: HTML of the parts of the page.
        settings: Arguments, as plain values; ``predictions`` and ``references`` head the page.
    """
    require_writable(folder)
    run = Run("evaluate", settings, [])
    write_record(folder / RESULTS, {**result.to_json(), "run": run.to_json()})
    facts = {name.capitalize(): str(settings[name]) for name in ("predictions", "references")}
    write_result_page(folder / PAGE, "volseg evaluate", facts, sections)


def mask_sections(report: Report) -> list[str]:
    """Draw and tabulate the scores of masks.

    Args:
        report: What was found.

    Returns:
        HTML of the parts of the page; cases stand in the order of their mean Dice, the worst first.
    """
    names = list(report.summary)
    heads = {"dice": "Dice", "surface_dice": f"surface Dice at {report.tolerance:g} mm"}
    panels = [
        Panel(
            title,
            "class",
            names,
            [[_spread(report.summary[name][key], _values(report, name, key)) for name in names]],
            is_joined=False,
        )
        for key, title in heads.items()
    ]
    heads["hausdorff95"] = "HD95, mm"
    rows = [["class", "cases", *heads.values()]]
    for name, metrics in report.summary.items():
        cells = [metrics[key].text() for key in heads]
        rows.append([name, str(metrics["dice"].cases), *cells])
    cases = [["case", "class", *heads.values(), "note"]]
    for case in sorted(report.cases, key=lambda each: _mean_dice(each.scores)):
        note = case.reason or ""
        cases += [
            [case.name, name, *(_number(getattr(score, key)) for key in heads), note]
            for name, score in case.scores.items()
        ] or [[case.name, "", "-", "-", "-", note]]
    return [
        write_section("Scores", MASKS, draw_panels(panels, ["cases"]), write_table(rows)),
        write_section("Cases", "The worst first.", write_table(cases)),
    ]


def lesion_sections(
    report: LesionReport, precision: Mapping[str, float] | None = None
) -> list[str]:
    """Draw the free-response curve, and tabulate what was found.

    Args:
        report: What was found.
        precision: Average precision of boxes, by name.

    Returns:
        HTML of the parts of the page.
    """
    found = report.detection
    points = [Point(share, nan, nan) for share in found.curve]
    ticks = [f"1/{1 / rate:g}" if rate < 1 else f"{rate:g}" for rate in RATES]
    panel = Panel("share found", "false positives a case", ticks, [points])
    chart = draw_panels([panel], ["lesions"]) if report.has_scores else ""
    text = FROC if report.has_scores else "No curve: it takes scores, or maps of probabilities."
    rows = [
        ["", "value"],
        ["lesions", str(sum(len(case.lesions) for case in report.cases))],
        ["sensitivity", found.sensitivity.text()],
        ["false positives a case", found.false_positives.text()],
    ]
    if report.has_scores:
        rows.append(["FROC, mean of 1/8 to 8 false positives a case", found.froc.text()])
    rows += [[f"average precision, {name}", _number(it)] for name, it in (precision or {}).items()]
    cases = [["case", "lesions", "found", "false positives", "note"]]
    for case in report.cases:
        hits = int(np.isfinite(case.found_at).sum()) if case.found_at else 0
        note = report.missed.get(case.name, "")
        figures = len(case.lesions), hits, len(case.false_scores)
        cases.append([case.name, *map(str, figures), note])
    cases += [[name, "-", "-", "-", reason] for name, reason in report.failed.items()]
    return [
        write_section("Free-response curve", text, chart, write_table(rows)),
        write_section("Cases", "", write_table(cases)),
    ]


def box_sections(report: BoxReport) -> list[str]:
    """Draw and tabulate what boxes have found.

    Args:
        report: What was found.

    Returns:
        HTML of the parts of the page.
    """
    return lesion_sections(report.lesions, report.precision)


def class_sections(report: "ClassReport") -> list[str]:
    """Draw the scores of classes or grades and their ROC, and tabulate the confusion.

    Args:
        report: What was found.

    Returns:
        HTML of the parts of the page.
    """
    names = list(report.scores)
    points = [Point(each.mean, each.low, each.high) for each in report.scores.values()]
    lowest = min([0.0, *(each.low for each in points if not isnan(each.low))])
    panel = Panel("score", "", names, [points], (lowest, 1.0), is_joined=False)
    rows = [["score", "value"], *([name, each.text()] for name, each in report.scores.items())]
    confusion = [["true", *report.classes]]
    for name, row in zip(report.classes, report.confusion.tolist(), strict=True):
        confusion.append([name, *map(str, row)])
    missed = f"No prediction: {', '.join(report.missed)}." if report.missed else ""
    roc = report.to_json()["roc"]
    ticks = [f"{rate:g}" for rate in roc["false_positive_rate"]]
    curves = [[Point(share, nan, nan) for share in each] for each in roc["sensitivity"].values()]
    chart = draw_panels([Panel("sensitivity", "1 - specificity", ticks, curves)], [*report.curves])
    return [
        write_section("Scores", CLASSES, draw_panels([panel], ["score"]), write_table(rows)),
        *([write_section("ROC", ROC, chart)] if curves else []),
        write_section(
            "Confusion", f"Rows are true, columns predicted. {missed}", write_table(confusion)
        ),
    ]


def _values(report: Report, name: str, key: str) -> list[float]:
    return [getattr(case.scores[name], key) for case in report.cases if name in case.scores]


def _spread(interval: Interval, values: Sequence[float]) -> Point:
    known = [value for value in values if not isnan(value)]
    quartiles = np.quantile(known, (0, 0.25, 0.5, 0.75, 1)).tolist() if known else ()
    return Point(interval.mean, interval.low, interval.high, tuple(quartiles))


def _mean_dice(scores: Mapping[str, Any]) -> float:
    known = [score.dice for score in scores.values() if not isnan(score.dice)]
    return float(np.mean(known)) if known else -1.0


def _number(value: float) -> str:
    return f"{value:.3f}" if not isnan(value) else "-"
