"""Measure how well anomaly models find labelled lesions."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isnan
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from volseg.data.cases import Case, find_cases
from volseg.data.reading import read_source, source_of
from volseg.data.source import Reading
from volseg.data.volumes import require_same_grid
from volseg.engines import distributed
from volseg.errors import DataError, VolsegError
from volseg.evaluation.anomaly import (
    CaseRanks,
    MapDifference,
    MapResult,
    compare_maps,
    rank_case,
    summarise,
    trivial_maps,
)
from volseg.evaluation.pairs import read_labels
from volseg.inference.anomaly import KINDS, WEIGHTS, Anomaly, AnomalyDetector, top_mean
from volseg.inference.work_list import require_writable
from volseg.workflows.anomaly_pictures import DIFFERENCES, TABLE, draw_case
from volseg.workflows.anomaly_train import only_image
from volseg.workflows.pages import (
    aligned,
    write_result_page,
    write_section,
    write_table,
)
from volseg.workflows.plain import plain
from volseg.workflows.record import recording, write_record

logger = logging.getLogger(__name__)

RESULTS, PAGE = "results.json", "report.html"

SHOWN = 4
"""Cases that the page shows."""

LOST, FULL = 0.01, 0.98
"""Share of a lesion outside the foreground, and of a scan inside, that are worth a note."""


@dataclass(frozen=True)
class AnomalyEvaluation:
    """What was found.

    Args:
        maps: How well each map does.
        differences: Maps of the models, compared with each other.
        cases: Each case, once a run.
        failed: Why a case was not measured.
        output: Folder of the results.
    """

    maps: Mapping[str, MapResult]
    differences: Sequence[MapDifference]
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

    @property
    def notes(self) -> list[str]:
        """Say what makes the figures doubtful."""
        lost = {case.name for case in self.cases if case.lost_share > LOST}
        full = {case.name for case in self.cases if case.foreground_share > FULL}
        notes = []
        if lost:
            notes.append(f"in {len(lost)} cases some of the lesion lies outside the foreground")
        if full:
            notes.append(
                f"in {len(full)} cases nearly every voxel is foreground; where air is noise, set it"
                " to one value"
            )
        return notes

    def rows(self) -> list[list[str]]:
        """Lay the maps out."""
        head = ["map", "AUROC", "average precision", "gain", "AUROC of cases"]
        return [head] + [
            [
                name,
                each.area.text(),
                each.precision.text(),
                each.gain.text(),
                "-" if isnan(each.case_area) else f"{each.case_area:.3f}",
            ]
            for name, each in self.maps.items()
        ]

    def difference_rows(self) -> list[list[str]]:
        """Lay the differences out."""
        head = ["difference", "AUROC", "average precision"]
        return [head] + [
            [f"{each.first} - {each.second}", each.area.text(), each.precision.text()]
            for each in self.differences
        ]

    def __str__(self) -> str:
        """Give the tables."""
        lines = [*aligned(self.rows()), f"average precision by chance: {self.chance:.3f}", ""]
        lines += [*aligned(self.difference_rows()), ""]
        lines += [f"note: {note}" for note in self.notes]
        lines += [f"failed: {name}: {reason}" for name, reason in self.failed.items()]
        return "\n".join([*lines, f"wrote {self.output / PAGE}"])

    def to_json(self) -> dict[str, Any]:
        """Give plain values."""
        return {
            "maps": plain(self.maps),
            "differences": plain(self.differences),
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
        models: What `train_anomaly` has left, one or several; a folder of such runs is one model
            that was trained with other seeds.
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
    if not models:
        raise DataError("no model was given; give one")
    place = distributed.device(device)
    detectors = _load(models, place)
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
                found, strip = _measure(case, detectors, is_shown=len(strips) < SHOWN)
            except VolsegError as error:
                failed[case.name] = str(error)
                logger.warning("failed: %s: %s", case.name, error)
                continue
            ranks += found
            strips += [strip] if strip else []
        result = AnomalyEvaluation(*_judge(ranks, cases, list(detectors)), ranks, failed, folder)
        _write(result, strips, settings)
        record["results"] = {"cases": len(cases) - len(failed), "failed": failed}
    return result


def _load(
    models: Sequence[str | Path], place: torch.device
) -> dict[str, Sequence[AnomalyDetector]]:
    """Load the runs of each model, and name models by their folders."""
    paths = [Path(each) for each in models]
    names = [(path if path.is_dir() else path.parent).name for path in paths]
    if len(set(names)) < len(names):
        names = [f"{name} ({number})" for number, name in enumerate(names, 1)]
    return {
        name: [AnomalyDetector.load(run, place) for run in _runs(path)]
        for name, path in zip(names, paths, strict=True)
    }


def _runs(path: Path) -> list[Path]:
    """Find the runs of a model: the one that lies there, or those in its folders."""
    if (path / WEIGHTS).exists() or not path.is_dir():
        return [path]
    return sorted(each for each in path.iterdir() if (each / WEIGHTS).exists()) or [path]


def _judge(
    ranks: Sequence[CaseRanks], cases: Sequence[Case], models: Sequence[str]
) -> tuple[dict[str, MapResult], list[MapDifference]]:
    if not any(rank.lesion_share for rank in ranks):
        raise DataError(f"none of {len(cases)} cases has a lesion that a map could find")
    groups = {case.name: case.group or case.name for case in cases}
    residual, feature = KINDS
    within = [(f"{name}, {feature}", f"{name}, {residual}") for name in models]
    between = [(f"{models[0]}, {kind}", f"{name}, {kind}") for name in models[1:] for kind in KINDS]
    gaps = compare_maps(ranks, within, groups)
    gaps += compare_maps(ranks, between, groups, is_paired=False)
    return summarise(ranks, groups), gaps


def _measure(
    case: Case, detectors: Mapping[str, Sequence[AnomalyDetector]], *, is_shown: bool
) -> tuple[list[CaseRanks], str]:
    if case.label is None:
        raise DataError(f"{case.name} has no label")
    reading = read_source(source_of(only_image(case)))
    labels, affine = read_labels(case.label)
    require_same_grid(
        (str(only_image(case)), reading.values.shape, reading.affine),
        (str(case.label), labels.shape, affine),
    )
    lesion = labels > 0
    ranks: list[CaseRanks] = []
    strip = ""
    for run in range(max(map(len, detectors.values()))):
        found, maps, scores = _find(reading, detectors, run)
        ranks.append(rank_case(case.name, maps, scores, lesion, found.foreground, run))
        if run == 0 and is_shown and lesion.any():
            strip = draw_case(case.name, found, maps, lesion, reading.affine)
    return ranks, strip


def _find(
    reading: Reading, detectors: Mapping[str, Sequence[AnomalyDetector]], run: int
) -> tuple[Anomaly, dict[str, NDArray[np.float32]], dict[str, float]]:
    """Map an image by one run of each model that has so many; by the intensities in the first."""
    maps: dict[str, NDArray[np.float32]] = {}
    scores: dict[str, float] = {}
    for name, runs in detectors.items():
        if run >= len(runs):
            continue
        found = runs[run].find(reading)
        for kind, chart in found.maps.items():
            maps[f"{name}, {kind}"] = chart
            scores[f"{name}, {kind}"] = found.scores[kind]
    if run == 0:
        for name, values in trivial_maps(found.intensities).items():
            maps[name] = np.asarray(values, np.float32)
            scores[name] = top_mean(values[found.foreground])
    return found, maps, scores


def _write(result: AnomalyEvaluation, strips: Sequence[str], settings: Mapping[str, Any]) -> None:
    facts = {
        "Data": str(settings["data"]),
        "Cases": str(len({case.name for case in result.cases})),
        "Runs of a model": str(1 + max(case.run for case in result.cases)),
        "Chance": f"{result.chance:.3f} (mean share of lesion in the foreground)",
    }
    if result.notes:
        facts["Note"] = "; ".join(result.notes)
    if result.failed:
        facts["Failed"] = ", ".join(result.failed)
    sections = [
        write_section("Maps", "The slice through the lesion; yellow: its label.", *strips),
        write_section("Lesions against maps", TABLE, write_table(result.rows())),
        write_section("Models compared", DIFFERENCES, write_table(result.difference_rows())),
    ]
    write_record(result.output / RESULTS, result.to_json())
    write_result_page(result.output / PAGE, "Anomaly maps", facts, sections)
