"""Simulate resections on scans of files and folders."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from time import perf_counter
from typing import Any

from tqdm import tqdm

from volseg.data.cases import stem
from volseg.data.volumes import ENDINGS
from volseg.errors import DataError, VolsegError
from volseg.inference.work_list import require_writable
from volseg.transforms.resection.cavity import MODES, STAGES
from volseg.transforms.resection.contrast import CONTRASTS
from volseg.transforms.resection.prior import Prior
from volseg.workflows.record import recording
from volseg.workflows.resect_case import (
    Loaded,
    Maps,
    Patient,
    load_patient,
    simulate,
    write_case,
)


@dataclass(frozen=True)
class ResectOptions:
    """How resections are simulated.

    Args:
        count: Resections of each scan.
        seed: Of every draw, from 0.
        contrasts: Contrast of each input, or one for all; empty: guessed from the files' names.
        mode: One of `MODES`, if all shall be of one.
        stage: One of `STAGES`, if all shall be of one.
        is_together: The inputs are sequences of one patient on one grid and share each cavity.
        is_synthetic: The inputs are label maps, of which images of random contrast are made.
    """

    count: int = 1
    seed: int = 0
    contrasts: Sequence[str] = ()
    mode: str | None = None
    stage: str | None = None
    is_together: bool = False
    is_synthetic: bool = False


@dataclass(frozen=True)
class Simulated:
    """What became of one resection.

    Args:
        source: The scan, the first of several.
        number: Of the resection; 0: the scan could not be used at all.
        status: ``done`` or ``failed``.
        reason: Why it failed.
        record: What was drawn.
        files: What was written.
        seconds: Time that it took.
    """

    source: str
    number: int
    status: str
    reason: str | None = None
    record: Mapping[str, Any] = field(default_factory=dict)
    files: Sequence[str] = ()
    seconds: float = 0.0

    def __str__(self) -> str:
        """Say it in one line."""
        if self.status != "done":
            return f"failed: {self.source}: {self.reason}"
        parts = (str(self.record[name]) for name in ("mode", "stage", "side"))
        return f"{self.files[0]}: {', '.join(parts)}, {self.record['volume_ml']:.1f} mL"


@dataclass(frozen=True)
class Simulations:
    """What became of all resections.

    Args:
        cases: One result a resection.
    """

    cases: Sequence[Simulated]

    @property
    def is_complete(self) -> bool:
        """Whether every resection that was asked for was made."""
        return all(case.status == "done" for case in self.cases)

    def count(self, status: str) -> int:
        """Count the resections of one status.

        Args:
            status: ``done`` or ``failed``.

        Returns:
            Their number.
        """
        return sum(case.status == status for case in self.cases)

    def to_json(self) -> dict[str, Any]:
        """Give counts and cases as plain values."""
        counts = {status: self.count(status) for status in ("done", "failed")}
        return {**counts, "cases": [asdict(case) for case in self.cases]}

    def __str__(self) -> str:
        """Give the counts and a line for each resection."""
        lines = [f"{self.count('done')} done, {self.count('failed')} failed"]
        return "\n".join([*lines, *(str(case) for case in self.cases)])


def resect(
    inputs: Sequence[str | Path],
    output: str | Path,
    maps: Maps | None = None,
    options: ResectOptions | None = None,
    *,
    overwrite: bool = False,
    progress: bool = False,
) -> Simulations:
    """Simulate resections on scans, and write image, cavity and record of each.

    A scan ``NAME.nii.gz`` gives ``NAME_resected-0001.nii.gz``, ``NAME_cavity-0001.nii.gz`` and
    ``NAME_resection-0001.json`` on its own grid; the tree of a folder is mirrored. Beside them
    stands ``run.json``.

    Args:
        inputs: NIfTI files and folders of them.
        output: Folder of everything that is written.
        maps: What is known of the anatomy; `None`: the brain is estimated from each scan.
        options: How many, with which seed, of which kind.
        overwrite: Whether files that are there already may be replaced.
        progress: Whether to draw a bar on stderr.

    Returns:
        What became of each resection; ``is_complete`` tells whether all were made.
    """
    maps, options, folder = maps or Maps(), options or ResectOptions(), Path(output)
    prior = _make_prior(options, maps)
    patients = _list_patients([Path(each) for each in inputs], options)
    _refuse_existing(patients, folder, options.count, overwrite=overwrite)
    require_writable(folder)
    settings = {
        "inputs": [str(each) for each in inputs],
        "maps": asdict(maps),
        "options": asdict(options),
    }
    files = [*(source for patient in patients for source in patient.sources), *maps.files()]
    with recording(folder, "resect", settings, files) as record:
        bar = tqdm(
            total=len(patients) * options.count, desc="resect", unit="case", disable=not progress
        )
        with bar:
            cases = []
            for patient in patients:
                for case in _resect_patient(patient, maps, prior, options, folder):
                    cases.append(case)
                    bar.update()
        summary = Simulations(cases)
        record["results"] = {"done": summary.count("done"), "failed": summary.count("failed")}
    return summary


def _make_prior(options: ResectOptions, maps: Maps) -> Prior:
    """Restrict the prior to what was asked for, and refuse what cannot be."""
    _require_known("contrast", options.contrasts, ("auto", *CONTRASTS))
    _require_known("mode", [options.mode] if options.mode else [], MODES)
    _require_known("stage", [options.stage] if options.stage else [], STAGES)
    if options.count < 1 or not 0 <= options.seed < 2**32:
        raise DataError(
            f"count is {options.count} and seed {options.seed}; use a count from 1 and a seed from"
            " 0 to 4294967295"
        )
    if options.mode == "tumour" and maps.tumour is None:
        raise DataError("mode 'tumour' follows a tumour; give its mask")
    if options.is_synthetic and (maps.labels or maps.brain):
        raise DataError("the inputs of a synthesis are label maps; leave other maps out")
    prior = Prior()
    if options.mode is not None:
        prior = replace(prior, modes={options.mode: 1.0})
    if options.stage is not None:
        prior = replace(prior, stages={options.stage: 1.0})
    return prior


def _require_known(what: str, given: Sequence[str], known: Sequence[str]) -> None:
    for each in given:
        if each not in known:
            raise DataError(f"{what} {each!r} is not known; use one of {', '.join(known)}")


def _list_patients(inputs: Sequence[Path], options: ResectOptions) -> list[Patient]:
    found = [each for path in inputs for each in _find_images(path)]
    if not found:
        raise DataError("nothing to resect; give files or folders")
    names, sources = [name for name, _ in found], [source for _, source in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"two inputs are called {twice[0]!r}; rename one")
    contrasts = list(options.contrasts) or ["auto"]
    if len(contrasts) == 1:
        contrasts *= len(sources)
    if len(contrasts) != len(sources):
        raise DataError(f"{len(contrasts)} contrasts for {len(sources)} inputs; give one for each")
    if options.is_together and options.is_synthetic:
        raise DataError("label maps of a synthesis are patients of their own, not one together")
    if options.is_together:
        return [Patient(tuple(names), tuple(sources), tuple(contrasts))]
    return [
        Patient((name,), (source,), (contrast,), options.is_synthetic)
        for name, source, contrast in zip(names, sources, contrasts, strict=True)
    ]


def _find_images(path: Path) -> list[tuple[str, Path]]:
    """Name a file, or the files of a folder by their path below it."""
    if not path.exists():
        raise DataError(f"{path} does not exist")
    if not path.is_dir():
        return [(stem(Path(path.name)), path)]
    found = [
        each
        for each in sorted(path.rglob("*"))
        if each.name.lower().endswith(ENDINGS) and each.is_file() and not each.name.startswith(".")
    ]
    if not found:
        raise DataError(f"{path} holds no NIfTI file (*.nii, *.nii.gz)")
    return [(stem(each.relative_to(path)), each) for each in found]


def _refuse_existing(
    patients: Sequence[Patient], output: Path, count: int, *, overwrite: bool
) -> None:
    targets = [
        file
        for patient in patients
        for number in range(1, count + 1)
        for file in patient.targets(output, number).files()
    ]
    sources = {source.resolve() for patient in patients for source in patient.sources}
    for target in targets:
        if target.resolve() in sources:
            raise DataError(f"{target} is an input and would be replaced; use another output")
    existing = [target for target in targets if target.exists()]
    if existing and not overwrite:
        raise DataError(f"{existing[0]} exists already; allow overwriting or use another output")


def _resect_patient(
    patient: Patient, maps: Maps, prior: Prior, options: ResectOptions, output: Path
) -> Iterator[Simulated]:
    """Make all resections of a patient; a scan that cannot be used is reported once."""
    source, began = str(patient.sources[0]), perf_counter()
    try:
        loaded = load_patient(patient, maps)
    except (VolsegError, MemoryError) as error:
        reason = _reason(error, source)
        yield Simulated(source, 0, "failed", reason, seconds=round(perf_counter() - began, 3))
        return
    for number in range(1, options.count + 1):
        yield _resect_once(loaded, prior, options.seed, number, output)


def _reason(error: Exception, source: str) -> str:
    if isinstance(error, MemoryError):
        return "needs more memory than there is; its affine should be in mm"
    return str(error).removeprefix(f"{source}: ")


def _resect_once(loaded: Loaded, prior: Prior, seed: int, number: int, output: Path) -> Simulated:
    began, patient = perf_counter(), loaded.patient
    source = str(patient.sources[0])
    targets = patient.targets(output, number)
    settings = {"source": source, "seed": seed, "number": number}
    try:
        case = simulate(loaded, prior, seed, number)
        record = write_case(case, patient, targets, settings)
    except (VolsegError, MemoryError) as error:
        return Simulated(source, number, "failed", _reason(error, source))
    files = [str(path) for path in targets.files()]
    seconds = round(perf_counter() - began, 3)
    return Simulated(source, number, "done", None, record, files, seconds)
