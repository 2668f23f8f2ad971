"""What pretraining and fine-tuning have in common: the folder of a run, and the run itself."""

import json
import logging
import shutil
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser

from volseg.bundle import Bundle, is_bundle
from volseg.data.listing.dataset_json import read_description
from volseg.engines import distributed
from volseg.engines.log import MetricsFile
from volseg.errors import BundleError, DataError, find_cause
from volseg.networks.card import describe_data
from volseg.networks.foreign.layout import NO_FACTS, Facts
from volseg.networks.importing import save_source
from volseg.networks.source import Source
from volseg.networks.storage import write_atomically
from volseg.overrides import find_arguments, flatten
from volseg.workflows.record import recording
from volseg.workflows.splitting import SPLIT, Split

logger = logging.getLogger(__name__)

PRETRAINED = "train/pretrained.safetensors"
"""Where a run keeps the encoder of another project that it starts from, as volseg's own."""

WRITTEN = ("models", "train", "run.json")
"""What a run leaves in its folder beside the bundle's own files."""


@dataclass(frozen=True)
class TrainingOptions:
    """How a training runs, whatever it trains.

    Args:
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        seed: The source of every draw; `None` takes the bundle's.
        resume: Whether to go on with an interrupted run in the output folder.
        overwrite: Whether to replace what an earlier run has written there.
        progress: Whether to draw progress bars on stderr.
        is_transductive: Whether the encoder may have seen the images of validation cases.
        facts: What an encoder's file of another project does not say of itself.
    """

    device: str = "auto"
    seed: int | None = None
    resume: bool = False
    overwrite: bool = False
    progress: bool = True
    is_transductive: bool = False
    facts: Facts = NO_FACTS


@dataclass(frozen=True)
class TrainingResult:
    """What a training has left.

    Args:
        output: Folder of the run, a bundle.
        weights: Weights files.
        last: The last line of the log.
        best: The best validation, if there was any.
        notes: What else was found, such as what was loaded.
    """

    output: Path
    weights: Sequence[Path]
    last: Mapping[str, Any]
    best: Mapping[str, Any] | None = None
    notes: Sequence[str] = ()

    def to_json(self) -> dict[str, Any]:
        """Give everything as plain values."""
        return {
            "output": str(self.output),
            "weights": [str(path) for path in self.weights],
            "last": dict(self.last),
            "best": None if self.best is None else dict(self.best),
            "notes": list(self.notes),
        }

    def __str__(self) -> str:
        """Say how it went and where the weights are."""
        said = f"epoch {self.last['epoch']}, step {self.last['step']}: loss {self.last['loss']:.4f}"
        lines = [*self.notes, said]
        for title, record in (("last", self.last), ("best", self.best)):
            if record is not None and record.get("validation"):
                scores = [
                    f"{key} {'undefined' if value is None else f'{value:.4f}'}"
                    for key, value in record["validation"].items()
                ]
                lines.append(f"{title} (epoch {record['epoch']}): {', '.join(scores)}")
        return "\n".join([*lines, *(f"wrote {path}" for path in self.weights)])


@dataclass(frozen=True)
class Plan:
    """What is to be trained.

    Args:
        verb: ``pretrain`` or ``finetune``.
        bundle: The bundle to train.
        overrides: Values of its ``train.json`` that the user changes, by key.
        arguments: Values that hold for this run only, by full key.
        split: Names of training and validation cases, if they are divided.
        inputs: Files whose content decides the result.
        notes: What to tell the user.
        data: Summary of the data for the card of the weights, from `describe_source`.
        foreign: An encoder of another project, to be kept in the run's folder as `PRETRAINED`.
    """

    verb: str
    bundle: Bundle
    overrides: Mapping[str, Any]
    arguments: Mapping[str, Any]
    split: Split | None = None
    inputs: Sequence[Path] = ()
    notes: Sequence[str] = ()
    data: Mapping[str, Any] = field(default_factory=dict)
    foreign: Source | None = None


def describe_source(source: str | Path, cases: Sequence[str]) -> dict[str, Any]:
    """Summarise what a network is trained on, for the card of its weights.

    Args:
        source: The data; a ``dataset.json`` there may state its name and licence.
        cases: Names of the cases that train.

    Returns:
        Name, licence, number and hash of the cases.
    """
    path = Path(source).resolve()
    stated: Mapping[str, Any] = {}
    file = path / "dataset.json" if path.is_dir() else path
    if file.suffix == ".json" and file.is_file():
        stated = read_description(file)
    licence = stated.get("licence") or stated.get("license") or "not stated"
    return describe_data([str(stated.get("name") or path.name)], str(licence), cases)


def run_training(plan: Plan, output: Path, options: TrainingOptions) -> TrainingResult:
    """Write the run's bundle into its folder, and train it there.

    Under ``torchrun`` every process trains, and the first one writes.

    Args:
        plan: What is to be trained.
        output: Folder of the run.
        options: How it runs.

    Returns:
        What was left.
    """
    plan.bundle.require_trust("train")
    place = distributed.device(options.device)
    distributed.start(place)
    try:
        if distributed.is_main():
            prepare_folder(plan, output, options)
        distributed.mean_over_ranks(torch.zeros(1, device=place))  # the others wait for the folder
        return _run(plan, output, options, place)
    finally:
        distributed.finish()


def _run(plan: Plan, output: Path, options: TrainingOptions, place: torch.device) -> TrainingResult:
    is_main = distributed.is_main()
    is_shown = options.progress and is_main
    bundle = Bundle(output.resolve(), is_trusted=True)  # it was asked about, save what is set
    raw = bundle.raw_config("train")
    arguments = {
        **plan.arguments,
        **dict.fromkeys(find_arguments(raw, "progress"), is_shown),
        **({"card::data": plan.data} if "card::data" in find_arguments(raw, "data") else {}),
        "device": options.device,
        "resume": options.resume,
    }
    config = bundle.config("train", arguments)
    settings = {"overrides": dict(plan.overrides), "config": config.get()}
    context: AbstractContextManager[dict[str, Any]] = nullcontext({})
    if is_main:
        context = recording(output, plan.verb, settings, plan.inputs, place)
    with context as record:
        _train(config)
        result = summarise(output, plan.notes)
        record["results"] = result.to_json()
    return result


def _train(config: ConfigParser) -> None:
    try:
        config.get_parsed_content("initialize")
        trainer = config.get_parsed_content("train::trainer")
    except RuntimeError as error:  # MONAI wraps what a builder raises
        raise find_cause(error) from error
    trainer.run()


def summarise(output: Path, notes: Sequence[str] = ()) -> TrainingResult:
    """Read what a run has left in its folder.

    Args:
        output: The folder.
        notes: What else was found.

    Returns:
        Weights, and the last and the best line of the log.

    Raises:
        DataError: If nothing was trained.
    """
    records = MetricsFile(output / "train" / "metrics.jsonl").read()
    if not records:
        raise DataError(f"{output} holds no log of a training; no epoch was completed")
    validated = [record for record in records if record.get("validation")]
    key = next(iter(validated[-1]["validation"])) if validated else ""
    best = max(validated, key=lambda record: record["validation"][key] or 0, default=None)
    weights = sorted(p for p in (output / "models").iterdir() if not p.name.startswith("."))
    return TrainingResult(output, weights, records[-1], best, notes)


def prepare_folder(plan: Plan, output: Path, options: TrainingOptions) -> None:
    """Make the folder of a run, or make sure that it is the one to go on with.

    Args:
        plan: What is to be trained.
        output: Folder of the run.
        options: How it runs.

    Raises:
        BundleError: If the output is the bundle itself.
        DataError: If the folder holds something else, or another run.
    """
    overrides = dict(plan.overrides)
    if options.seed is not None:
        overrides["seed"] = options.seed
    if output.resolve() == plan.bundle.root:
        raise BundleError(f"output {output} is the bundle itself; use another folder")
    if output.exists() and not output.is_dir():
        raise DataError(f"output {output} is a file; use a folder")
    if options.resume and (output / "train" / "resume.pt").is_file():
        _require_same(plan, overrides, output)
        return
    if output.is_dir() and any(output.iterdir()):
        if not is_bundle(output) or not (options.resume or options.overwrite):
            advice = "add --resume or --overwrite" if is_bundle(output) else "it is no earlier run"
            raise DataError(f"output {output} is not empty; use another folder ({advice})")
        _remove_run(output)
    copy = plan.bundle.copy_to(output, overrides)
    _write_inputs(plan, copy.root)


def _write_inputs(plan: Plan, folder: Path) -> None:
    """Put into the folder what the run reads there beside its configs."""
    if plan.split is not None:
        text = json.dumps(plan.split, indent=4) + "\n"
        write_atomically(folder / SPLIT, text.encode())
    if plan.foreign is not None:
        save_source(plan.foreign, folder / PRETRAINED)


def _remove_run(output: Path) -> None:
    for name in WRITTEN:
        path = output / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _require_same(plan: Plan, overrides: Mapping[str, Any], output: Path) -> None:
    """Refuse to go on with a run that was started with other values or another split."""
    then = dict(flatten(Bundle(output.resolve()).raw_config("train")))
    now = dict(flatten(plan.bundle.raw_config("train", overrides)))
    changed = [key for key in sorted({*then, *now}) if then.get(key) != now.get(key)]
    if changed:
        key = changed[-1]  # the last of sorted keys is a value, not what holds it
        raise DataError(
            f"cannot resume {output}: {key} was {then.get(key)!r}, now it is {now.get(key)!r};"
            " use the same settings, or start anew with --overwrite"
        )
    if plan.split is not None and json.loads((output / SPLIT).read_text()) != plan.split:
        raise DataError(f"cannot resume {output}: the cases are divided otherwise than before")
