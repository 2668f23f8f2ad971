"""The page of a grading: how the loads are spread, and the cases on the edge between grades."""

from dataclasses import asdict
from math import isfinite

from volseg.workflows.bars import bars
from volseg.workflows.beside import Run, write_beside
from volseg.workflows.charts import draw_panels
from volseg.workflows.grade import GradeResult, Masks, Scale
from volseg.workflows.pages import write_section, write_table
from volseg.workflows.slices import draw_mask

SHOWN = 4
"""Cases in pictures."""

NEAR = (
    "The cases that lie nearest to where a grade begins: another reader's mask might move them."
    " Slices go through the largest part of the lesion; colours are its label values."
)


def write_report(result: GradeResult, masks: Masks, scale: Scale) -> None:
    """Write the page and the figures beside the table.

    Args:
        result: What was found.
        masks: The files that were graded.
        scale: What was measured, and where grades begin.
    """
    name = "share of the organ" if result.is_share else "mL"
    edges = ", ".join(f"{edge:.4g}" for edge in result.thresholds)
    facts = {"Cases": str(len(result.loads)), "Graded": name, "Grades begin at": edges}
    if result.failures:
        facts["Failed"] = ", ".join(result.failures)
    nearest = sorted(result.loads, key=lambda case: (result.gap(case), case))[:SHOWN]
    strips = [
        draw_mask(
            _said(result, case, name), masks.files[case], masks.images.get(case), scale.lesion
        )
        for case in nearest
    ]
    sections = [
        write_section("Cases of each grade", "", _draw(result, name), write_table(_grades(result))),
        write_section("On the edge", NEAR, *strips),
        write_section("Cases", "By what is graded.", write_table(_cases(result))),
    ]
    settings = {"masks": str(masks.source), **asdict(scale)}
    run = Run("grade", settings, list(masks.files.values()))
    write_beside(result.output, run, result, facts, sections)


def _draw(result: GradeResult, name: str) -> str:
    grades = list(result.grades.values())
    every = range(len(result.thresholds) + 1)
    counts = bars("cases", "grade", [str(each) for each in every], [grades.count(n) for n in every])
    return draw_panels([counts, result.histogram().panel("cases", name)], ["cases"])


def _grades(result: GradeResult) -> list[list[str]]:
    """Tabulate the grades: where they reach from and to, and how many cases they have."""
    ends = ["-", *(f"{edge:.4g}" for edge in result.thresholds), "-"]
    rows = [["grade", "from", "below", "cases"]]
    for grade in range(len(result.thresholds) + 1):
        count = list(result.grades.values()).count(grade)
        rows.append([str(grade), ends[grade], ends[grade + 1], str(count)])
    return rows


def _cases(result: GradeResult) -> list[list[str]]:
    rows = [["case", "grade", "mL", "share", "to the nearest threshold", "note"]]
    for case in sorted(result.loads, key=lambda each: -result.graded[each]):
        load = result.loads[case]
        share = f"{load.share:.4f}" if isfinite(load.share) else "-"
        gap = f"{result.gap(case):.4f}"
        rows.append([case, str(result.grades[case]), f"{load.ml:.4f}", share, gap, ""])
    return rows + [[case, "-", "-", "-", "-", why] for case, why in result.failures.items()]


def _said(result: GradeResult, case: str, name: str) -> str:
    value = result.graded[case]
    return f"{case}: grade {result.grades[case]}, {value:.4g} {name}"
