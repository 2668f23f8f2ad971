"""The page of a review: the least sure cases in pictures, then the whole queue."""

from pathlib import Path

from volseg.workflows.beside import Run, write_beside
from volseg.workflows.charts import draw_panels
from volseg.workflows.pages import write_section, write_table
from volseg.workflows.review import ReviewResult
from volseg.workflows.slices import draw_mask

SHOWN = 6
"""Cases in pictures."""

SURE = (
    "The masks that the network was least sure of, on their images. Slices go through the largest"
    " part of the mask; colours are its label values."
)
SPREAD = (
    "One minus the Dice that a mask would have if its probabilities were true; without"
    " probabilities, the mean entropy or variance near the structures."
)


def write_report(result: ReviewResult, masks: Path, top: int | None) -> None:
    """Write the page and the figures beside the table.

    Args:
        result: The queue.
        masks: The folder of masks that it was made of.
        top: How many cases were asked for; `None`: all.
    """
    facts = {"Cases": str(len(result.cases))}
    if result.failures:
        facts["Failed"] = ", ".join(result.failures)
    strips = [
        draw_mask(f"{case.name}: uncertainty {case.uncertainty:.3f}", case.mask, case.image)
        for case in result.cases[:SHOWN]
    ]
    chart = draw_panels([result.histogram().panel("cases", "uncertainty")], ["cases"])
    sections = [
        write_section("Least sure", SURE, *strips),
        write_section("How sure all are", SPREAD, chart),
        write_section("The queue", "", write_table(_rows(result))),
    ]
    run = Run("review", {"masks": str(masks), "top": top}, [case.mask for case in result.cases])
    write_beside(result.output, run, result, facts, sections)


def _rows(result: ReviewResult) -> list[list[str]]:
    keys = list(dict.fromkeys(key for case in result.cases for key in case.certainty))
    rows = [["case", "rank", "uncertainty", *(key.replace("_", " ") for key in keys), "note"]]
    for rank, case in enumerate(result.cases, start=1):
        cells = [f"{case.certainty[key]:.4f}" if key in case.certainty else "-" for key in keys]
        rows.append([case.name, str(rank), f"{case.uncertainty:.4f}", *cells, ""])
    blank = ["-"] * (len(keys) + 2)
    return rows + [[name, *blank, why] for name, why in result.failures.items()]
