"""How much pretraining helps with few labels: fine-tuned against the same schedule from scratch.

For each number of labelled cases and each seed all arms see the same cases and draws, and but for
`volseg.workflows.curve_arms.LONGER` the same steps; the last weights are scored on all validation
cases, and nothing is selected. The cases of a smaller number are among those of a larger one with
the same seed.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import torch

from volseg.bundle import Bundle
from volseg.data.cases import find_cases
from volseg.data.channels import scanned
from volseg.engines import distributed
from volseg.engines.log import MetricsFile
from volseg.engines.segment import KEY_METRIC
from volseg.errors import DataError
from volseg.evaluation.curves import Comparison, Point, Run, compare_arms, summarise_runs
from volseg.networks.storage import write_atomically
from volseg.networks.weights import load_segmenter
from volseg.workflows.curve_arms import PRETRAINED, Curve
from volseg.workflows.finetune import finetune, trainable_cases
from volseg.workflows.page import Table
from volseg.workflows.probe import require_probe_extra
from volseg.workflows.record import RECORD, hash_files, recording, write_record
from volseg.workflows.splitting import Split, choose_cases, divide, fitting_split
from volseg.workflows.training import TrainingOptions

logger = logging.getLogger(__name__)

LOG, RESULTS, PAGE = "runs.jsonl", "curve.json", "report.html"

SAME = ("data", "bundle", "schedule", "overrides", "split")
"""Settings that all runs of a curve share."""


@dataclass(frozen=True)
class CurveResult:
    """What was found.

    Args:
        runs: Every run.
        points: Mean Dice of each arm at each number of cases.
        comparisons: Pretrained minus each other arm at each number of cases.
        output: Folder of the results.
    """

    runs: Sequence[Run]
    points: Sequence[Point]
    comparisons: Sequence[Comparison]
    output: Path

    def to_json(self) -> dict[str, Any]:
        """Give everything as plain values."""
        return {
            "points": [point.to_json() for point in self.points],
            "differences": [each.to_json() for each in self.comparisons],
            "runs": [run.to_json() for run in self.runs],
            "output": str(self.output),
        }

    def table(self) -> Table:
        """Lay out the curve, one row a number of cases."""
        arms = list(dict.fromkeys(point.arm for point in self.points))
        others = list(dict.fromkeys(each.other for each in self.comparisons))
        rows = []
        for cases in sorted({point.cases for point in self.points}):
            here = {point.arm: point for point in self.points if point.cases == cases}
            gains = {each.other: str(each) for each in self.comparisons if each.cases == cases}
            rows.append(
                [
                    str(cases),
                    *(str(here[arm]) if arm in here else "-" for arm in arms),
                    *(gains.get(arm, "-") for arm in others),
                    ", ".join(str(here[arm].zero_runs) for arm in arms if arm in here),
                ]
            )
        differences = [f"{PRETRAINED} - {arm}" for arm in others]
        return Table(["labelled cases", *arms, *differences, "runs with a class of Dice 0"], rows)

    def __str__(self) -> str:
        """Give the table, and where the rest is."""
        return f"{self.table().to_text()}\n\nwrote {self.output / PAGE}"


def label_curve(
    data: str | Path,
    output: str | Path,
    bundle: str | Path | Bundle,
    curve: Curve,
    options: TrainingOptions | None = None,
) -> CurveResult:
    """Fine-tune with few labels, again and again, beside the same from scratch.

    Each run is kept in ``runs/`` and a line of ``runs.jsonl``; beside them stand ``curve.json``,
    ``report.html`` and ``run.json``. With ``resume`` finished runs are not done again.

    Args:
        data: As for `volseg.workflows.finetune.finetune`.
        output: Folder of the results.
        bundle: A segmentation bundle.
        curve: Which runs there are.
        options: Device and what to do about earlier runs; its seed is the first one.

    Returns:
        The curve.

    Raises:
        DataError: If the numbers of cases or the controls cannot be, the output is taken, or its
            runs were trained otherwise.
    """
    found, folder, how = Bundle.find(bundle), Path(output), options or TrainingOptions()
    require_probe_extra()
    found.classes()  # refuses what does not segment
    log = MetricsFile(folder / LOG)
    if log.path.exists() and not (how.resume or how.overwrite):
        raise DataError(f"{log.path} exists already; add --resume or --overwrite")
    split, groups = _find_split(data, found, curve)
    arms = curve.arms(found)
    settings = {
        "data": str(data),
        "bundle": str(found.root),
        **{key: str(value) for key, value in vars(curve).items()},
        "encoders": {
            arm.name: hash_files([Path(arm.encoder)])[0].get("sha256")
            for arm in arms
            if arm.encoder is not None
        },
    }
    if how.overwrite and not how.resume:
        log.path.unlink(missing_ok=True)
    elif log.path.exists():
        _require_same(folder, settings)
    with recording(folder, "finetune", settings, (), distributed.device(how.device)) as record:
        _do_runs(data, found, curve, split, groups, log, how)
        result = _sum_up(log, groups, folder)
        write_record(folder / RESULTS, result.to_json())
        _write_page(result)
        record["results"] = {"runs": len(result.runs), "curve": RESULTS, "report": PAGE}
    return result


def _require_same(folder: Path, settings: Mapping[str, Any]) -> None:
    """Refuse to go on with runs that were trained otherwise than those to come would be."""
    try:
        earlier = json.loads((folder / RECORD).read_text(encoding="utf-8"))["settings"]
    except (OSError, ValueError, LookupError) as error:
        raise DataError(f"{folder / RECORD} does not say how its runs were trained") from error
    now, then = dict(settings), dict(earlier)
    for name, digest in now.pop("encoders").items():
        now[f"encoder of {name}"] = digest
        then[f"encoder of {name}"] = earlier.get("encoders", {}).get(name, digest)
    for key in (*SAME, *(key for key in now if key.startswith("encoder of "))):
        if now[key] != then.get(key):
            raise DataError(
                f"the runs in {folder} had {key} = {then.get(key)}, and now it is {now[key]}; go"
                " on with the same, or use another output"
            )


def _find_split(data: str | Path, bundle: Bundle, curve: Curve) -> tuple[Split, dict[str, str]]:
    config = bundle.raw_config("train", curve.overrides)
    is_optional = config.get("optional_channels") is True
    channels = scanned(config.get("channels", ()))
    every = find_cases(data, None, channels, optional_channels=is_optional)
    cases, _ = trainable_cases(every, is_simulating=config.get("simulates") is True)
    if not cases:
        raise DataError(f"{data} holds no labelled case; fine-tuning needs labels")
    split = fitting_split(cases, bundle, curve.split) or divide(cases)
    most = len(split["training"])
    if curve.seeds < 1 or not curve.counts or min(curve.counts) < 0 or max(curve.counts) > most:
        raise DataError(
            f"{list(curve.counts)} cases with {curve.seeds} seed(s): use numbers from 1 to {most},"
            " the training cases, or 0 for all of them, and at least one seed"
        )
    return split, {case.name: case.group or case.name for case in cases}


def _do_runs(
    data: str | Path,
    bundle: Bundle,
    curve: Curve,
    split: Split,
    groups: Mapping[str, str],
    log: MetricsFile,
    how: TrainingOptions,
) -> None:
    folder = log.path.parent
    done = {record["name"] for record in log.read()}
    first = how.seed or 0
    for count in curve.counts:
        for seed in range(first, first + curve.seeds):
            chosen = choose_cases(split["training"], groups, count, seed)
            path = folder / "splits" / f"n{len(chosen)}_s{seed}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            parts = {"training": chosen, "validation": split["validation"]}
            write_atomically(path, json.dumps(parts, indent=1).encode())
            for arm in curve.arms(bundle):
                name = f"{arm.name}_n{len(chosen)}_s{seed}"
                if name in done:
                    continue
                done.add(name)
                logger.info("%s", name)
                overrides = {**curve.overrides, **arm.overrides}
                one = replace(curve, split=path, encoder=arm.encoder, overrides=overrides)
                run = _do_run(data, bundle, one, folder / "runs" / name, replace(how, seed=seed))
                facts = {"name": name, "arm": arm.name, "cases": len(chosen), "seed": seed}
                log.append({**facts, **run})


def _do_run(
    data: str | Path, bundle: Bundle, one: Curve, output: Path, how: TrainingOptions
) -> dict[str, Any]:
    """Train once, and score the last weights case by case."""
    began = perf_counter()
    is_known = "val_interval" in bundle.raw_config("train")
    last_only = {"val_interval": 10**9} if is_known else {}  # the last epoch is always validated
    finetune(
        data,
        output,
        bundle,
        encoder=one.encoder,
        schedule=one.schedule,
        overrides={**last_only, **one.overrides},
        split=one.split,
        options=how,
    )
    seconds = round(perf_counter() - began, 1)
    dice = score_run(output, data, how.device)
    (output / "train" / "resume.pt").unlink(missing_ok=True)  # the run is over
    last = MetricsFile(output / "train" / "metrics.jsonl").read()[-1]
    return {"steps": last["step"], "seconds": seconds, "dice": dice}


def score_run(run: Path, data: str | Path, device: str) -> dict[str, list[float]]:
    """Score the last weights of a run on its validation cases.

    Args:
        run: Folder of the run.
        data: The cases.
        device: Where to compute.

    Returns:
        Dice of each class by case, on the preprocessed grid; `nan` where the reference lacks it.
    """
    bundle = Bundle(run.resolve(), is_trusted=True)  # volseg has just written it
    where = {"dataset_dir": str(Path(data).resolve()), "device": device}
    config = bundle.config("train", where)
    evaluator = config.get_parsed_content("validate::evaluator")
    network = config.get_parsed_content("network")
    load_segmenter(network, bundle.root / "models" / "model.safetensors")
    with torch.no_grad():
        evaluator.run()
    details = evaluator.state.metric_details[KEY_METRIC].tolist()
    names = json.loads((bundle.root / "configs" / "split.json").read_text())["validation"]
    return dict(zip(names, details, strict=True))


def _sum_up(log: MetricsFile, groups: Mapping[str, str], folder: Path) -> CurveResult:
    runs = [Run.from_json(record) for record in log.read()]
    points = summarise_runs(runs, groups)
    others = [arm for arm in dict.fromkeys(run.arm for run in runs) if arm != PRETRAINED]
    comparisons = [
        each for other in others for each in compare_arms(runs, groups, PRETRAINED, other)
    ]
    return CurveResult(runs, points, comparisons, folder)


def _write_page(result: CurveResult) -> None:
    from volseg.workflows.curve_report import write_report

    write_report(result.output / PAGE, result)
