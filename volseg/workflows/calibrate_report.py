"""The page of a calibration: pictures first, then the figures."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from volseg.evaluation.uncertainty.calibration import Bin
from volseg.evaluation.uncertainty.cases import uncertainty_of
from volseg.workflows.calibrate import CalibrationResult
from volseg.workflows.page import Section, Table, write_page
from volseg.workflows.probe_pictures import png

SHOWN = 20


def write_report(path: Path, result: CalibrationResult) -> None:
    """Write the page.

    Args:
        path: The HTML file.
        result: What was found.
    """
    lead = (
        "Whether the network is right as often as it is sure (voxels near a predicted or true"
        " structure), and whether the cases of which it is least sure are its worst."
    )
    ordered = sorted(result.cases, key=lambda case: -uncertainty_of(case.certainty))
    rows = [
        [case.name, f"{uncertainty_of(case.certainty):.3f}", f"{1 - case.dice:.3f}"]
        for case in ordered[:SHOWN]
    ]
    sections = [
        Section(
            "Confidence and accuracy",
            "",
            _draw_bins({"as it is": result.bins[0], "with a temperature": result.bins[1]}),
            "On the line the network is right as often as it is sure; below it is too sure. The"
            " size of a dot is the share of voxels.",
            result.table(),
        ),
        Section(
            "Risk and coverage",
            "If the least sure cases go to a person, how large is the error of those that stay?",
            _draw_risk(result),
            "Left: mean error of the surest cases. Right: uncertainty and error of each case.",
        ),
        Section("Least sure", table=Table(["case", "uncertainty", "error"], rows)),
    ]
    write_page(path, "volseg calibrate", lead, sections)


def _draw_bins(kinds: dict[str, Sequence[Bin]]) -> bytes:
    figure = Figure(figsize=(4 * len(kinds), 4), layout="constrained")
    for axes, (name, bins) in zip(figure.subplots(1, len(kinds)), kinds.items(), strict=True):
        axes.plot([0, 1], [0, 1], color="#444", linestyle=":")
        confidence, accuracy = [b.confidence for b in bins], [b.accuracy for b in bins]
        axes.plot(confidence, accuracy, color="#1f77b4", alpha=0.5)
        axes.scatter(confidence, accuracy, s=[10 + 300 * b.share for b in bins], color="#1f77b4")
        axes.set(title=name, xlabel="confidence", ylabel="accuracy", xlim=(0, 1), ylim=(0, 1))
        axes.grid(alpha=0.3)
    return png(figure)


def _draw_risk(result: CalibrationResult) -> bytes:
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot(result.risk.coverage, result.risk.risk, label="by uncertainty")
    left.axhline(result.risk.random, color="#444", linestyle=":", label="by chance")
    left.set(xlabel="share of cases that stay", ylabel="mean 1 - Dice")
    left.set_ylim(bottom=0)
    left.legend()
    unsure = [uncertainty_of(case.certainty) for case in result.cases]
    right.scatter(unsure, [1 - case.dice for case in result.cases], s=14)
    right.set(xlabel="uncertainty (1 - expected Dice)", ylabel="1 - Dice")
    for axes in (left, right):
        axes.grid(alpha=0.3)
    return png(figure)
