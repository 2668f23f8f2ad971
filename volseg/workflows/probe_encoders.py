"""The encoders that are compared: trained ones, and each of them untrained."""

import json
from collections.abc import Mapping, Sequence
from functools import cache
from math import isfinite
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser

from volseg.bundle import Bundle
from volseg.data.channels import scanned
from volseg.data.pipelines import preprocessing
from volseg.engines.log import MetricsFile
from volseg.errors import BundleError, DataError, WeightsError
from volseg.evaluation.probing.features import Arm
from volseg.networks.card import Card, seen_cases
from volseg.networks.config import build
from volseg.networks.encoder import Encoder
from volseg.networks.opening import read_card
from volseg.networks.weights import load_encoder
from volseg.trust import foreign_code
from volseg.types import Size

PLATEAU = 0.01
"""A run has reached its plateau once its loss falls by no more than this share any more."""


def load_arms(
    encoders: Sequence[str | Path], cases: Sequence[str], patch_size: Size | None, seed: int
) -> tuple[list[Arm], dict[str, str]]:
    """Load encoders, and build each kind of them untrained.

    Args:
        encoders: Weights files with a card, run folders or bundles; ``NAME=`` before one names it.
        cases: Names of the cases, of which some may have been trained on.
        patch_size: Voxels of a patch; `None` takes that of the first encoder's card.
        seed: Of the untrained weights.

    Returns:
        The arms, untrained ones behind; and the untrained one of each trained one.

    Raises:
        DataError: If two have one name.
    """
    arms: list[Arm] = []
    controls: dict[str, str] = {}
    untrained: dict[str, Arm] = {}
    for given in encoders:
        name, path = find_weights(given)
        if name in controls:
            raise DataError(f"two encoders are called {name!r}; write NAME=PATH to tell them apart")
        card = read_card(path)
        encoder = _build(card, path)
        load_encoder(encoder, path)
        size = patch_size or card.patch_size or (32, 32, 32)
        facts = {"weights": str(path), **describe_training(path, card, cases)}
        read = read_as(card, path)
        arms.append(Arm(name, encoder, read, size, card.channels, facts=facts))
        config = card.network.get("encoder", card.network)
        key = json.dumps([config, card.spacing, card.orientation, dict(card.normalizer)])
        if key not in untrained:
            torch.manual_seed(seed)
            title = "untrained" if not untrained else f"untrained {len(untrained) + 1}"
            fresh = _build(card, path)
            untrained[key] = Arm(title, fresh, read, size, card.channels, is_trained=False)
        controls[name] = untrained[key].name
    return [*arms, *untrained.values()], controls


def find_weights(given: str | Path) -> tuple[str, Path]:
    """Find the weights file of an encoder, and what to call it.

    Args:
        given: A file, a run folder or a bundle, perhaps with ``NAME=`` before it.

    Returns:
        Name and file.

    Raises:
        WeightsError: If it is neither.
    """
    text = str(given)
    name, equals, rest = text.partition("=")
    if not equals or Path(text).exists():
        name, rest = "", text
    path = Path(rest)
    if not path.is_file():
        try:
            path = Bundle.find(rest).weights()
        except BundleError as error:
            raise WeightsError(f"{rest} is no encoder: {error}") from error
    if path.suffix != ".safetensors":
        raise WeightsError(f"{path} has no card; give the file *.safetensors that volseg wrote")
    if not name:
        is_run = path.parent.name == "models"
        name = path.resolve().parents[1].name if is_run else path.stem
    return name, path


def read_as(card: Card, path: Path) -> Any:
    """Build the preprocessing that a network was trained with.

    Args:
        card: Its card.
        path: Its file, for messages.

    Returns:
        From ``{"image": path}`` to tensors; ``label`` is read along where it is there.

    Raises:
        WeightsError: If the card names a normaliser that is not volseg's or MONAI's.
    """
    normalizer = None
    if card.normalizer:
        config = {"normalizer": dict(card.normalizer)}
        if foreign := foreign_code(config):
            raise WeightsError(f"{path}: the card would run unknown code: {foreign[0]}")
        normalizer = ConfigParser(config).get_parsed_content("normalizer")

    channels = scanned(card.channels)

    @cache
    def pipeline(*keys: str) -> Any:
        return preprocessing(keys, card.spacing, normalizer, card.orientation, channels)

    def read(item: dict[str, Any]) -> Mapping[str, Any]:
        keys = [key for key in ("image", "label") if key in item]
        found: Mapping[str, Any] = pipeline(*keys)(item)
        return found

    return read


def describe_training(path: Path, card: Card, cases: Sequence[str]) -> dict[str, Any]:
    """Collect what the card and the log beside it say of the training.

    Args:
        path: The weights file, ``RUN/models/*.safetensors`` if the log is to be found.
        card: Its card.
        cases: Names of the cases at hand.

    Returns:
        Pretext task, steps, number of the cases that it has seen and, of the log, seconds a step
        and to the plateau, and peak memory.
    """
    data = card.pretext.get("data") or {}
    seen = {*seen_cases(card.data, cases), *seen_cases(data, cases)}
    facts: dict[str, Any] = {
        "pretext": str(card.pretext.get("_target_", "")).rpartition(".")[2] or "none",
        "is_supervised": "heads" in card.architecture,
        "steps": card.steps,
        "seen": len(seen),
        "seen_cases": sorted(seen),
    }
    run = path.resolve().parents[1]
    records = MetricsFile(run / "train" / "metrics.jsonl").read()
    return {**facts, **_cost(records), **_peak(run / "run.json")}


def _cost(records: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    if not records:
        return {}
    seconds = [float(record["seconds"]) for record in records]
    steps = max(1, int(records[-1]["step"]))
    losses = [record["loss"] for record in records]
    place = find_plateau([loss for loss in losses if loss is not None])
    return {
        "seconds_per_step": round(sum(seconds) / steps, 4),
        "seconds_to_plateau": round(sum(seconds[: place + 1]), 1),
        "steps_to_plateau": int(records[place]["step"]),
    }


def find_plateau(losses: Sequence[float]) -> int:
    """Find the first epoch after which the loss hardly falls.

    Args:
        losses: Loss of each epoch.

    Returns:
        Index of the epoch; the last one if the loss was still falling.

    Examples:
        >>> find_plateau([1.0, 0.5, 0.4, 0.399, 0.398])
        2
    """
    for place, loss in enumerate(losses):
        if isfinite(loss) and min(losses[place:]) >= loss - PLATEAU * abs(loss):
            return place
    return max(0, len(losses) - 1)


def _peak(path: Path) -> dict[str, Any]:
    try:
        peak = json.loads(path.read_text(encoding="utf-8")).get("peak_memory_mib")
    except (OSError, ValueError, AttributeError):
        return {}
    return {"training_memory_mib": peak} if peak else {}


def _build(card: Card, path: Path) -> Encoder:
    config = card.network.get("encoder", card.network)
    if not config:
        raise WeightsError(f"{path}: the card describes no network, so no encoder can be built")
    encoder = build(config)
    if not isinstance(encoder, Encoder):
        raise WeightsError(f"{path}: the card describes a {type(encoder).__name__}, no encoder")
    return encoder
