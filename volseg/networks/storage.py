"""Weights on disk: written whole or not at all, read without unpickling, refused with a reason."""

import os
import pickle
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from volseg.errors import WeightsError

WRAPPERS = re.compile(r"^((?:encoder|decoder|heads)\.)?(?:(?:module|_orig_mod)\.)+")
"""What DistributedDataParallel and torch.compile put before the names of what they wrap."""

UNREADABLE = (
    pickle.UnpicklingError, RuntimeError, ValueError, TypeError, EOFError, LookupError,
    AttributeError, OSError,
)  # fmt: skip
"""What `torch.load` may raise at bytes that are no state dict."""

UNKNOWN_CLASS = re.compile(r"GLOBAL ([\w.]+)")
"""How PyTorch names what it does not unpickle; around it stands how to do so nevertheless."""


def storable(module: nn.Module, dtype: torch.dtype) -> dict[str, Tensor]:
    """Copy the tensors of a module to what a file can hold.

    Args:
        module: The module, on any device.
        dtype: What floating tensors become.

    Returns:
        Tensors by name, on the CPU, each with memory of its own.

    Raises:
        WeightsError: If a value is not finite.
    """
    stored = {}
    for name, tensor in module.state_dict().items():
        kind = dtype if tensor.is_floating_point() else tensor.dtype
        stored[name] = tensor.detach().to("cpu", kind, copy=True).contiguous()
        if not torch.isfinite(stored[name]).all():
            raise WeightsError(
                f"{name} holds values that are not finite in {dtype}; the training diverged, or"
                " the type is too narrow"
            )
    return stored


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file whole, or leave what was there: a kill or a full disk never spoils it.

    Args:
        path: The file; its folder is made if it is not there.
        content: All of its bytes.

    Raises:
        WeightsError: If the disk is full, read-only or otherwise refuses.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise WeightsError(f"cannot write {path}: {error.strerror or error}") from error


def read_metadata(path: Path) -> tuple[dict[str, str], dict[str, tuple[tuple[int, ...], str]]]:
    """Read the head of a safetensors file: no tensor is loaded.

    Args:
        path: The file.

    Returns:
        Its metadata, and the shape and data type of each tensor by name.
    """
    with _opened(path) as file:
        slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 - no mapping
        shapes = {name: (tuple(s.get_shape()), s.get_dtype()) for name, s in slices.items()}
        return dict(file.metadata() or {}), shapes


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a safetensors file, floating ones as float32.

    Args:
        path: The file.

    Returns:
        Tensors by name, on the CPU.
    """
    with _opened(path) as file:
        names = list(file.keys())
        return {name: widen(file.get_tensor(name)) for name in names}


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Read a plain state dict that PyTorch saved; nothing but tensors is unpickled.

    One under ``model`` is taken too, as MONAI's checkpoints have it.

    Args:
        path: The ``.pt`` file.

    Returns:
        Tensors by name, on the CPU, floating ones as float32.

    Raises:
        WeightsError: If it holds anything but a dictionary of tensors.
    """
    advice = "save it with volseg's save_state_dict"
    values = read_plain_values(path)
    if not isinstance(values, dict) or not values:
        raise WeightsError(f"{path} holds a {type(values).__name__}, not a state dict; {advice}")
    inner = values.get("model")
    values = inner if isinstance(inner, dict) and inner else values
    others = [name for name, value in values.items() if not isinstance(value, Tensor)]
    if others:
        raise WeightsError(
            f"{path} is not a plain state dict: {others[0]!r} is a"
            f" {type(values[others[0]]).__name__}; {advice}"
        )
    return {str(name): widen(tensor) for name, tensor in values.items()}


def read_plain_values(path: Path) -> Any:
    """Read what PyTorch saved, without unpickling anything but tensors and plain values.

    Args:
        path: The ``.pt`` file.

    Returns:
        Its content, tensors on the CPU.

    Raises:
        WeightsError: If it holds anything else.
    """
    _require_file(path)
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except UNREADABLE as error:
        found = UNKNOWN_CLASS.search(str(error))
        reason = f"it holds a {found[1]}" if found else "PyTorch cannot read it"
        raise WeightsError(
            f"{path} is not a plain state dict ({reason}); save it with volseg's save_state_dict,"
            " or with torch.save of the state dict alone"
        ) from error


def strip_wrappers(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Take off the prefixes of DistributedDataParallel and torch.compile.

    Args:
        tensors: Tensors by name.

    Returns:
        Tensors by their plain names, and a note if names were changed.

    Raises:
        WeightsError: If two names become one.
    """
    renamed = {name: _plain_name(name) for name in tensors}
    if len(set(renamed.values())) < len(renamed):
        raise WeightsError("names with and without the prefix 'module.' clash; save one of them")
    count = sum(name != plain for name, plain in renamed.items())
    notes = (f"took the prefix 'module.' or '_orig_mod.' off {count} names",) if count else ()
    return {renamed[name]: tensor for name, tensor in tensors.items()}, notes


def _plain_name(name: str) -> str:
    """Take wrappers off the front, and again behind the name of a part."""
    keep_part = r"\1"
    return WRAPPERS.sub(keep_part, WRAPPERS.sub(keep_part, name))


def widen(tensor: Tensor) -> Tensor:
    """Make a floating tensor float32, and leave others as they are."""
    return tensor.float() if tensor.is_floating_point() else tensor


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open a safetensors file, or say what is wrong with it."""
    _require_file(path)
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path} {_diagnose(path)} ({error})") from error


def _require_file(path: Path) -> None:
    if not path.is_file():
        kind = "a folder" if path.is_dir() else "not there"
        raise WeightsError(f"weights file {path} is {kind}; give the path of a weights file")


def _diagnose(path: Path) -> str:
    """Say what is wrong with a file that safetensors refused."""
    with path.open("rb") as file:
        head = file.read(9)
    if head[:2] == b"PK" or head[:1] == b"\x80":
        return "is a PyTorch file, not safetensors; nothing in volseg unpickles"
    if head[8:9] == b"{":
        return "is truncated or damaged; copy or save it again"
    return "is not a safetensors file"
