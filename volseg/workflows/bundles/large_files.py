"""``large_files.yml``: weights by their hash, and where they can be had."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from volseg.errors import BundleError
from volseg.workflows.bundles.finding import Contents, Finding, warning

FILE = "large_files.yml"

KEY = "large_files"
"""The key under which MONAI looks for them."""

HASHES = ("sha256", "sha1", "sha512", "md5")
"""What MONAI can compare; the first is what it takes if nothing is said."""


def judge_large_files(bundle: Contents) -> Iterator[Finding]:
    """Judge ``large_files.yml``, if there is one, against the files that are there.

    Args:
        bundle: The bundle.

    Yields:
        What is wrong.
    """
    try:
        entries = read_large_files(bundle.root)
    except BundleError as error:
        yield Finding(FILE, str(error))
        return
    for entry in entries:
        name = entry["path"]
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts or "\\" in name:
            yield Finding(FILE, f"{name} leads outside the bundle")
            continue
        kind, wanted = str(entry.get("hash_type") or HASHES[0]), entry.get("hash_val")
        if not wanted or kind not in HASHES:
            yield warning(FILE, f"{name} has no hash of a known kind; nobody can tell whether it is"
                          " the right file")  # fmt: skip
        elif (bundle.root / name).is_file() and hash_of(bundle.root / name, kind) != wanted:
            yield Finding(FILE, f"{name} is another file: its {kind} is not {wanted}")


def read_large_files(root: Path) -> list[dict[str, Any]]:
    """Read ``large_files.yml``.

    Args:
        root: A bundle's folder.

    Returns:
        An entry a file, each with a ``path``; none if there is no such list.

    Raises:
        BundleError: If it is no such list.
    """
    path = root / FILE
    if not path.is_file():
        return []
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise BundleError(f"cannot be read as YAML: {' '.join(str(error).split())}") from error
    entries = content.get(KEY) if isinstance(content, Mapping) else None
    if not isinstance(entries, list) or not all(map(_is_entry, entries)):
        raise BundleError(f"holds no list of files under {KEY!r}, each with a path")
    return [dict(entry) for entry in entries]


def describe_large_files(
    root: Path, names: Sequence[str], before: Sequence[Mapping[str, Any]], repository: str
) -> str:
    """Write the text of a ``large_files.yml``.

    Args:
        root: The bundle's folder.
        names: Files in it that are to be listed.
        before: What was listed before; of these an address is kept, and files that are not there.
        repository: Where it is to lie on Hugging Face, as ``owner/name``; empty: nobody knows.

    Returns:
        The text.
    """
    known = {str(entry["path"]): entry for entry in before}
    entries = [entry for name, entry in known.items() if name not in names]
    for name in names:
        address = str(known.get(name, {}).get("url", ""))
        if repository:
            address = f"https://huggingface.co/{repository}/resolve/main/{name}"
        entries.append(
            {"path": name, "url": address, "hash_val": hash_of(root / name), "hash_type": HASHES[0]}
        )
    ordered = sorted((dict(entry) for entry in entries), key=lambda entry: str(entry["path"]))
    text: str = yaml.safe_dump({KEY: ordered}, sort_keys=False)
    return text


def hash_of(path: Path, kind: str = HASHES[0]) -> str:
    """Hash a file.

    Args:
        path: The file.
        kind: Name of the hash.

    Returns:
        Hexadecimal digits.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, kind).hexdigest()


def _is_entry(entry: Any) -> bool:
    return isinstance(entry, Mapping) and isinstance(entry.get("path"), str)
