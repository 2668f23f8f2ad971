"""Measure how well anomaly models find labelled lesions."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isnan
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from volseg.data.cases import Case, find_cases
from volseg.data.reading import read_source, source_of
from volseg.data.volumes import require_same_grid
from volseg.engines import distributed
from volseg.errors import DataError, VolsegError
from volseg.evaluation.anomaly import CaseRanks, MapResult, rank_case, summarise, trivial_maps
from volseg.evaluation.intervals import Interval
from volseg.evaluation.pairs import read_labels
from volseg.inference.anomaly import Anomaly, AnomalyDetector, top_mean
from volseg.inference.gallery.planes import draw_planes
from volseg.inference.gallery.scan import find_focus, turn_upright
from volseg.inference.gallery.window import find_window
from volseg.inference.work_list import require_writable
from volseg.workflows.anomaly_train import only_image
from volseg.workflows.pages import (
    Shot,
    write_result_page,
    write_section,
    write_strip,
    write_table,
)
from volseg.workflows.plain import plain
from volseg.workflows.record import recording, write_record

logger = logging.getLogger(__name__)

RESULTS, PAGE = "results.json", "report.html"

SHOWN = 4
"""Cases that the page shows."""

PIXELS, BYTES = 280, 60_000

TABLE = (
    "Voxels of each case ranked within its foreground; no threshold is chosen. Means over cases"
    " with 95 % intervals. The last three maps need no training; the gain is against the best of"
    " them, which was chosen on these cases."
)


@dataclass(frozen=True)
class AnomalyEvaluation:
    """What was found.

    Args:
        maps: How well each map does.
        cases: Each case.
        failed: Why a case was not measured.
        output: Folder of the results.
    """

    maps: Mapping[str, MapResult]
    cases: Sequence[CaseRanks]
    failed: Mapping[str, str]
    output: Path

    @property
    def is_complete(self) -> bool:
        """Whether every case was measured."""
        return not self.failed

    @property
    def chance(self) -> float:
        """Mean share of lesion, which is the average precision of a map that knows nothing."""
        return float(np.mean([case.lesion_share for case in self.cases if case.lesion_share]))

    def rows(self) -> list[list[str]]:
        """Lay the maps out."""
        head = ["map", "AUROC", "average precision", "gain", "AUROC of cases"]
        return [head] + [
            [
                name,
                _interval(each.area),
                _interval(each.precision),
                _interval(each.gain),
                "-" if isnan(each.case_area) else f"{each.case_area:.3f}",
            ]
            for name, each in self.maps.items()
        ]

    def __str__(self) -> str:
        """Give the table."""
        rows = self.rows()
        widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        ]
        lines.append(f"average precision by chance: {self.chance:.3f}")
        lines += [f"failed: {name}: {reason}" for name, reason in self.failed.items()]
        return "\n".join([*lines, f"wrote {self.output / PAGE}"])

    def to_json(self) -> dict[str, Any]:
        """Give plain values."""
        return {
            "maps": plain(self.maps),
            "chance": self.chance,
            "cases": plain(self.cases),
            "failed": dict(self.failed),
            "output": str(self.output),
        }


def evaluate_anomaly(
    data: str | Path,
    models: Sequence[str | Path],
    output: str | Path,
    *,
    device: str = "auto",
    overwrite: bool = False,
    progress: bool = False,
) -> AnomalyEvaluation:
    """Compare anomaly models with labelled lesions, and with the intensities alone.

    Args:
        data: What `find_cases` takes, with labels; all but 0 is lesion. A case whose label is
            empty is normal.
        models: What `train_anomaly` has left, one or several.
        output: Folder of ``results.json``, ``report.html`` and ``run.json``.
        device: Where the networks run.
        overwrite: Whether results that are there already may be replaced.
        progress: Whether to draw a bar on stderr.

    Returns:
        Areas under the curves, with intervals.

    Raises:
        DataError: If there is no lesion, or results are there already.
    """
    folder = Path(output)
    if (folder / RESULTS).exists() and not overwrite:
        raise DataError(f"{folder / RESULTS} exists; allow overwriting or use another output")
    place = distributed.device(device)
    detectors = {name: AnomalyDetector.load(path, place) for name, path in _named(models).items()}
    cases = [case for case in find_cases(data) if case.label is not None]
    if not cases:
        raise DataError(f"{data} holds no labelled case; lesions must be labelled")
    require_writable(folder)
    ranks: list[CaseRanks] = []
    strips: list[str] = []
    failed: dict[str, str] = {}
    inputs = [path for case in cases for path in case.files]
    settings = {"data": str(data), "models": [str(each) for each in models]}
    with recording(folder, "anomaly evaluate", settings, inputs, place) as record:
        for case in tqdm(cases, desc="anomaly", unit="case", disable=not progress):
            try:
                rank, strip = _measure(case, detectors, is_shown=len(strips) < SHOWN)
            except VolsegError as error:
                failed[case.name] = str(error)
                logger.warning("failed: %s: %s", case.name, error)
                continue
            ranks.append(rank)
            strips += [strip] if strip else []
        if not any(rank.lesion_share for rank in ranks):
            raise DataError(f"{data} holds no lesion that a map could find")
        groups = {case.name: case.group or case.name for case in cases}
        result = AnomalyEvaluation(summarise(ranks, groups), ranks, failed, folder)
        _write(result, strips, settings)
        record["results"] = {"cases": len(ranks), "failed": failed}
    return result


def _named(models: Sequence[str | Path]) -> dict[str, Path]:
    """Name models by their folders."""
    paths = [Path(each) for each in models]
    names = [(path if path.is_dir() else path.parent).name for path in paths]
    if len(set(names)) < len(names):
        names = [f"{name} ({number})" for number, name in enumerate(names, 1)]
    return dict(zip(names, paths, strict=True))


def _measure(
    case: Case, detectors: Mapping[str, AnomalyDetector], *, is_shown: bool
) -> tuple[CaseRanks, str]:
    if case.label is None:
        raise DataError(f"{case.name} has no label")
    reading = read_source(source_of(only_image(case)))
    labels, affine = read_labels(case.label)
    require_same_grid(
        (str(only_image(case)), reading.values.shape, reading.affine),
        (str(case.label), labels.shape, affine),
    )
    maps: dict[str, NDArray[np.float32]] = {}
    scores: dict[str, float] = {}
    found: Anomaly | None = None
    for name, detector in detectors.items():
        found = detector.find(reading)
        for kind, chart in found.maps.items():
            maps[f"{name}, {kind}"] = chart
            scores[f"{name}, {kind}"] = found.scores[kind]
    if found is None:
        raise DataError("no model was given; give one")
    for name, values in trivial_maps(found.intensities).items():
        maps[name] = np.asarray(values, np.float32)
        scores[name] = top_mean(values[found.foreground])
    lesion = labels > 0
    ranks = rank_case(case.name, maps, scores, lesion, found.foreground)
    strip = _draw(case.name, found, maps, lesion, reading.affine) if is_shown else ""
    return ranks, strip if lesion.any() else ""


def _draw(name: str, found: Anomaly, maps: Mapping[str, Any], lesion: Any, affine: Any) -> str:
    """Draw the slice through the lesion, and each map there with the lesion's outline."""
    shots = []
    for caption, chart in {"image": found.intensities, **maps}.items():
        scan = turn_upright(np.where(found.foreground, chart, 0), lesion, affine)
        focus = find_focus(scan)
        colours = {1: "#f2d13d"}
        window = find_window(scan, focus)
        plane = draw_planes(scan, focus, window, colours, PIXELS, BYTES)[0]
        shots.append(Shot(caption, plane.image, plane.mask if caption == "image" else b""))
    return write_strip(name, shots)


def _write(result: AnomalyEvaluation, strips: Sequence[str], settings: Mapping[str, Any]) -> None:
    facts = {
        "Data": str(settings["data"]),
        "Cases": str(len(result.cases)),
        "Chance": f"{result.chance:.3f} (mean share of lesion in the foreground)",
    }
    lost = [case for case in result.cases if case.lost_share > 0.01]
    if lost:
        facts["Note"] = f"in {len(lost)} cases some of the lesion lies outside the foreground"
    if result.failed:
        facts["Failed"] = ", ".join(result.failed)
    sections = [
        write_section("Maps", "The slice through the lesion; yellow: its label.", *strips),
        write_section("Lesions against maps", TABLE, write_table(result.rows())),
    ]
    write_record(result.output / RESULTS, result.to_json())
    write_result_page(result.output / PAGE, "Anomaly maps", facts, sections)


def _interval(interval: Interval) -> str:
    if isnan(interval.mean):
        return "-"
    ends = "" if isnan(interval.low) else f" [{interval.low:.3f}, {interval.high:.3f}]"
    return f"{interval.mean:.3f}{ends}"
