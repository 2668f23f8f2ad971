"""What encoders have learned: frozen features against labels, side by side."""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from volseg.data.cases import find_cases
from volseg.data.channels import scanned
from volseg.errors import DataError, VolsegError
from volseg.networks.card import seen_cases
from volseg.networks.opening import read_card
from volseg.workflows.page import Table
from volseg.workflows.probe_labels import Labels, Unit, find_samples
from volseg.workflows.record import recording, write_record

if TYPE_CHECKING:
    from volseg.evaluation.probing.comparison import EncoderComparison, Question
    from volseg.evaluation.probing.features import Arm
    from volseg.evaluation.probing.samples import Sample

logger = logging.getLogger(__name__)

RESULTS, PAGE, INDICES = "results.json", "report.html", "index"


@dataclass(frozen=True)
class ProbeOptions:
    """How features are computed and judged.

    Args:
        unit: What is described by one vector.
        pool: ``mean_std`` or ``max``, see `volseg.networks.encoder.Encoder.embed`.
        patch_size: Voxels of a patch along each axis; `None`: as the first encoder was trained.
        folds: Outer folds of the cross-validation.
        repeats: How often it is repeated.
        draws: Draws of a bootstrap.
        only_unseen: Whether to leave out cases that an encoder was trained on.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        seed: Of folds, draws, patches and untrained weights.
        progress: Whether to draw bars on stderr.
    """

    unit: Unit = field(default_factory=Unit)
    pool: str = "mean_std"
    patch_size: tuple[int, int, int] | None = None
    folds: int = 5
    repeats: int = 3
    draws: int = 1000
    only_unseen: bool = False
    device: str = "auto"
    seed: int = 0
    progress: bool = True


@dataclass(frozen=True)
class ProbeResult:
    """What was found.

    Args:
        comparison: Every score of every encoder.
        output: Folder of the results.
        notes: What the reader must know.
        failures: Why a case could not be read, by name.
    """

    comparison: "EncoderComparison"
    output: Path
    notes: Sequence[str]
    failures: Mapping[str, str]

    @property
    def is_complete(self) -> bool:
        """Whether every case could be read."""
        return not self.failures

    def to_json(self) -> dict[str, Any]:
        """Give everything as plain values."""
        found = self.comparison
        return {
            "classes": list(found.classes),
            "samples": len(found.question.labels),
            "groups": len(set(found.question.groups)),
            "folds": asdict(found.question.folds),
            "encoders": [answer.to_json() for answer in found.answers],
            "cka": {one: dict(row) for one, row in found.alignment.items()},
            "notes": list(self.notes),
            "failures": dict(self.failures),
            "output": str(self.output),
        }

    def table(self) -> Table:
        """Lay out the main scores, one row an encoder."""
        from volseg.workflows.probe_report import main_table

        return main_table(self.comparison)

    def __str__(self) -> str:
        """Give the main table, what to know, and where the rest is."""
        failed = [f"failed: {name}: {reason}" for name, reason in self.failures.items()]
        page = f"wrote {self.output / PAGE}"
        return "\n".join([self.table().to_text(), "", *self.notes, *failed, page])


def probe(
    encoders: Sequence[str | Path],
    data: str | Path,
    output: str | Path,
    labels: Labels,
    options: ProbeOptions | None = None,
    *,
    overwrite: bool = False,
) -> ProbeResult:
    """Ask frozen features for labels, and compare encoders with each other and with no training.

    Beside ``results.json`` and ``report.html`` stand an index of each encoder's vectors, to be
    searched with `volseg.evaluation.probing.retrieval.RetrievalIndex`, and ``run.json``.

    Args:
        encoders: Weights files with a card, run folders or bundles; ``NAME=`` before one names it.
        data: What `volseg.data.cases.find_cases` takes.
        output: Folder of the results.
        labels: Where labels come from.
        options: How features are computed and judged.
        overwrite: Whether results that are there already may be replaced.

    Returns:
        Every score with its interval.

    Raises:
        DataError: If there is no encoder, or the output is taken.
    """
    from volseg.engines.distributed import device

    folder, how = Path(output), options or ProbeOptions()
    require_probe_extra()
    if not encoders:
        raise DataError("no encoder to probe; give one or more")
    if (folder / RESULTS).exists() and not overwrite:
        raise DataError(f"{folder / RESULTS} exists already; use another output or --overwrite")
    place = device(how.device)
    settings = {
        "encoders": [str(each) for each in encoders],
        "data": str(data),
        "labels": asdict(labels),
        "options": asdict(how),
    }
    work = _prepare(encoders, data, labels, how)
    files = [Path(arm.facts["weights"]) for arm in work.arms if arm.is_trained]
    with recording(folder, "probe", settings, files, place) as record:
        result = _compare(work, folder, labels, how, place)
        write_record(folder / RESULTS, result.to_json())
        _write_page(result, work)
        record["results"] = {"complete": result.is_complete, "results": RESULTS, "report": PAGE}
    return result


def require_probe_extra() -> None:
    """Refuse to go on without scikit-learn and matplotlib.

    Raises:
        VolsegError: If one is not installed.
    """
    wanted = {"sklearn": "scikit-learn", "matplotlib": "matplotlib"}
    missing = [name for module, name in wanted.items() if find_spec(module) is None]
    if missing:
        raise VolsegError(
            f"this needs {' and '.join(missing)}; install: pip install 'volseg[probe]'"
        )


@dataclass(frozen=True)
class _Work:
    arms: "Sequence[Arm]"
    controls: Mapping[str, str]
    samples: "Sequence[Sample]"
    notes: Sequence[str]


def _prepare(
    encoders: Sequence[str | Path], data: str | Path, labels: Labels, how: ProbeOptions
) -> _Work:
    from volseg.workflows.probe_encoders import find_weights, load_arms

    cards = [read_card(find_weights(given)[1]) for given in encoders]
    if len({_several(card.channels) for card in cards}) > 1:
        raise DataError("the encoders take different channels; compare those that take the same")
    cases = find_cases(data, None, _several(cards[0].channels))
    names = [case.name for case in cases]
    notes = []
    if how.only_unseen:
        seen = {
            name
            for card in cards
            for known in (card.data, card.pretext.get("data") or {})
            for name in seen_cases(known, names)
        }
        cases = [case for case in cases if case.name not in seen]
        notes.append(f"{len(seen)} cases that an encoder was trained on are left out")
        if not cases:
            raise DataError("every case was trained on; leave out --only-unseen, and say so")
    arms, controls = load_arms(encoders, [case.name for case in cases], how.patch_size, how.seed)
    arms = [replace(arm, patch_size=arms[0].patch_size) for arm in arms]
    unit = replace(how.unit, seed=how.seed)
    samples = find_samples(cases, data, labels, unit)
    if all(sample.case.group is None for sample in samples):
        notes.append("no case says whom it is of: each counts as a patient of its own")
    notes += _seen_notes(arms, {sample.case.name for sample in samples})
    return _Work(arms, controls, samples, notes)


def _seen_notes(arms: "Sequence[Arm]", used: set[str]) -> list[str]:
    notes = []
    for arm in arms:
        seen = len(used & set(arm.facts.get("seen_cases", ())))
        if seen:
            kind = "images and labels" if arm.facts.get("is_supervised") else "images"
            notes.append(f"{arm.name} was trained on the {kind} of {seen} of {len(used)} cases")
    return notes


def _compare(
    work: _Work, folder: Path, labels: Labels, how: ProbeOptions, place: Any
) -> ProbeResult:
    from volseg.evaluation.probing.comparison import compare
    from volseg.evaluation.probing.features import embed_samples
    from volseg.evaluation.probing.retrieval import RetrievalIndex

    _ask(work.samples, labels, how).require_answerable()
    found = {
        arm.name: embed_samples(arm, work.samples, how.pool, place, _watch(arm.name, how))
        for arm in work.arms
    }
    failures = {name: why for each in found.values() for name, why in each.failures.items()}
    kept = [i for i, sample in enumerate(work.samples) if sample.case.name not in failures]
    samples = [work.samples[i] for i in kept]
    found = {name: replace(each, vectors=each.vectors[kept]) for name, each in found.items()}
    question = _ask(samples, labels, how)
    facts = {arm.name: {**arm.facts, "is_trained": arm.is_trained} for arm in work.arms}
    comparison = compare(found, question, work.controls, facts)
    for name, each in found.items():
        index = RetrievalIndex(each.vectors, question.names, question.labels, question.groups)
        index.save(folder / INDICES / f"{_safe(name)}.npz")
    return ProbeResult(comparison, folder, work.notes, failures)


def _ask(samples: "Sequence[Sample]", labels: Labels, how: ProbeOptions) -> "Question":
    from volseg.evaluation.probing.classification import Folds
    from volseg.evaluation.probing.comparison import Question

    return Question(
        [sample.name for sample in samples],
        [sample.label for sample in samples],
        [sample.group for sample in samples],
        labels.has_order,
        Folds(how.folds, repeats=how.repeats, seed=how.seed),
        how.draws,
    )


def _write_page(result: ProbeResult, work: _Work) -> None:
    from volseg.workflows.probe_report import write_report

    names = set(result.comparison.question.names)
    samples = [sample for sample in work.samples if sample.name in names]
    write_report(result.output / PAGE, result.comparison, samples, result.notes)


def _watch(name: str, how: ProbeOptions) -> Callable[[Iterable[Any]], Iterable[Any]]:
    def watch(items: Iterable[Any]) -> Iterable[Any]:
        from tqdm import tqdm

        bar: Iterable[Any] = tqdm(items, desc=name, unit="case", disable=not how.progress)
        return bar

    return watch


def _safe(name: str) -> str:
    return "".join(c if c.isalnum() or c in "-_." else "_" for c in name)


def _several(channels: Sequence[str]) -> tuple[str, ...]:
    """Names of the channels of a file, if they need any."""
    names = tuple(scanned(channels))
    return names if len(names) > 1 else ()
