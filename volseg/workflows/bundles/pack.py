"""Pack a bundle to be given away: a folder as Hugging Face wants it, and a zip file.

The same bundle gives the same bytes, whenever and wherever it is packed.
"""

import re
import shutil
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import Any
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

import yaml

from volseg.bundle import Bundle
from volseg.errors import BundleError, DataError
from volseg.networks.opening import read_card
from volseg.workflows.bundles.check import check_bundle
from volseg.workflows.bundles.files import is_packed
from volseg.workflows.bundles.finding import Finding
from volseg.workflows.bundles.large_files import (
    FILE,
    describe_large_files,
    hash_of,
    read_large_files,
)

CARD = "README.md"

ATTRIBUTES = "".join(
    f"*.{ending} filter=lfs diff=lfs merge=lfs -text\n" for ending in ("pt", "safetensors", "ts")
)
"""Tells git that weights are large, as Hugging Face wants it."""

LICENCES = {"Apache License": "apache-2.0", "MIT License": "mit"}
"""How Hugging Face calls a licence, by its first words."""

UNSTATED = "not stated"
"""What the card of weights says where nobody has named the licence of their data."""

EPOCH = (1980, 1, 1, 0, 0, 0)
"""The first moment that a zip file knows; the real one would make every file another."""


@dataclass(frozen=True)
class Packed:
    """A bundle that was packed.

    Args:
        folder: The folder, ready for Hugging Face.
        archive: The zip file.
        sha256: Hash of the zip file.
        files: Names of the files in both.
        warnings: What `check_bundle` found unusual.
    """

    folder: Path
    archive: Path
    sha256: str
    files: tuple[str, ...]
    warnings: tuple[Finding, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Give everything as plain values."""
        return {
            "folder": str(self.folder),
            "archive": str(self.archive),
            "sha256": self.sha256,
            "files": list(self.files),
            "warnings": [str(one) for one in self.warnings],
        }

    def __str__(self) -> str:
        """Say what was written."""
        return "\n".join(
            [
                *map(str, self.warnings),
                f"wrote {self.folder}, {len(self.files)} files",
                f"wrote {self.archive}, {self.archive.stat().st_size / 2**20:.1f} MiB",
                f"  SHA-256 {self.sha256}",
            ]
        )


def pack_bundle(
    bundle: str | Path | Bundle,
    output: str | Path,
    repository: str = "",
    *,
    overwrite: bool = False,
) -> Packed:
    """Write a bundle as a folder for Hugging Face and as a zip file.

    Packed are ``LICENSE`` and what lies in ``configs``, ``docs``, ``models`` and ``scripts``, but
    no leftovers. Beside them stand the model card ``README.md`` and ``large_files.yml``.

    Args:
        bundle: A bundle in which `check_bundle` finds no error.
        output: The folder in which both are written.
        repository: Where it will lie on Hugging Face, as ``owner/name``; empty: nobody knows yet.
        overwrite: Whether to replace what an earlier packing has written there.

    Returns:
        What was written.

    Raises:
        BundleError: If there is an error in the bundle, or the repository has no such name.
        DataError: If something is there already.
    """
    found, place = Bundle.find(bundle), Path(output).resolve()
    if repository and not re.fullmatch(r"[\w.-]+/[\w.-]+", repository):
        raise BundleError(f"repository is {repository!r}; give owner/name")
    report = check_bundle(found)
    if report.errors:
        raise BundleError(
            f"{found.root} is not packed: {report.errors[0].place} {report.errors[0].message};"
            f" volseg bundle check shows all {len(report.errors)} errors"
        )
    folder = place / found.name
    archive = place / f"{found.name}_v{found.metadata['version']}.zip"
    if found.root in (folder, *folder.parents):
        raise DataError(f"output {place} lies in the bundle itself; use another folder")
    for path in (folder, archive):
        if path.exists() and not overwrite:
            raise DataError(f"{path} is there already; add --overwrite")
    place.mkdir(parents=True, exist_ok=True)
    staging = Path(mkdtemp(dir=place, prefix=".pack-"))
    try:
        names = _fill(found, staging / found.name, repository)
        _zip(staging / found.name, names, staging / archive.name)
        if folder.is_dir():
            shutil.rmtree(folder)
        (staging / found.name).replace(folder)
        (staging / archive.name).replace(archive)
    finally:
        shutil.rmtree(staging)
    return Packed(folder, archive, hash_of(archive), tuple(names), report.findings)


def _fill(bundle: Bundle, target: Path, repository: str) -> list[str]:
    """Copy what belongs to a bundle, and write what it is given away with; name all of it."""
    written = (CARD, FILE, ".gitattributes")
    names = [
        path.relative_to(bundle.root).as_posix()
        for path in bundle.root.rglob("*")
        if path.is_file() and is_packed(path.relative_to(bundle.root))
    ]
    for name in names:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(bundle.root / name, target / name)
    weights = sorted(name for name in names if name.startswith("models/"))
    listed = describe_large_files(target, weights, read_large_files(bundle.root), repository)
    texts = dict(zip(written, (_card(bundle, weights), listed, ATTRIBUTES), strict=True))
    for name, text in texts.items():
        (target / name).write_text(text, encoding="utf-8", newline="\n")
    return sorted({*names, *written})


def _card(bundle: Bundle, weights: Sequence[str]) -> str:
    """Write the model card: what Hugging Face reads, then what people read."""
    metadata = bundle.metadata
    segments = len(metadata["network_data_format"]["outputs"]["pred"].get("channel_def", {})) > 1
    head = {
        "library_name": "monai",
        **_licence(bundle),
        "pipeline_tag": "image-segmentation" if segments else "image-feature-extraction",
        "tags": ["monai", "medical", "volseg", "3d", *(["segmentation"] if segments else [])],
    }
    text = (bundle.root / "docs" / "README.md").read_text(encoding="utf-8")
    text = re.sub(r"(?<![/\w])data_license\.txt", "docs/data_license.txt", text)
    if not weights:
        text += "\n## Weights\n\nNone: train it before use.\n"
    return f"---\n{yaml.safe_dump(head, sort_keys=False)}---\n\n{text}"


def _licence(bundle: Bundle) -> dict[str, str]:
    """Say what licence the whole has: that of the weights' data, where their card names one."""
    weights = bundle.root / "models" / "model.safetensors"
    stated = read_card(weights).data.get("licence", UNSTATED) if weights.is_file() else UNSTATED
    if stated != UNSTATED:
        name = re.sub(r"[^a-z0-9.]+", "-", str(stated).lower()).strip("-")
        return {"license": "other", "license_name": name, "license_link": "docs/data_license.txt"}
    licence = (bundle.root / "LICENSE").read_text(encoding="utf-8")
    names = [name for words, name in LICENCES.items() if words in licence[:400]]
    if names:
        return {"license": names[0]}
    return {"license": "other", "license_name": "see-license", "license_link": "LICENSE"}


def _zip(folder: Path, names: Sequence[str], path: Path) -> None:
    """Write a zip file of one folder; weights are not compressed, since they hardly can be."""
    with ZipFile(path, "w") as archive:
        for name in names:
            member = ZipInfo(f"{folder.name}/{name}", EPOCH)
            member.create_system = 3  # Unix, also where it is not
            member.external_attr = (stat.S_IFREG | 0o644) << 16
            member.compress_type = ZIP_STORED if name.startswith("models/") else ZIP_DEFLATED
            with (folder / name).open("rb") as source, archive.open(member, "w") as sink:
                shutil.copyfileobj(source, sink)
