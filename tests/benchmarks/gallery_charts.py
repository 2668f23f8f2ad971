"""Draw the charts of the docs gallery from the figures that the verbs leave in JSON.

python -m tests.benchmarks.gallery_charts robustness OUT docs/images/robustness.svg --lowest 0.6
python -m tests.benchmarks.gallery_charts anomaly RESECTIONS GLIOMAS docs/images/anomaly.svg
python -m tests.benchmarks.gallery_charts probe OUT docs/images/probe.svg
python -m tests.benchmarks.gallery_charts curve OUT docs/images/label_curve.svg --lowest 0.6
python -m tests.benchmarks.gallery_charts calibration OUT OUT2 docs/images/calibration.svg

No picture shows a slice: charts alone may be shown, whatever the licence of the images.
"""

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from math import nan
from pathlib import Path
from typing import Any

from volseg.evaluation.intervals import Interval
from volseg.evaluation.outcomes import Condition
from volseg.evaluation.repeatability import Agreement
from volseg.evaluation.robustness import Effect
from volseg.evaluation.shifts.ladder import SHIFTS
from volseg.workflows.charts import Panel, Point, draw_panels
from volseg.workflows.robustness_page import shift_panels

INTERVALS = ("dice", "surface_dice", "drop", "surface_drop")

NOWHERE = Point(nan, nan, nan)

Chart = tuple[list[Panel], list[str]]
"""Panels, and the names of their series."""


def numbers(values: Mapping[str, Any]) -> dict[str, Any]:
    """Put `nan` where JSON has null."""
    return {key: nan if value is None else value for key, value in values.items()}


def point(interval: Mapping[str, Any]) -> Point:
    """Take a mean and the ends of its interval."""
    known = numbers(interval)
    return Point(known["mean"], known["low"], known["high"])


def robustness(folders: Sequence[Path], lowest: float) -> Chart:
    """Draw Dice under each shift."""
    said = json.loads((folders[0] / "results.json").read_text())
    effects = [
        Effect(
            each["arm"],
            Condition(**each["condition"]),
            *(Interval(**numbers(each[name])) for name in INTERVALS),
            quartiles=tuple(each["quartiles"]),
            failures=each["failures"],
            volumes={name: Agreement(**numbers(v)) for name, v in each["volumes"].items()},
        )
        for each in said["effects"]
    ]
    tried = {each.condition.shift for each in effects}
    shifts = [shift for shift in SHIFTS if shift.name in tried]
    return shift_panels(shifts, effects, len(said["arms"]), lowest), list(said["arms"])


def anomaly(folders: Sequence[Path], lowest: float) -> Chart:
    """Draw the area under the ROC curve of each map: of the models, and of the intensities."""
    names: list[str] = []
    panels = []
    for folder in folders:
        maps = json.loads((folder / "results.json").read_text())["maps"]
        models = list(dict.fromkeys(key.rpartition(", ")[0] for key in maps if ", " in key))
        trivial = [key for key in maps if ", " not in key]
        names = [*models, "no training"]
        ticks = ["residual", "feature", *trivial]
        series = [
            [point(maps[f"{model}, {kind}"]["area"]) for kind in ticks[:2]]
            + [NOWHERE] * len(trivial)
            for model in models
        ]
        series.append([NOWHERE] * 2 + [point(maps[key]["area"]) for key in trivial])
        title = f"AUROC, {folder.name}"
        panels.append(Panel(title, "map", ticks, series, (lowest, 1.0), is_joined=False))
    return panels, names


def probe(folders: Sequence[Path], lowest: float) -> Chart:
    """Draw the scores of each encoder."""
    said = json.loads((folders[0] / "results.json").read_text())["encoders"]
    panels = [
        Panel(
            score,
            "encoder",
            [each["name"] for each in said],
            [[point(each["scores"][score]) for each in said]],
            (lowest, 1.0),
            is_joined=False,
        )
        for score in ("linear balanced accuracy", "mAP", "recall@1")
    ]
    return panels, ["score"]


def curve(folders: Sequence[Path], lowest: float) -> Chart:
    """Draw Dice against the number of labelled cases."""
    points = json.loads((folders[0] / "curve.json").read_text())["points"]
    arms = list(dict.fromkeys(each["arm"] for each in points))
    counts = sorted({each["cases"] for each in points})
    found = {(each["arm"], each["cases"]): point(each["dice"]) for each in points}
    series = [[found[arm, count] for count in counts] for arm in arms]
    ticks = [str(count) for count in counts]
    return [Panel("mean Dice", "labelled cases", ticks, series, (lowest, 1.0))], arms


def calibration(folders: Sequence[Path], lowest: float) -> Chart:
    """Draw accuracy against confidence, as it is and mended."""
    panels = []
    for folder in folders:
        said = json.loads((folder / "calibration.json").read_text())
        bins = {round(b["confidence"], 2): b["accuracy"] for b in said["bins"] if b["share"] > 0}
        ticks = [f"{confidence:g}" for confidence in bins]
        right = [Point(value, nan, nan) for value in bins.values()]
        ideal = [Point(confidence, nan, nan) for confidence in bins]
        title = f"accuracy, {folder.name}"
        panels.append(Panel(title, "mean confidence", ticks, [right, ideal], (lowest, 1.0)))
    return panels, ["as it is", "ideal"]


CHARTS: Mapping[str, Callable[[Sequence[Path], float], Chart]] = {
    each.__name__: each for each in (robustness, anomaly, probe, curve, calibration)
}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("chart", choices=list(CHARTS))
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--lowest", type=float, default=0.0)
    args = parser.parse_args()
    panels, names = CHARTS[args.chart](args.folders, args.lowest)
    args.picture.write_text(draw_panels(panels, names, background="#ffffff") + "\n")
