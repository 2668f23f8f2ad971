"""Segment files and folders with a bundle."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from volseg.bundle import Bundle
from volseg.engines.distributed import device as find_device
from volseg.errors import BundleError, DataError, find_cause
from volseg.inference.folder import Summary, segment_folder
from volseg.inference.predictor import Predictor
from volseg.inference.work_list import list_jobs, require_writable
from volseg.workflows.record import recording


def segment(
    inputs: Sequence[str | Path],
    bundle: str | Path,
    output: str | Path,
    overrides: Mapping[str, Any] | None = None,
    device: str = "auto",
    stage: str | None = None,
    *,
    overwrite: bool = False,
    progress: bool = False,
) -> Summary:
    """Segment files and folders, each on its own grid.

    Beside the masks stand ``manifest.jsonl``, one line a case, and ``run.json``.

    Args:
        inputs: NIfTI files and folders of them.
        bundle: A segmentation bundle's name or folder.
        output: Folder of the masks; it mirrors the tree of each input folder.
        overrides: Values of the bundle's ``inference.json`` to change, by key.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        stage: What is known of the patients, ``preop``, ``postop`` or ``auto``, for a bundle with a
            guard; `None`: what the bundle says.
        overwrite: Whether masks that are there already may be replaced.
        progress: Whether to draw a bar on stderr.

    Returns:
        What became of each image; ``is_complete`` tells whether all have a mask.

    Raises:
        DataError: If there is nothing to segment.
    """
    paths, folder = [Path(path) for path in inputs], Path(output)
    if not paths:
        raise DataError("nothing to segment; give files or folders")
    found = Bundle.find(bundle)
    overrides = {**(overrides or {}), **_with_stage(found, stage)}
    jobs = list_jobs(paths, folder, overwrite=overwrite)
    require_writable(folder)
    place = find_device(device)
    predictor = _build(found, place, overrides)
    settings = {
        "inputs": [str(path) for path in paths],
        "bundle": str(found.root),
        "config": found.raw_config("inference", overrides),
    }
    files = [found.weights(), *(job.source for job in jobs)]
    with recording(folder, "segment", settings, files, place) as record:
        summary = segment_folder(paths, folder, predictor, overwrite=overwrite, progress=progress)
        record["results"] = {
            "complete": summary.is_complete,
            **{status: summary.count(status) for status in ("done", "failed", "not run")},
        }
    return summary


def _with_stage(bundle: Bundle, stage: str | None) -> dict[str, str]:
    """Say the stage as a value of the bundle's configuration."""
    if stage is None:
        return {}
    if "guard" not in bundle.raw_config("inference"):
        raise BundleError(
            f"bundle {bundle.name} has no guard, so a stage ({stage}) means nothing to it; leave"
            " the stage out"
        )
    return {"guard::stage": stage}


def _build(bundle: Bundle, place: torch.device, overrides: Mapping[str, Any]) -> Predictor:
    try:
        return Predictor.from_bundle(bundle, place, overrides)
    except RuntimeError as error:  # MONAI wraps what a builder raises
        raise find_cause(error) from error
