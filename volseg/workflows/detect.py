"""Put boxes around lesions, in scans by a network, or in masks."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from volseg.bundle import Bundle
from volseg.data.box_tables import (
    LINES,
    TABLE,
    ScanBoxes,
    append_boxes,
    native_boxes,
    native_grid,
)
from volseg.data.cases import Case, find_cases, items
from volseg.data.geometry import Grid
from volseg.data.volumes import ENDINGS
from volseg.engines import distributed
from volseg.errors import BundleError, DataError, VolsegError
from volseg.evaluation.pairs import read_labels
from volseg.inference.work_list import require_writable
from volseg.networks.detector import Detector
from volseg.networks.weights import load_segmenter
from volseg.transforms.boxes import find_boxes
from volseg.workflows.bars import Histogram
from volseg.workflows.record import recording

logger = logging.getLogger(__name__)

RESULTS, PAGE = "results.json", "report.html"

Finder = Callable[[Case], ScanBoxes]
"""Finds the boxes of a case."""


@dataclass(frozen=True)
class Searched:
    """A case that was searched.

    Args:
        boxes: What was found in it.
        image: What it was found in.
    """

    boxes: ScanBoxes
    image: Path

    @property
    def best(self) -> float | None:
        """Give the highest score; `None` if there is no box."""
        return float(self.boxes.scores.max()) if len(self.boxes.scores) else None

    @property
    def volumes_ml(self) -> NDArray[np.float64]:
        """Give the volume of each box."""
        edges = self.boxes.boxes[:, 3:] - self.boxes.boxes[:, :3]
        voxel = abs(float(np.linalg.det(self.boxes.grid.matrix()[:3, :3]))) / 1000
        return np.asarray(edges.prod(axis=1) * voxel, np.float64)

    @property
    def longest_mm(self) -> NDArray[np.float64]:
        """Give the longest edge of each box."""
        edges = self.boxes.boxes[:, 3:] - self.boxes.boxes[:, :3]
        spacing = np.linalg.norm(self.boxes.grid.matrix()[:3, :3], axis=0)
        return np.asarray((edges * spacing).max(axis=1), np.float64)

    def to_json(self) -> dict[str, Any]:
        """Give plain values."""
        largest = float(self.volumes_ml.max()) if len(self.boxes.boxes) else None
        return {"boxes": len(self.boxes.boxes), "highest_score": self.best, "largest_ml": largest}


@dataclass(frozen=True)
class DetectResult:
    """What was found.

    Args:
        searched: The cases.
        failed: Why a case was not searched, by name.
        output: Folder of the tables and the page.
        has_scores: Whether a network has given scores; boxes of masks have none.
    """

    searched: Sequence[Searched]
    failed: Mapping[str, str]
    output: Path
    has_scores: bool

    @property
    def boxes(self) -> dict[str, int]:
        """Count the boxes of each case."""
        return {each.boxes.case: len(each.boxes.boxes) for each in self.searched}

    @property
    def is_complete(self) -> bool:
        """Whether every case was searched."""
        return not self.failed

    def histograms(self) -> dict[str, Histogram]:
        """Count the boxes by score, if they have some, and by their longest edge."""
        longest = [value for each in self.searched for value in each.longest_mm.tolist()]
        found = {"longest_edge_mm": Histogram.of(longest, (0.0, max(longest, default=1.0)))}
        if self.has_scores:
            scores = [value for each in self.searched for value in each.boxes.scores.tolist()]
            found = {"score": Histogram.of(scores, (0.0, 1.0)), **found}
        return found

    def to_json(self) -> dict[str, Any]:
        """Give everything but the single boxes as plain values."""
        return {
            "boxes": self.boxes,
            "cases": {each.boxes.case: each.to_json() for each in self.searched},
            "histograms": {name: each.to_json() for name, each in self.histograms().items()},
            "failed": dict(self.failed),
            "output": str(self.output),
        }

    def __str__(self) -> str:
        """Count the boxes."""
        total = sum(self.boxes.values())
        lines = [f"{total} boxes in {len(self.searched)} cases"]
        lines += [f"failed: {name}: {reason}" for name, reason in self.failed.items()]
        written = ", ".join(str(self.output / name) for name in (TABLE, LINES, PAGE))
        return "\n".join([*lines, f"wrote {written}"])


def detect(
    source: str | Path,
    bundle: str | Path | Bundle,
    output: str | Path,
    *,
    device: str = "auto",
    overrides: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> DetectResult:
    """Find lesions in scans with a trained detector.

    Args:
        source: What `volseg.data.cases.find_cases` takes, one image a case.
        bundle: The folder of a training, or another bundle with weights that detects.
        output: Folder of ``boxes.csv`` (one line a box), ``boxes.jsonl`` (one line a scan),
            ``report.html``, its figures ``results.json``, and ``run.json``.
        device: Where the network runs.
        overrides: Values of its ``inference.json`` to change, by key.
        overwrite: Whether tables that are there may be replaced.

    Returns:
        How many boxes there are in each scan; one that fails is reported, and the rest go on.

    Raises:
        BundleError: If the bundle does not detect.
    """
    found = Bundle.find(bundle)
    place = distributed.device(device)
    config = found.config("inference", {**(overrides or {}), "device": str(place)})
    network = config.get_parsed_content("network_def")
    if not isinstance(network, Detector):
        raise BundleError(f"bundle {found.name} makes a {type(network).__name__}; use a detector's")
    weights = found.weights()
    load_segmenter(network, weights)
    network.to(place).eval()
    preprocessing = config.get_parsed_content("preprocessing")
    inferer = config.get_parsed_content("inferer")

    def find(case: Case) -> ScanBoxes:
        (item,) = items([case], with_labels=False)
        image = preprocessing(item)["image"]
        with torch.no_grad():
            pred = inferer(image[None].as_subclass(torch.Tensor).to(place), network)[0]
        return native_boxes(pred.cpu(), image.affine, case.name, native_grid(image))

    names = [str(name) for name in config.get()["classes"]]
    settings = {"bundle": str(found.root), "overrides": dict(overrides or {})}
    cases = find_cases(source)
    folder = Path(output)
    _make_room(folder, overwrite=overwrite)
    with recording(folder, "detect", settings, [weights], place) as record:
        result = _write(folder, cases, find, names)
        _write_page(result)
        record["results"] = {"searched": len(result.searched), "failed": len(result.failed)}
    return result


def boxes_of_masks(
    source: str | Path,
    output: str | Path,
    *,
    least_ml: float = 0.0,
    overwrite: bool = False,
) -> DetectResult:
    """Put a box around each connected part of each label value of masks.

    Args:
        source: A mask, a folder of masks, or a data set whose labels are the masks.
        output: As for `detect`; the score of every box is 1.
        least_ml: Smaller parts are left out, in mL.
        overwrite: Whether tables that are there may be replaced.

    Returns:
        How many boxes there are in each mask.
    """

    def find(case: Case) -> ScanBoxes:
        path = case.images[0] if case.label is None else case.label
        if not path.name.endswith(ENDINGS):
            raise DataError(f"{path} is no NIfTI file")
        labels, affine = read_labels(path)
        voxel_ml = abs(float(np.linalg.det(affine[:3, :3]))) / 1000
        boxes, classes = find_boxes(labels, int(labels.max(initial=0)) + 1, least_ml / voxel_ml)
        grid = Grid(labels.shape, affine)
        return ScanBoxes(case.name, grid, boxes.astype(float), np.ones(len(boxes)), classes + 1)

    cases, folder = find_cases(source), Path(output)
    _make_room(folder, overwrite=overwrite)
    with recording(folder, "detect", {"masks": str(source), "least_ml": least_ml}) as record:
        result = _write(folder, cases, find)
        _write_page(result)
        record["results"] = {"searched": len(result.searched), "failed": len(result.failed)}
    return result


def _make_room(folder: Path, *, overwrite: bool) -> None:
    """See that the tables can be begun."""
    names = (TABLE, LINES, RESULTS, PAGE)
    if there := [folder / name for name in names if (folder / name).exists()]:
        if not overwrite:
            raise DataError(f"{there[0]} exists already; use another output or --overwrite")
        for path in there:
            path.unlink()
    require_writable(folder)


def _write(
    folder: Path, cases: Sequence[Case], find: Finder, names: Sequence[str] | None = None
) -> DetectResult:
    """Write the boxes of each case; without names, classes are called by their values."""
    searched: list[Searched] = []
    failed: dict[str, str] = {}
    for case in cases:
        try:
            found = find(case)
        except VolsegError as error:
            failed[case.name] = str(error)
            logger.warning("failed: %s: %s", case.name, error)
            continue
        highest = int(found.classes.max(initial=0))
        append_boxes(folder, found, names or [str(value) for value in range(highest + 1)])
        searched.append(Searched(found, case.images[0]))
    if not searched:
        raise DataError(f"no case can be used, such as: {next(iter(failed.values()))}")
    return DetectResult(searched, failed, folder, names is not None)


def _write_page(result: DetectResult) -> None:
    from volseg.workflows.detect_report import write_report

    write_report(result)
