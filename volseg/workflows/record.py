"""``run.json``: what was run, on what, with which versions, and how it went."""

import hashlib
import json
import logging
import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from tqdm import tqdm

from volseg import __version__
from volseg.engines.forecast import peak_memory
from volseg.errors import VolsegError
from volseg.networks.storage import write_atomically

logger = logging.getLogger(__name__)

RECORD = "run.json"

PACKAGES = (
    "torch", "monai", "numpy", "scipy", "nibabel", "pytorch-ignite", "safetensors",
)  # fmt: skip
"""Packages whose version may change a result."""


@contextmanager
def recording(
    output: Path,
    verb: str,
    settings: Mapping[str, Any],
    inputs: Sequence[Path] = (),
    device: str | torch.device = "cpu",
) -> Iterator[dict[str, Any]]:
    """Write ``run.json`` when something starts, and again when it has ended, however it did.

    Args:
        output: Folder of the record; a record that is there is kept in it under ``previous``.
        verb: What is run.
        settings: Arguments, configuration and seed, as plain values.
        inputs: Files whose content decides the result; each is hashed.
        device: Where it computes.

    Yields:
        The record; what is added to its ``results`` is written too.

    Raises:
        BaseException: Whatever ended the run.
    """
    path = output / RECORD
    place, began = torch.device(device), perf_counter()
    record: dict[str, Any] = {
        "verb": verb,
        "status": "running",
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "settings": dict(settings),
        "versions": versions(),
        "machine": machine(place),
        "inputs": hash_files(inputs),
        "results": {},
        "previous": _read_previous(path),
    }
    write_record(path, record)
    try:
        yield record
    except BaseException as error:
        record |= {"status": "failed", "error": f"{type(error).__name__}: {error}"}
        raise
    else:
        record["status"] = "done"
    finally:
        record["seconds"] = round(perf_counter() - began, 3)
        record["peak_memory_mib"] = peak_memory(place)
        try:
            write_record(path, record)
        except VolsegError as error:  # a full disk must not hide what was found
            logger.warning("%s", error)


def write_record(path: Path, record: Mapping[str, Any]) -> None:
    """Write a record, whole or not at all.

    Args:
        path: The file.
        record: Plain values; anything else is written as its text.
    """
    text = json.dumps(record, indent=2, default=str, ensure_ascii=False)
    write_atomically(path, f"{text}\n".encode(errors="backslashreplace"))


def versions() -> dict[str, str]:
    """List the versions of Python, volseg and what it computes with."""
    found = {"python": platform.python_version(), "volseg": __version__}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def machine(device: torch.device) -> dict[str, Any]:
    """Describe where something is computed.

    Args:
        device: The device.

    Returns:
        Device, its name, threads and platform.
    """
    is_gpu = device.type == "cuda"
    return {
        "device": str(device),
        "name": torch.cuda.get_device_name(device) if is_gpu else platform.processor(),
        "threads": torch.get_num_threads(),
        "processors": os.cpu_count(),
        "platform": platform.platform(),
    }


def hash_files(paths: Sequence[Path]) -> list[dict[str, Any]]:
    """Hash the content of files.

    Args:
        paths: The files.

    Returns:
        Path, bytes and SHA-256 of each, or why it cannot be read.
    """
    hashed: list[dict[str, Any]] = []
    for path in tqdm(paths, desc="hash inputs", unit="file", delay=2, leave=False):
        try:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
                size = os.fstat(file.fileno()).st_size
        except OSError as error:
            hashed.append({"path": str(path), "error": error.strerror or str(error)})
        else:
            hashed.append({"path": str(path), "bytes": size, "sha256": digest})
    return hashed


def _read_previous(path: Path) -> list[dict[str, Any]]:
    """Read what earlier runs into the same folder have left, newest last, without their inputs."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    if not isinstance(record, dict):
        return []
    kept = {key: record.get(key) for key in ("verb", "status", "started", "seconds", "error")}
    return [*record.get("previous", []), kept]
