"""The page of an extent of resection: cavity and tumour on the scan, then the volumes."""

from math import nan
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from volseg.data.scan import Scan
from volseg.workflows.bars import above
from volseg.workflows.charts import Panel, Point, draw_panels
from volseg.workflows.extent import PAGE, RESULT, Result
from volseg.workflows.pages import write_result_page, write_section, write_strip, write_table
from volseg.workflows.slices import draw_shots, read_under

CAVITY, RESECTED, RESIDUAL = 1, 2, 3

COLOURS = {CAVITY: "#2ec4ff", RESECTED: "#7ae582", RESIDUAL: "#ff5d8f"}

LEGEND = (
    "Blue: cavity; green: tumour that lies in it; red: tumour that remains. Voxels that the tumour"
    " fills by half or more are drawn, through the largest part of all that is marked."
)
VOLUMES = "The line on the residual volume holds 95 % of the draws."


def write_report(
    result: Result, post: Path | None, cavity: Scan, fractions: NDArray[np.floating]
) -> None:
    """Write the page.

    Args:
        result: What was found.
        post: The postoperative scan; `None` if it was not given.
        cavity: Mask of the cavity.
        fractions: How much of each voxel is tumour, on the grid of the cavity.
    """
    found = result.to_json()
    is_tumour = fractions >= 0.5
    labels = np.where(cavity.values, CAVITY, 0).astype(np.uint8)
    labels[is_tumour] = RESIDUAL
    labels[is_tumour & cavity.values] = RESECTED
    values, note = read_under(post, labels, cavity.affine)
    strip = write_strip(note, draw_shots(values, labels, cavity.affine, COLOURS))
    low, high = found["extent_interval_percent"]
    facts = {"Extent of resection": f"{found['extent_percent']:.2f} % ({low:.2f} to {high:.2f} %)"}
    for number, warning in enumerate(found["warnings"], start=1):
        facts[f"Warning {number}"] = warning
    sections = [
        write_section("Cavity and tumour", LEGEND, strip),
        write_section("Volumes", VOLUMES, _draw(found), write_table(_rows(found))),
    ]
    write_result_page(result.output / PAGE, "volseg extent", facts, sections, RESULT)


def _draw(found: dict[str, Any]) -> str:
    names = ["tumour", "resected", "residual", "cavity"]
    heights = [found[f"{name}_ml"] for name in names]
    ends = {"residual": found["residual_interval_ml"]}
    points = [
        Point(height, *ends.get(name, (nan, nan)))
        for name, height in zip(names, heights, strict=True)
    ]
    top = above(max(*heights, *ends["residual"]))
    panel = Panel("mL", "", names, [points], (0.0, top), is_joined=False, is_bars=True)
    return draw_panels([panel], ["mL"])


def _rows(found: dict[str, Any]) -> list[list[str]]:
    least, most = found["residual_interval_ml"]
    rows = [["", "mL", "95 % of the draws"]]
    for name in ("tumour", "cavity", "resected", "residual", "outside"):
        said = f"{least:.4f} to {most:.4f}" if name == "residual" else ""
        title = "tumour outside the scan" if name == "outside" else name
        rows.append([title, f"{found[f'{name}_ml']:.4f}", said])
    return rows
