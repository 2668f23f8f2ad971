"""Say what something is, and what is wrong with it."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from volseg.bundle import Bundle, is_bundle
from volseg.data.cases import Case, find_cases, label_values
from volseg.data.volumes import VolumeReport, check_pair, inspect_volume
from volseg.errors import BundleError, DataError, VolsegError
from volseg.networks.config import build
from volseg.networks.description import describe_weights
from volseg.networks.foreign.layout import NO_FACTS, Facts
from volseg.networks.segmenter import Segmenter
from volseg.networks.storage import read_state_dict, read_tensors
from volseg.networks.weights import load_segmenter
from volseg.workflows.against import try_weights

WEIGHTS = (".safetensors", ".pt", ".pth", ".ckpt")
LISTS = (".json", ".csv")


@dataclass(frozen=True)
class Said:
    """A fact that is said in words of its own.

    Args:
        text: The words.
        plain: Plain values.
    """

    text: str
    plain: Mapping[str, Any]


@dataclass(frozen=True)
class Inspection:
    """What was found.

    Args:
        path: What was looked at.
        kind: ``volume``, ``folder``, ``dataset``, ``weights`` or ``bundle``.
        facts: What it is.
        problems: What keeps volseg from using it, one line each.
        warnings: What is unusual but can be used.
    """

    path: Path
    kind: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    problems: Sequence[str] = ()
    warnings: Sequence[str] = ()

    @property
    def is_sound(self) -> bool:
        """Whether there is no problem."""
        return not self.problems

    def to_json(self) -> dict[str, Any]:
        """Give everything as plain values."""
        return {
            "path": str(self.path),
            "kind": self.kind,
            "sound": self.is_sound,
            "facts": {k: v.plain if isinstance(v, Said) else v for k, v in self.facts.items()},
            "problems": list(self.problems),
            "warnings": list(self.warnings),
        }

    def __str__(self) -> str:
        """Lay everything out, one line a fact."""
        lines = [f"{self.path}: {self.kind}"]
        lines += [f"  {name}: {_shown(value)}" for name, value in self.facts.items()]
        lines += [f"warning: {warning}" for warning in self.warnings]
        lines += [f"problem: {problem}" for problem in self.problems]
        return "\n".join([*lines, *([] if self.problems else ["no problem found"])])


def inspect(
    path: str | Path,
    *,
    progress: bool = False,
    against: str | None = None,
    facts: Facts = NO_FACTS,
) -> Inspection:
    """Say what something is, and what is wrong with it. Nothing in it is executed.

    Args:
        path: A volume, a folder of volumes, a data set (``dataset.json``, its folder, or a CSV), a
            weights file, a bundle's folder or its name.
        progress: Whether to draw a bar on stderr.
        against: A network that shall take the weights, see `volseg.workflows.against`.
        facts: What weights of another project do not say of themselves.

    Returns:
        What was found; ``is_sound`` tells whether there is no problem.

    Raises:
        DataError: If something else than a weights file is to be held against a network.
    """
    place = Path(path)
    if against is not None and place.suffix not in WEIGHTS:
        raise DataError(f"{path} is no weights file ({', '.join(WEIGHTS)}); --against needs one")
    if is_bundle(place) or not place.exists():
        return inspect_bundle(_find_bundle(path))
    if place.suffix in WEIGHTS:
        return inspect_weights(place, against, facts)
    if place.suffix in LISTS or (place / "dataset.json").is_file():
        return inspect_dataset(place, progress=progress)
    if place.is_dir():
        return inspect_dataset(place, progress=progress, kind="folder")
    report = inspect_volume(place)
    return Inspection(place, "volume", _describe(report), report.problems, report.warnings)


def inspect_dataset(path: Path, *, progress: bool = False, kind: str = "dataset") -> Inspection:
    """Look at every volume of a data set, and at whether its labels belong to its images.

    Args:
        path: What `volseg.data.cases.find_cases` takes.
        progress: Whether to draw a bar on stderr.
        kind: What to call it.

    Returns:
        What was found.
    """
    try:
        cases, classes = find_cases(path), label_values(path)
    except DataError as error:
        return Inspection(path, kind, problems=[str(error)])
    problems, warnings, reports = [], [], []
    for case in tqdm(cases, desc="inspect", unit="case", disable=not progress, delay=2):
        for file in case.images:
            report = inspect_volume(file)
            reports.append(report)
            problems += [f"{file}: {problem}" for problem in report.problems]
            warnings += [f"{file}: {warning}" for warning in report.warnings]
        problems += _judge_label(case, classes)
    facts = {
        "cases": len(cases),
        "labelled": sum(case.label is not None for case in cases),
        "groups": len({case.group or case.name for case in cases}),
        **({} if classes is None else {"classes": {str(k): v for k, v in classes.items()}}),
        **_summarise(reports),
    }
    return Inspection(path, kind, facts, problems, warnings)


def inspect_weights(path: Path, against: str | None = None, facts: Facts = NO_FACTS) -> Inspection:
    """Look at a weights file and its card, or at what another project's file was read as.

    Args:
        path: A safetensors file, or one that PyTorch saved.
        against: A network that shall take the weights; `None`: none.
        facts: What a file of another project does not say of itself.

    Returns:
        What was found.
    """
    try:
        found = describe_weights(path, facts)
    except VolsegError as error:
        return Inspection(path, "weights", problems=[str(error)])
    card, foreign = found.pop("card"), found.pop("foreign")
    hidden = ("format", "fingerprint")
    if card is not None:
        found |= {k: v for k, v in card.items() if k not in hidden and v not in ({}, None)}
    warnings = [] if card is not None else _judge_foreign(found, foreign)
    problems: list[str] = []
    if against is not None:
        try:
            receipt = try_weights(path, against, facts)
        except VolsegError as error:
            problems = [f"{against} would refuse them: {error}"]
        else:
            found |= {"against": against, "receipt": Said(str(receipt), receipt.to_json())}
    return Inspection(path, "weights", found, problems, warnings)


def _judge_foreign(found: dict[str, Any], foreign: Mapping[str, Any]) -> list[str]:
    """Add what a file without a card was read as, and say what is missing."""
    if foreign["layout"] is None:
        return ["has no card: it says not what it is", foreign["why not"]]
    found |= {key: value for key, value in foreign.items() if value not in ({}, "", [])}
    return [f"say --fact {fact}=...: {what}" for fact, what in foreign["must be said"].items()]


def inspect_bundle(bundle: Bundle) -> Inspection:
    """Look at a bundle: its files, its facts, and whether its weights fit its network.

    Args:
        bundle: The bundle.

    Returns:
        What was found.
    """
    problems = bundle.check()
    facts: dict[str, Any] = {}
    try:
        metadata, inference = bundle.metadata, bundle.raw_config("inference")
    except BundleError:
        return Inspection(bundle.root, "bundle", facts, problems)
    for key in ("name", "version", "task"):
        facts[key] = metadata.get(key, "not said")
    for key in ("channels", "spacing", "patch_size", "num_classes"):
        if key in inference:
            facts[key] = inference[key]
    try:
        facts["weights"] = str(bundle.weights())
    except BundleError:
        return Inspection(bundle.root, "bundle", {**facts, "weights": "none"}, problems)
    return Inspection(bundle.root, "bundle", facts, [*problems, *_judge_weights(bundle, inference)])


def _find_bundle(path: str | Path) -> Bundle:
    if Path(path).suffix and not Path(path).exists():
        raise DataError(f"{path} does not exist; give a volume, a folder, weights or a bundle")
    try:
        return Bundle.find(path)
    except BundleError as error:
        raise DataError(f"{path} does not exist: {error}") from error


def _judge_label(case: Case, classes: Mapping[int, str] | None) -> list[str]:
    if case.label is None:
        return []
    try:
        check_pair(case.images[0], case.label, classes)
    except VolsegError as error:
        return [str(error)]
    return []


def _judge_weights(bundle: Bundle, inference: Mapping[str, Any]) -> list[str]:
    """Load the weights into the network, and compare the two files that may hold them."""
    folder = bundle.root / "models"
    with_card, plain = folder / "model.safetensors", folder / "model.pt"
    try:
        if bundle.weights().name == "encoder.safetensors":
            describe_weights(bundle.weights())
            return []
        network = build(inference["network_def"])
        if isinstance(network, Segmenter):
            load_segmenter(network, bundle.weights())
        if not (with_card.is_file() and plain.is_file()):
            return []
        tensors, others = read_tensors(with_card), read_state_dict(plain)
    except VolsegError as error:
        return [str(error)]
    is_equal = tensors.keys() == others.keys() and all(
        torch.equal(tensor, others[name]) for name, tensor in tensors.items()
    )
    return [] if is_equal else [f"{with_card.name} and {plain.name} hold different weights"]


def _describe(report: VolumeReport) -> dict[str, Any]:
    facts = report.to_json()
    return {key: facts[key] for key in ("shape", "spacing", "orientation", "dtype", "codes")}


def _summarise(reports: Sequence[VolumeReport]) -> dict[str, Any]:
    """Give the range of sizes and spacings, and how often each orientation and type occurs."""
    sound = [report for report in reports if len(report.shape) == 3 and len(report.spacing) == 3]
    if not sound:
        return {}
    shapes = list(zip(*(report.shape for report in sound), strict=True))
    spacings = list(zip(*(report.spacing for report in sound), strict=True))
    return {
        "smallest shape": [min(axis) for axis in shapes],
        "largest shape": [max(axis) for axis in shapes],
        "finest spacing": [min(axis) for axis in spacings],
        "coarsest spacing": [max(axis) for axis in spacings],
        "orientations": _count(report.orientation for report in sound),
        "dtypes": _count(report.dtype for report in sound),
    }


def _count(names: Iterable[str]) -> dict[str, int]:
    return dict(Counter(names).most_common())


def _shown(value: Any) -> str:
    if isinstance(value, Said):
        return value.text
    if isinstance(value, Mapping) and "_target_" in value:
        return json.dumps(value)  # as --set and --against take it
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_shown(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_shown, value))}]"
    return f"{value:g}" if isinstance(value, float) else str(value)
