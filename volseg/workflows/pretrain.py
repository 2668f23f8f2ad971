"""Pretrain an encoder on unlabelled volumes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from volseg.bundle import Bundle
from volseg.data.cases import find_cases
from volseg.workflows.splitting import SPLIT, fitting_split
from volseg.workflows.training import (
    Plan,
    TrainingOptions,
    TrainingResult,
    describe_source,
    run_training,
)


def pretrain(
    data: str | Path,
    output: str | Path,
    bundle: str | Path | Bundle = "masked_volume_pretraining",
    *,
    overrides: Mapping[str, Any] | None = None,
    split: str | Path | None = None,
    options: TrainingOptions | None = None,
) -> TrainingResult:
    """Pretrain an encoder on unlabelled volumes.

    The output folder is itself a bundle: the weights are in ``models/``, the log, the panels and
    the state to resume from in ``train/``, and ``run.json`` tells what was run.

    Args:
        data: A folder of NIfTI volumes, or an MSD dataset; labels are not read.
        output: Folder of the run.
        bundle: A pretraining bundle: its name, its folder, or what `Bundle.find` gave.
        overrides: Values of its ``train.json`` to change, by key.
        split: ``split.json``, or a bundle that has one, whose validation cases are left out;
            `None` takes the bundle's if it is of these data, and all cases otherwise.
        options: Device, seed, and what to do about earlier runs.

    Returns:
        Weights and log.
    """
    found = Bundle.find(bundle)
    cases = find_cases(data)
    parts = fitting_split(cases, found, split)
    names = {case.name for case in cases} if parts is None else set(parts["training"])
    used = [case for case in cases if case.name in names]
    left_out = len(cases) - len(used)
    values = dict(overrides or {})
    if parts is not None:
        values |= {
            "train::dataset::data::split": f"$@bundle_root + '/{SPLIT}'",
            "train::dataset::data::part": "training",
        }
    plan = Plan(
        "pretrain",
        found,
        values,
        {"dataset_dir": str(Path(data).resolve())},
        parts,
        [path for case in used for path in case.images],
        [f"{len(used)} cases" + (f", {left_out} validation cases left out" if left_out else "")],
        describe_source(data, sorted(names)),
    )
    return run_training(plan, Path(output), options or TrainingOptions())
