"""Export a bundle's network, and compare what was written with the network itself."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from volseg import __version__
from volseg.bundle import Bundle
from volseg.errors import BundleError, DataError
from volseg.inference.predictor import Predictor
from volseg.networks.storage import write_atomically
from volseg.types import Size
from volseg.workflows.bundles.formats import FORMATS, Format, Run, Subject, quiet
from volseg.workflows.record import hash_files, versions

TOLERANCE = 1e-4
"""Largest difference that is taken, as a fraction of the largest logit. Other libraries add up in
another order; of float32 that leaves about 1e-6 a layer."""

RECORD = "export.json"

FACTS = ("channels", "spacing", "normalizer", "patch_size")
"""What whoever runs the file has to know beside it."""


@dataclass(frozen=True)
class Exported:
    """A format that was asked for, and what became of it.

    Args:
        kind: Its name.
        path: The file; `None`: there is none.
        sizes: Sizes at which it was compared, in voxels.
        difference: Largest difference of a logit, in all of them.
        largest: Largest logit, of either sign.
        is_dynamic: Whether it takes volumes of other sizes.
        reason: Why it takes one size only, or why there is no file.
    """

    kind: str
    path: Path | None = None
    sizes: tuple[Size, ...] = ()
    difference: float = 0.0
    largest: float = 0.0
    is_dynamic: bool = False
    reason: str = ""

    def __str__(self) -> str:
        """Say it in one line."""
        if self.path is None:
            return f"{self.kind}: not exported: {self.reason}"
        compared = ", ".join(" x ".join(map(str, size)) for size in self.sizes)
        said = f"{self.difference:.1e} from PyTorch at most, logits up to {self.largest:.3g}"
        takes = "any size" if self.is_dynamic else f"this size only ({self.reason})"
        return f"wrote {self.path}: {said}, at {compared} voxels; takes {takes}"


@dataclass(frozen=True)
class ExportReport:
    """What was exported.

    Args:
        bundle: Folder of the bundle.
        tolerance: Largest difference that is taken, as a fraction of the largest logit.
        divisor: What the sizes must be multiples of, if that is known.
        files: One for each format.
    """

    bundle: Path
    tolerance: float
    divisor: Size | None
    files: tuple[Exported, ...]

    @property
    def is_complete(self) -> bool:
        """Whether every format was written."""
        return all(one.path is not None for one in self.files)

    def to_json(self) -> dict[str, Any]:
        """Give everything as plain values."""
        files = [{**asdict(one), "path": one.path and str(one.path)} for one in self.files]
        return {"bundle": str(self.bundle), **self._terms(), "files": files}

    def _terms(self) -> dict[str, Any]:
        return {"tolerance": self.tolerance, "divisor": self.divisor}

    def __str__(self) -> str:
        """Say it, one line a format."""
        lines = [*map(str, self.files)]
        if self.divisor is not None and any(one.is_dynamic for one in self.files):
            lines.append(f"any size: multiples of {' x '.join(map(str, self.divisor))} voxels")
        return "\n".join(lines)


def export_bundle(
    bundle: str | Path | Bundle,
    output: str | Path,
    formats: Sequence[str] = tuple(FORMATS),
    size: Size | None = None,
    tolerance: float = TOLERANCE,
    *,
    overwrite: bool = False,
) -> ExportReport:
    """Write a bundle's network as files that run without its code.

    Each file is read again and compared with the network in PyTorch, on noise. One that differs by
    more than the tolerance is not kept. What it computes are logits of a volume that was
    preprocessed; ``export.json`` beside it says how.

    Args:
        bundle: A segmentation bundle with weights.
        output: Folder of the files.
        formats: Any of ``onnx``, ``pt2`` (``torch.export``) and ``torchscript``.
        size: Voxels along each axis of a volume; `None`: the bundle's patch.
        tolerance: Largest difference that is taken, as a fraction of the largest logit.
        overwrite: Whether to replace files that are there.

    Returns:
        What became of each format.

    Raises:
        DataError: If a file is there already.
    """
    found, folder = Bundle.find(bundle), Path(output)
    kinds = _require_formats(formats)
    if not overwrite and (there := [f.file for f in kinds.values() if (folder / f.file).exists()]):
        raise DataError(f"{folder / there[0]} is there already; add --overwrite")
    predictor = Predictor.from_bundle(found, "cpu")
    subject = Subject(predictor.network, _num_channels(found), size or _patch_size(predictor))
    files = export_network(subject, folder, tuple(kinds), tolerance)
    result = ExportReport(found.root, tolerance, subject.divisor, files)
    _write_record(folder / RECORD, found, predictor, result)
    return result


def export_network(
    subject: Subject, folder: Path, formats: Sequence[str], tolerance: float = TOLERANCE
) -> tuple[Exported, ...]:
    """Write a network in several formats.

    Args:
        subject: The network.
        folder: Folder of the files.
        formats: Names of `volseg.workflows.bundles.formats.FORMATS`.
        tolerance: Largest difference that is taken, as a fraction of the largest logit.

    Returns:
        What became of each format.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with quiet():
        return tuple(_export(kind, FORMATS[kind], subject, folder, tolerance) for kind in formats)


def _require_formats(formats: Sequence[str]) -> dict[str, Format]:
    """Refuse what is no format, or takes packages that are not there."""
    for kind in formats:
        if kind not in FORMATS:
            raise BundleError(f"format is {kind!r}; use any of {', '.join(FORMATS)}")
        if lacking := [name for name in FORMATS[kind].needs if find_spec(name) is None]:
            raise BundleError(
                f"{kind} needs {', '.join(lacking)}; pip install 'volseg[export]', or choose"
                " another --format"
            )
    return {kind: FORMATS[kind] for kind in formats}


def _num_channels(bundle: Bundle) -> int:
    inputs = bundle.metadata.get("network_data_format", {}).get("inputs", {})
    number = inputs.get("image", {}).get("num_channels")
    if not isinstance(number, int):
        raise BundleError(f"{bundle.root} does not say in metadata.json how many channels it takes")
    return number


def _patch_size(predictor: Predictor) -> Size:
    size = getattr(predictor.inferer, "roi_size", None)
    if not isinstance(size, Sequence) or len(size) != 3 or min(size) < 1:
        raise BundleError("the bundle's inferer has no window of a certain size; give --size D,H,W")
    return (int(size[0]), int(size[1]), int(size[2]))


def _export(kind: str, made: Format, subject: Subject, folder: Path, tolerance: float) -> Exported:
    """Write one format, for any size if that agrees with PyTorch, and else for one."""
    reasons: list[str] = []
    for is_dynamic in (True, False):
        with TemporaryDirectory(dir=folder, prefix=".export-") as staging:
            path = Path(staging) / made.file
            try:
                result = _try(kind, made, subject, path, tolerance, is_dynamic=is_dynamic)
            except BundleError as error:
                reasons.append(str(error))
                continue
            for file in Path(staging).iterdir():  # large ONNX models are several
                file.replace(folder / file.name)
        reason = "" if is_dynamic else reasons[0]
        return Exported(kind, folder / made.file, *result, is_dynamic, reason)
    return Exported(kind, reason=reasons[-1])


def _try(
    kind: str, made: Format, subject: Subject, path: Path, tolerance: float, *, is_dynamic: bool
) -> tuple[tuple[Size, ...], float, float]:
    """Write a file, read it again, and compare; refuse it whatever goes wrong."""
    sizes = (subject.size, *(subject.other_sizes() if is_dynamic else ()))
    difference = largest = 0.0
    try:
        made.write(subject, path, is_dynamic=is_dynamic)
        run = made.load(path)
        for size in sizes:
            difference, largest = _compare(run, subject, size, difference, largest)
    except Exception as error:  # exporters raise whatever they like
        raise BundleError(_reason(error)) from error
    if not difference <= tolerance * largest:  # also if it is not a number
        raise BundleError(
            f"{kind} differs by {difference:.1e} from PyTorch, with logits up to {largest:.3g};"
            f" {tolerance:g} of them is the tolerance"
        )
    return sizes, difference, largest


def _reason(error: Exception) -> str:
    """Say in a line what an exporter has raised; TorchScript gives the cause at the end."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [""]
    is_wrapped = "TorchScript interpreter" in lines[0]
    line = lines[-1] if is_wrapped else f"{type(error).__name__}: {lines[0]}"
    return line if len(line) <= 200 else f"{line[:197]}..."


def _compare(
    run: Run, subject: Subject, size: Size, difference: float, largest: float
) -> tuple[float, float]:
    """Compare at one size; give the largest difference and logit up to now."""
    volume = subject.volume(size)
    with torch.no_grad():
        wanted, given = subject.network(volume), run(volume)
    if given.shape != wanted.shape:
        raise BundleError(f"gives {tuple(given.shape)} instead of {tuple(wanted.shape)}")
    apart = (given - wanted).abs().max().item()
    return max(apart, difference), max(wanted.abs().max().item(), largest)


def _write_record(path: Path, bundle: Bundle, predictor: Predictor, result: ExportReport) -> None:
    """Write what a file does not say of itself: what it takes, and what it gives."""
    config: Mapping[str, Any] = bundle.raw_config("inference")
    written = [one.path for one in result.files if one.path is not None]
    record = {
        **result.to_json(),
        "bundle": bundle.name,
        "version": bundle.metadata.get("version"),
        "volseg": __version__,
        "versions": versions(),
        "input": {
            "name": "image",
            "axes": ["batch", "channel", "depth", "height", "width"],
            **{key: config[key] for key in FACTS if key in config},
        },
        "output": {
            "name": "pred",
            "activation": "softmax over the channels",
            "classes": {str(value): name for value, name in predictor.classes.items()},
        },
        "hashes": [{**one, "path": Path(one["path"]).name} for one in hash_files(written)],
    }
    for one in record["files"]:
        one["path"] = one["path"] and Path(one["path"]).name
    write_atomically(path, (json.dumps(record, indent=2, ensure_ascii=False) + "\n").encode())
