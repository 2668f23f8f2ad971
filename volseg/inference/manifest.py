"""The account of a batch, one line a case, and whether a mask of an earlier run still counts.

A mask counts if its image, the bundle and the options are the same as when it was written, and if
it is itself as it was written, and its maps are. A mask that somebody has changed since is never
replaced unasked; a map that is lost or changed is made anew, with its mask.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from volseg.errors import DataError
from volseg.inference.results import CaseResult

MANIFEST = "manifest.jsonl"


def read_manifest(folder: Path) -> dict[str, dict[str, Any]]:
    """Read the last line of each mask.

    Args:
        folder: Folder of the masks.

    Returns:
        Lines by the mask's path as it was written; none if there is no manifest. A line that a kill
        has cut off is left out.
    """
    try:
        content = (folder / MANIFEST).read_bytes()
    except OSError:  # there is none
        return {}
    found: dict[str, dict[str, Any]] = {}
    for line in content.split(b"\n"):  # names may hold what else ends a line
        try:
            entry = json.loads(line)
        except ValueError:  # it is cut off, maybe within a letter
            continue
        if isinstance(entry, dict) and isinstance(entry.get("target"), str):
            found[entry["target"]] = entry
    return found


def append_line(folder: Path, result: CaseResult) -> None:
    """Add a case; a line that a kill has cut off does not swallow it.

    Args:
        folder: Folder of the masks.
        result: What became of the case.
    """
    line = json.dumps(asdict(result), ensure_ascii=False) + "\n"
    path = folder / MANIFEST
    with path.open("a+b") as stream:
        if stream.tell() and not _ends_with_newline(path):
            line = f"\n{line}"
        stream.write(line.encode(errors="backslashreplace"))  # names of files may be no text


def hash_files(paths: Iterable[Path]) -> str:
    """Hash the content of files, in order.

    Args:
        paths: The files.

    Returns:
        SHA-256 of one file; of several, that of their hashes.

    Raises:
        DataError: If one is a pipe, a device or a folder.
    """
    digests = []
    for path in paths:
        if path.exists() and not path.is_file():
            raise DataError(f"{path}: is no regular file; give one")
        with path.open("rb") as file:
            digests.append(hashlib.file_digest(file, "sha256").hexdigest())
    return (
        digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()
    )


def hash_settings(settings: Mapping[str, Any]) -> str:
    """Hash plain values.

    Args:
        settings: All that decides the labels apart from the image.

    Returns:
        SHA-256 of their JSON, whatever the order of the keys.
    """
    text = json.dumps(settings, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def find_valid(
    entry: Mapping[str, Any] | None, target: Path, input_hash: str, run_hash: str
) -> CaseResult | None:
    """Give what an earlier run did, if its mask still counts.

    Args:
        entry: The mask's line in the manifest.
        target: The mask.
        input_hash: Hash of its image now.
        run_hash: Hash of bundle and options now.

    Returns:
        The case, ``skipped``; `None` if it is to be segmented (again).

    Raises:
        DataError: If the mask is there and is not what volseg has written.
    """
    if not target.exists():
        return None
    written = (entry or {}).get("output_hash")
    if entry is None or not written:
        raise DataError(f"{target}: was not written by the run to resume; move it or overwrite")
    if hash_files([target]) != written:
        raise DataError(f"{target}: was changed since it was written; move it or overwrite")
    if (entry.get("input_hash"), entry.get("run_hash")) != (input_hash, run_hash):
        return None
    if not all(_is_as_written(Path(path), digest) for path, digest in _maps(entry)):
        return None
    known = {key: entry[key] for key in CaseResult.__dataclass_fields__ if key in entry}
    return CaseResult(**{**known, "status": "skipped", "seconds": 0.0})


def _maps(entry: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    """List the maps of a line, and their hashes."""
    maps = entry.get("map_hashes")
    return maps.items() if isinstance(maps, dict) else ()


def _is_as_written(path: Path, digest: str) -> bool:
    return path.is_file() and hash_files([path]) == digest


def _ends_with_newline(path: Path) -> bool:
    with path.open("rb") as stream:
        stream.seek(-1, 2)
        return stream.read(1) == b"\n"
