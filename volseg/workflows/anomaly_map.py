"""Map what is unusual in scans."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from volseg.data.geometry import save_whole, with_space_of
from volseg.data.listing.find import find_scans
from volseg.data.reading import read_source
from volseg.data.source import Reading
from volseg.engines import distributed
from volseg.errors import DataError, VolsegError
from volseg.inference.anomaly import WEIGHTS, AnomalyDetector
from volseg.inference.work_list import require_writable
from volseg.workflows.record import recording, write_record

logger = logging.getLogger(__name__)

SCORES = "scores.json"


@dataclass(frozen=True)
class AnomalyMaps:
    """What was mapped.

    Args:
        scores: Score of each scan, by kind.
        failed: Why a scan was not mapped.
        output: Folder of the maps.
    """

    scores: Mapping[str, Mapping[str, float]]
    failed: Mapping[str, str]
    output: Path

    @property
    def is_complete(self) -> bool:
        """Whether every scan was mapped."""
        return not self.failed

    def __str__(self) -> str:
        """Give the scores, the most unusual scan first."""
        ranked = sorted(self.scores.items(), key=lambda item: -item[1]["feature"])
        lines = [
            f"{name}: " + ", ".join(f"{kind} {score:.3f}" for kind, score in scores.items())
            for name, scores in ranked
        ]
        lines += [f"failed: {name}: {reason}" for name, reason in self.failed.items()]
        return "\n".join([*lines, f"wrote {self.output}"])

    def to_json(self) -> dict[str, Any]:
        """Give plain values."""
        scores = {name: dict(each) for name, each in self.scores.items()}
        return {"scores": scores, "failed": dict(self.failed), "output": str(self.output)}


def map_anomaly(
    inputs: Sequence[str | Path],
    model: str | Path,
    output: str | Path,
    *,
    device: str = "auto",
    overwrite: bool = False,
) -> AnomalyMaps:
    """Map what is unusual in scans, each on its own grid.

    Args:
        inputs: What `find_scans` takes.
        model: What `train_anomaly` has left.
        output: Folder of the maps, ``NAME_residual.nii.gz`` and ``NAME_feature.nii.gz``, and of
            ``scores.json``. A score has no unit: compare scans, not a scan with a limit.
        device: Where the network runs.
        overwrite: Whether maps that are there already may be replaced.

    Returns:
        The scores.

    Raises:
        DataError: If maps are there already.
    """
    folder, run = Path(output), Path(model)
    if (folder / SCORES).exists() and not overwrite:
        raise DataError(f"{folder / SCORES} exists; allow overwriting or use another output")
    place = distributed.device(device)
    detector = AnomalyDetector.load(run, place)
    cases = find_scans([Path(each) for each in inputs])
    require_writable(folder)
    scores: dict[str, Mapping[str, float]] = {}
    failed: dict[str, str] = {}
    weights = run / WEIGHTS if run.is_dir() else run
    with recording(folder, "anomaly map", {"model": str(run)}, [weights], place) as record:
        for case in cases:
            try:
                if case.reason is not None or len(case.sources) != 1:
                    raise DataError(case.reason or f"{case.name} has several channels; give one")
                reading = read_source(next(iter(case.sources.values())))
                found = detector.find(reading)
            except VolsegError as error:
                failed[case.name] = str(error)
                logger.warning("failed: %s: %s", case.name, error)
                continue
            for kind, chart in found.maps.items():
                write_chart(folder / f"{case.name}_{kind}.nii.gz", chart, reading)
            scores[case.name] = found.scores
        result = AnomalyMaps(scores, failed, folder)
        write_record(folder / SCORES, result.to_json())
        record["results"] = {"mapped": len(scores), "failed": len(failed)}
    return result


def write_chart(path: Path, chart: NDArray[np.float32], reading: Reading) -> None:
    """Write a map beside its image's space.

    Args:
        path: The NIfTI file.
        chart: The map, ``(X, Y, Z)``.
        reading: Its image.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if reading.source.format == "nifti":
        image = with_space_of(nib.load(reading.files[0]), chart)
    else:
        image = nib.Nifti1Image(chart, reading.affine)
    save_whole(image, path)
