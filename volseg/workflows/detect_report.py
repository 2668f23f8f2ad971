"""The page of a detection: slices with boxes, then how many there are and how large."""

from collections.abc import Sequence

import numpy as np

from volseg.inference.gallery.colours import colour_of
from volseg.workflows.bars import bars
from volseg.workflows.charts import Panel, draw_panels
from volseg.workflows.detect import PAGE, RESULTS, DetectResult, Searched
from volseg.workflows.pages import write_result_page, write_section, write_strip, write_table
from volseg.workflows.record import write_record
from volseg.workflows.slices import draw_shots, read_under

SHOWN = 3
"""Cases in pictures, of each kind."""

MOST = 5
"""Boxes that are drawn on a case; more hide one another."""

CLEAR = "01"
"""Opacity of the tint of all but the first box, as good as none."""

COUNTED = 6
"""Cases with so many boxes or more are counted together."""

SURE = (
    "The cases with the highest scores. Slices go through the middle of the best box, which is"
    f" tinted; the next best, up to {MOST - 1}, are outlined. Colours are classes."
)
UNSURE = "The cases whose best box has the lowest score."
LARGE = (
    "The cases with the largest boxes. Slices go through the middle of the largest box, which is"
    f" tinted; the next largest, up to {MOST - 1}, are outlined. Colours are label values."
)
HEADINGS = {"score": "score", "longest_edge_mm": "longest edge, mm"}


def write_report(result: DetectResult) -> None:
    """Write the page and its figures.

    Args:
        result: What was found.
    """
    total = sum(result.boxes.values())
    facts = {"Cases": str(len(result.searched)), "Boxes": str(total)}
    if result.failed:
        facts["Failed"] = ", ".join(result.failed)
    charts = draw_panels(_panels(result), ["boxes"])
    sections = [
        *_pictures(result),
        write_section("How many and how large", "", charts),
        write_section("Cases", "", write_table(_rows(result))),
    ]
    write_record(result.output / RESULTS, result.to_json())
    write_result_page(result.output / PAGE, "volseg detect", facts, sections)


def _pictures(result: DetectResult) -> list[str]:
    found = [each for each in result.searched if len(each.boxes.boxes)]
    if not found:
        return [write_section("Boxes", "No box was found in any case.")]
    if not result.has_scores:
        largest = sorted(found, key=lambda each: -each.volumes_ml.max())[:SHOWN]
        return [write_section("Largest", LARGE, *_draw_all(largest, has_scores=False))]
    ordered = sorted(found, key=lambda each: -each.boxes.scores.max())
    sure, rest = ordered[:SHOWN], ordered[SHOWN:]
    parts = [write_section("Most certain", SURE, *_draw_all(sure, has_scores=True))]
    if rest:
        strips = _draw_all(rest[::-1][:SHOWN], has_scores=True)
        parts.append(write_section("Least certain", UNSURE, *strips))
    return parts


def _draw_all(cases: Sequence[Searched], *, has_scores: bool) -> list[str]:
    return [_draw(case, has_scores=has_scores) for case in cases]


def _draw(case: Searched, *, has_scores: bool) -> str:
    """Draw the first boxes of a case, the first one on top."""
    scan = case.boxes
    order = np.argsort(-(scan.scores if has_scores else case.volumes_ml), kind="stable")[:MOST]
    labels, colours = np.zeros(scan.grid.shape, np.uint8), {}
    for rank, index in reversed(list(enumerate(order.tolist(), start=1))):
        start = np.floor(scan.boxes[index, :3] + 1e-3).astype(int)
        stop = np.maximum(np.ceil(scan.boxes[index, 3:] - 1e-3).astype(int), start + 1)
        labels[tuple(map(slice, start, stop))] = rank
        colours[rank] = colour_of(int(scan.classes[index]) - 1) + CLEAR * (rank > 1)
    values, note = read_under(case.image, labels, scan.grid.matrix())
    if has_scores:
        said = f"the best {scan.scores[order[0]]:.3f}"
    else:
        said = f"the largest {case.volumes_ml[order[0]]:.3f} mL"
    title = f"{scan.case}: {len(scan.boxes)} box{'es' * (len(scan.boxes) > 1)}, {said}"
    shots = draw_shots(values, labels, scan.grid.matrix(), colours, [1])
    return write_strip(f"{title}; {note}" if note else title, shots)


def _panels(result: DetectResult) -> list[Panel]:
    numbers = [min(number, COUNTED) for number in result.boxes.values()]
    ticks = [*map(str, range(COUNTED)), f"{COUNTED}+"]
    counts = bars("cases", "boxes", ticks, [numbers.count(n) for n in range(COUNTED + 1)])
    histograms = result.histograms()
    return [counts, *(it.panel("boxes", HEADINGS[name]) for name, it in histograms.items())]


def _rows(result: DetectResult) -> list[list[str]]:
    heads = ["case", "boxes", *(["highest score"] if result.has_scores else []), "largest box, mL"]
    rows = [[*heads, "note"]]
    for each in result.searched:
        figures = each.to_json()
        keys = ["highest_score", "largest_ml"] if result.has_scores else ["largest_ml"]
        cells = ["-" if figures[key] is None else f"{figures[key]:.3f}" for key in keys]
        rows.append([each.boxes.case, str(figures["boxes"]), *cells, ""])
    blank = ["-"] * (len(heads) - 1)
    return rows + [[name, *blank, why] for name, why in result.failed.items()]
