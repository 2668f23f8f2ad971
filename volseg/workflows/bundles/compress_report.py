"""The page of a compression: size, speed and Dice beside the dense network, then the layers."""

from collections.abc import Mapping
from math import nan
from pathlib import Path
from typing import Any

from volseg.workflows.bars import Histogram, bars
from volseg.workflows.bundles.compress import FIGURES
from volseg.workflows.charts import Panel, Point, draw_panels
from volseg.workflows.pages import write_result_page, write_section, write_table

KINDS = ("dense", "compressed")

COSTS = (
    "Seconds are CPU seconds for one patch, the median, where it was compressed; machines differ."
    " Dice is the mean over the cases with its 95 % interval."
)
NO_DICE = "Dice was not measured: no labelled cases were given."
LAYERS = "How far the kernel of each layer is from the trained one, as a share of its norm."


def write_report(path: Path, figures: Mapping[str, Any]) -> None:
    """Write the page.

    Args:
        path: The HTML file.
        figures: What stands in the JSON file beside it.
    """
    cases = len(figures["cases"])
    facts = {
        "Bundle": figures["bundle"],
        "Made of": figures["source"],
        "Method": f"{figures['method']}, budget {figures['budget']:g}",
        "Cases": str(cases) if cases else "none",
    }
    said = COSTS if cases else f"{COSTS} {NO_DICE}"
    errors = Histogram.of([each["error"] for each in figures["layers"].values()], (0.0, 1.0))
    chart = draw_panels([errors.panel("layers", "error, share of the norm")], ["layers"])
    sections = [
        write_section("Size, speed and Dice", said, _draw(figures), write_table(_costs(figures))),
        write_section("Layers in factors", LAYERS, chart, write_table(_layers(figures))),
        write_section("Layers that stay whole", "", write_table(_whole(figures))),
    ]
    write_result_page(path, "volseg bundle compress", facts, sections, FIGURES)


def _draw(figures: Mapping[str, Any]) -> str:
    measured = [figures["measured"][kind] for kind in KINDS]
    panels = [bars("parameters, millions", "", KINDS, [m["parameters"] / 1e6 for m in measured])]
    if all(each["seconds"] is not None for each in measured):
        panels.append(
            bars("CPU seconds a patch", "", KINDS, [each["seconds"] for each in measured])
        )
    for name in measured[0]["dice"]:
        points = [_point(each["dice"][name]) for each in measured]
        panel = Panel(f"Dice, {name}", "", KINDS, [points], is_joined=False, is_bars=True)
        panels.append(panel)
    return draw_panels(panels, ["network"])


def _point(score: Mapping[str, Any]) -> Point:
    mean, low, high = (nan if score[k] is None else score[k] for k in ("mean", "low", "high"))
    return Point(mean, low, high)


def _costs(figures: Mapping[str, Any]) -> list[list[str]]:
    names = list(figures["measured"]["dense"]["dice"])
    rows = [["network", "parameters", "CPU seconds a patch", *(f"Dice, {name}" for name in names)]]
    for kind in KINDS:
        each = figures["measured"][kind]
        seconds = "-" if each["seconds"] is None else f"{each['seconds']:.4f}"
        scores = [_interval(each["dice"][name]) for name in names]
        rows.append([kind, str(each["parameters"]), seconds, *scores])
    if figures["narrow"] is not None:
        row = ["narrow, dense, not trained", str(figures["narrow_parameters"]), "-"]
        rows.append([*row, *["-"] * len(names)])
    return rows


def _interval(score: Mapping[str, Any]) -> str:
    if score["mean"] is None:
        return "-"
    ends = "" if score["low"] is None else f" [{score['low']:.3f}, {score['high']:.3f}]"
    return f"{score['mean']:.3f}{ends}"


def _layers(figures: Mapping[str, Any]) -> list[list[str]]:
    rows = [["layer", "ranks", "error"]]
    for name, layer in figures["layers"].items():
        rows.append([name, ", ".join(map(str, layer["ranks"])), f"{layer['error']:.4f}"])
    return rows


def _whole(figures: Mapping[str, Any]) -> list[list[str]]:
    return [["layer", "why"], *([name, str(why)] for name, why in figures["whole"].items())]
