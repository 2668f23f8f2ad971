"""Train a segmenter or a classifier, from a pretrained encoder or from scratch."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from volseg.bundle import Bundle
from volseg.data.cases import Case, find_cases
from volseg.data.channels import scanned
from volseg.data.class_tables import classified_cases
from volseg.data.label_names import require_same_names
from volseg.data.listing.sequences import canonical
from volseg.errors import DataError, VolsegError
from volseg.networks.card import seen_cases
from volseg.networks.opening import has_card, open_source, read_card, refuse_facts
from volseg.networks.source import Source
from volseg.workflows.splitting import PARTS, divide, fitting_split
from volseg.workflows.training import (
    PRETRAINED,
    Plan,
    TrainingOptions,
    TrainingResult,
    describe_source,
    run_training,
)

SCHEDULES = {
    "scratch": "volseg.engines.schedules.Scratch",
    "warmup": "volseg.engines.schedules.Warmup",
    "sawtooth": "volseg.engines.schedules.Sawtooth",
    "llrd": "volseg.engines.schedules.LayerDecay",
    "frozen": "volseg.engines.schedules.Frozen",
}
"""The names of section C.3 of OpenMind's comparison, see `volseg.engines.schedules`."""


def finetune(
    data: str | Path,
    output: str | Path,
    bundle: str | Path | Bundle,
    *,
    encoder: str | Path | None = None,
    schedule: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    split: str | Path | None = None,
    options: TrainingOptions | None = None,
) -> TrainingResult:
    """Train a segmenter, from a pretrained encoder or from scratch.

    The output folder is itself a bundle that segments: the weights are in ``models/``, the log, the
    panels and the state to resume from in ``train/``, and ``run.json`` tells what was run.

    Args:
        data: What `volseg.data.cases.find_cases` takes. A bundle that simulates also learns from
            cases without a label: they are healthy, and what it segments is simulated in them.
        output: Folder of the run.
        bundle: A segmentation bundle: its name, its folder, or what `Bundle.find` gave.
        encoder: Weights of a pretrained encoder, of another project too; `None` trains from
            scratch.
        schedule: ``scratch``, ``warmup``, ``sawtooth``, ``llrd`` or ``frozen``; `None` takes the
            bundle's.
        overrides: Values of its ``train.json`` to change, by key.
        split: ``split.json``, or a bundle that has one, that names training and validation cases;
            `None` takes the bundle's if it is of these data, and otherwise divides by group.
        options: Device, seed, and what to do about earlier runs.

    Returns:
        Weights, log and best validation.

    Raises:
        DataError: If no case has a label, if the data set's names say that its labels are other
            classes, or if the encoder was pretrained on validation cases.
    """
    found, folder = Bundle.find(bundle), Path(output)
    asked = found.raw_config("train", overrides or {})
    is_optional = asked.get("optional_channels") is True
    channels = scanned(asked.get("channels", ()))
    every = find_cases(data, None, channels, optional_channels=is_optional)
    table = label_table(asked, data)
    if isinstance(asked.get("label_map"), Mapping) and "classes" in asked:
        require_same_names(data, asked["label_map"], asked["classes"])
    cases, notes = trainable_cases(every, is_simulating=asked.get("simulates") is True, table=table)
    if not cases:
        raise DataError(f"{data} holds no labelled case; fine-tuning needs labels")
    parts = fitting_split(cases, found, split) or divide(cases)
    values = with_schedule(overrides or {}, schedule)
    arguments: dict[str, Any] = {"dataset_dir": str(Path(data).resolve())}
    inputs = [path for case in cases for path in case.files]
    if table is not None:
        arguments["label_table"] = str(table.resolve())
        inputs.append(table)
    notes = [_describe(parts), *notes, *_channel_notes(cases, channels)]
    options = options or TrainingOptions()
    path, foreign = _find_encoder(encoder, folder, parts["validation"], options)
    if encoder is not None:
        arguments["encoder"] = str(path)
        inputs.append(Path(encoder))
    if foreign is not None:
        notes = [*notes, *foreign.notes, f"{encoder} does not say which images it has seen"]
    described = describe_source(data, parts["training"])
    plan = Plan("finetune", found, values, arguments, parts, inputs, notes, described, foreign)
    return run_training(plan, folder, options)


def _describe(parts: Mapping[str, Sequence[str]]) -> str:
    return f"{' and '.join(f'{len(parts[part])} {part}' for part in PARTS)} cases"


def _find_encoder(
    encoder: str | Path | None, folder: Path, validation: Sequence[str], options: TrainingOptions
) -> tuple[Path | None, Source | None]:
    """Find the encoder's file; that of another project becomes one of the run's folder."""
    path = None if encoder is None else Path(encoder).resolve()
    if path is not None and not has_card(path):
        return (folder / PRETRAINED).resolve(), open_source(path, options.facts)
    refuse_facts(path, options.facts)
    if path is not None:
        require_unseen(path, validation, is_allowed=options.is_transductive)
    return path, None


def label_table(config: Mapping[str, Any], data: str | Path) -> Path | None:
    """Find the table of labels of a bundle that classifies.

    Args:
        config: Its training configuration.
        data: Where the cases are.

    Returns:
        What ``label_table`` says, or ``labels.csv`` beside the cases; `None` if the bundle takes
        none.

    Raises:
        DataError: If it is not there.
    """
    if "label_table" not in config:
        return None
    given = str(config["label_table"])
    folder = Path(data) if Path(data).is_dir() else Path(data).parent
    path = folder / "labels.csv" if given.startswith("$") else Path(given)
    if not path.is_file():
        raise DataError(
            f"{path} is not there; write a table with the columns case and label, and name it with"
            " --set label_table=FILE"
        )
    return path


def trainable_cases(
    cases: Sequence[Case], *, is_simulating: bool, table: Path | None = None
) -> tuple[list[Case], list[str]]:
    """Take the cases that a bundle can be trained on.

    Args:
        cases: All cases.
        is_simulating: Whether its configuration ``simulates`` and so takes cases without a label.
        table: Table of the classes of whole volumes, if it classifies.

    Returns:
        The cases, and what to tell the user about them.
    """
    if table is not None:
        return classified_cases(cases, table), []
    labelled = [case for case in cases if case.label is not None]
    if not is_simulating:
        return labelled, []
    counts = f"{len(labelled)} cases have a label, {len(cases) - len(labelled)} have none"
    return list(cases), [f"{counts} and are taken for healthy"]


def _channel_notes(cases: Sequence[Case], channels: Sequence[str]) -> list[str]:
    """Say how many of the cases that have images have each channel, if it matters."""
    cases = [case for case in cases if case.images]
    if len(channels) < 2 or not cases:
        return []
    own = [[canonical(name) for name in case.channels] for case in cases]
    counts = [f"{name} in {sum(canonical(name) in names for names in own)}" for name in channels]
    return [f"channels of {len(cases)} cases: {', '.join(counts)}; those missing are zeros"]


def require_unseen(encoder: str | Path, validation: Sequence[str], *, is_allowed: bool) -> None:
    """Refuse an encoder that was pretrained on validation cases: its score would be too good.

    Args:
        encoder: The encoder's weights; a file without a card is refused too.
        validation: Names of the validation cases.
        is_allowed: Whether the user asked for it.

    Raises:
        DataError: If it has seen some of them.
    """
    seen = seen_cases(read_card(encoder).data, validation)
    if seen and not is_allowed:
        raise DataError(
            f"{encoder} was pretrained on {len(seen)} of the {len(validation)} validation cases,"
            f" such as {seen[0]}; pretrain with --split, or say --transductive"
        )


def with_schedule(overrides: Mapping[str, Any], schedule: str | None) -> dict[str, Any]:
    """Put a schedule's class among the overrides."""
    if schedule is None:
        return dict(overrides)
    if schedule not in SCHEDULES:
        raise VolsegError(f"schedule is {schedule!r}; use one of {list(SCHEDULES)}")
    return {"optimisation::schedule": {"_target_": SCHEDULES[schedule]}, **overrides}
