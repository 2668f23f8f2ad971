"""Draw the curves of a robustness run for the gallery.

volseg robustness hippocampus_segmentation --data Task04_Hippocampus --output OUT
python -m tests.benchmarks.robustness_gallery OUT docs/images/robustness.svg
"""

import argparse
import json
from math import nan
from pathlib import Path

from volseg.evaluation.intervals import Interval
from volseg.evaluation.outcomes import Condition
from volseg.evaluation.repeatability import Agreement
from volseg.evaluation.robustness import Effect
from volseg.evaluation.shifts.ladder import SHIFTS
from volseg.workflows.charts import draw_panels
from volseg.workflows.robustness_page import shift_panels

INTERVALS = ("dice", "surface_dice", "drop", "surface_drop")


def numbers(values):
    """Put `nan` where JSON has null."""
    return {key: nan if value is None else value for key, value in values.items()}


def read_effects(folder: Path) -> list[Effect]:
    """Read the effects of a run."""
    said = json.loads((folder / "results.json").read_text())
    return [
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


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--lowest", type=float, default=0.6)
    args = parser.parse_args()
    effects = read_effects(args.folder)
    tried = {each.condition.shift for each in effects}
    shifts = [shift for shift in SHIFTS if shift.name in tried]
    panels = shift_panels(shifts, effects, 1, args.lowest)
    args.picture.write_text(draw_panels(panels, ["Dice"], background="#ffffff"))
