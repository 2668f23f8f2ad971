"""A packed bundle: a zip file, unpacked into a folder of its own and nowhere else.

A zip file can name files outside the folder that it is unpacked to, hold links, or swell to any
size. Such a file is refused before a byte of it is written.
"""

import hashlib
import os
import shutil
import stat
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from tempfile import mkdtemp
from zipfile import BadZipFile, ZipFile, ZipInfo

from volseg.errors import BundleError

METADATA = "configs/metadata.json"

LARGEST = 8 * 2**30
"""Bytes of an unpacked bundle beyond which it is refused."""

MOST_FILES = 10_000
"""Files beyond which it is refused."""


def unpacked(path: Path, cache: Path | None = None) -> Path:
    """Unpack a bundle, or find it where it was unpacked before.

    Args:
        path: A zip file with one bundle in it, at the top or in a folder.
        cache: Where to; `None`: ``volseg/bundles`` in the user's cache (``XDG_CACHE_HOME``, else
            ``~/.cache``). What is there already is replaced unless it is the same.

    Returns:
        The bundle's folder.

    Raises:
        BundleError: If it is no zip file, holds no bundle, is damaged, or holds what has no place
            in one: a path that leads outside, a link, a file of another kind.
    """
    try:
        digest = _digest(path)
        with ZipFile(path) as archive:
            members = archive.infolist()
            top = _require_harmless(path, members)
            folder = (cache or cache_folder()) / digest
            bundle = folder / (top or path.stem)
            if not bundle.is_dir():
                _extract(archive, members, folder, top or path.stem)
    except (BadZipFile, OSError, NotImplementedError, RuntimeError, EOFError) as error:
        raise BundleError(f"{path} cannot be unpacked: {error}") from error
    return bundle


def cache_folder() -> Path:
    """Give the folder in which bundles are unpacked."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "volseg" / "bundles"


def _require_harmless(path: Path, members: Sequence[ZipInfo]) -> str:
    """Refuse what has no place in a bundle; give the folder that all of it lies in, if any."""
    for member in members:
        if reason := _complaint(member):
            raise BundleError(f"{path} holds {member.filename!r}, {reason}; it is not unpacked")
    size = sum(member.file_size for member in members)
    if size > LARGEST or len(members) > MOST_FILES:
        raise BundleError(f"{path} would be {size} bytes in {len(members)} files; it is refused")
    names = [member.filename for member in members if not member.is_dir()]
    if len({name.casefold() for name in names}) < len(names):
        raise BundleError(f"{path} holds two files of the same name; it is not unpacked")
    found = [name for name in names if name == METADATA or name.endswith(f"/{METADATA}")]
    if len(found) != 1:
        raise BundleError(f"{path} holds {len(found)} files {METADATA}; it must hold one bundle")
    top = found[0].removesuffix(METADATA).rstrip("/")
    if top.count("/") or any(top and not name.startswith(f"{top}/") for name in names):
        raise BundleError(f"{path} holds more than one folder; pack the bundle alone")
    return top


def _complaint(member: ZipInfo) -> str:
    """Say why a member has no place in a bundle; nothing if it has."""
    name = member.filename
    if name.startswith("/") or "\\" in name or ":" in name or "\0" in name:
        return "an absolute path or one of another system"
    if not name.strip("/") or ".." in PurePosixPath(name).parts:
        return "a path that leads outside"
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "a link or a special file"
    return "an encrypted file" if member.flag_bits & 1 else ""


def _extract(archive: ZipFile, members: Sequence[ZipInfo], folder: Path, name: str) -> None:
    """Unpack beside the place, and move there what is whole."""
    folder.mkdir(parents=True, exist_ok=True)
    staging = Path(mkdtemp(dir=folder, prefix=".part-"))
    try:
        root = staging / name
        for member in members:
            inner = member.filename.removeprefix(f"{name}/")
            target = root / inner
            if member.is_dir() or not inner:
                target.mkdir(parents=True, exist_ok=True)
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(member) as source, target.open("wb") as sink:
                shutil.copyfileobj(source, sink)
        if not (folder / name).is_dir():
            root.replace(folder / name)
    finally:
        shutil.rmtree(staging)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]
