"""The page of a label-efficiency curve."""

from pathlib import Path

from matplotlib.figure import Figure

from volseg.workflows.label_curve import CurveResult
from volseg.workflows.page import Section, Table, write_page
from volseg.workflows.probe_pictures import png


def write_report(path: Path, result: CurveResult) -> None:
    """Write the page.

    Args:
        path: The HTML file.
        result: What was found.
    """
    seeds = len({run.seed for run in result.runs})
    lead = (
        f"{len(result.runs)} trainings with {seeds} seed(s); all arms have the same cases and"
        " schedule, and but for the longer one, which has those of both stages, the same steps. The"
        " last weights are scored on all validation cases. Intervals (95 %) are over runs and"
        " patients."
    )
    runs = [
        [run.arm, str(run.cases), str(run.seed), str(run.steps), f"{run.seconds:.0f}",
         f"{sum(run.means().values()) / len(run.dice):.4f}"]
        for run in result.runs
    ]  # fmt: skip
    caption = "Bars are intervals, dots single runs."
    heads = ["arm", "cases", "seed", "steps", "seconds", "Dice"]
    sections = [
        Section("Curve", "", _draw(result), caption, result.table()),
        Section("Runs", table=Table(heads, runs)),
    ]
    write_page(path, "volseg finetune --cases", lead, sections)


def _draw(result: CurveResult) -> bytes:
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for arm in dict.fromkeys(point.arm for point in result.points):
        here = [point for point in result.points if point.arm == arm]
        numbers = [point.cases for point in here]
        low = [point.dice.mean - point.dice.low for point in here]
        high = [point.dice.high - point.dice.mean for point in here]
        means = [point.dice.mean for point in here]
        line = axes.errorbar(numbers, means, [low, high], marker="o", capsize=4, label=arm)
        runs = [run for run in result.runs if run.arm == arm]
        values = [sum(run.means().values()) / len(run.dice) for run in runs]
        colour = line.lines[0].get_color()
        axes.scatter([run.cases for run in runs], values, s=10, color=colour, alpha=0.5)
    axes.set_xscale("log")
    axes.set(xlabel="labelled cases", ylabel="mean Dice of the validation cases")
    axes.grid(alpha=0.3)
    axes.legend()
    return png(figure)
