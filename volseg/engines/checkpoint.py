"""The state that a run resumes from, and what a resumed run must have in common with it."""

import hashlib
from collections.abc import Iterable, Mapping
from io import BytesIO
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import nn

from volseg.errors import DataError, VolsegError
from volseg.networks.storage import write_atomically


def save_state(path: Path, state: Mapping[str, Any]) -> None:
    """Save what a run resumes from.

    Args:
        path: The file.
        state: Tensors, numbers and strings in dictionaries and lists, nothing else.
    """
    buffer = BytesIO()
    torch.save(dict(state), buffer)
    write_atomically(path, buffer.getvalue())


def load_state(path: Path) -> dict[str, Any]:
    """Read what `save_state` saved, without unpickling objects.

    Args:
        path: The file.

    Returns:
        The state, on the CPU.

    Raises:
        DataError: If the file is not such a state.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, UnpicklingError, OSError) as error:
        raise DataError(
            f"{path} cannot be read as the state of a run ({error}); remove it to start anew"
        ) from error
    if not isinstance(state, dict) or "settings" not in state:
        raise DataError(f"{path} is not the state of a run; remove it to start anew")
    return state


def require_equal(path: Path, then: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuse to resume a run under other settings.

    Args:
        path: The state's file, for the message.
        then: Settings that the run was started with.
        now: Settings that it would go on with.

    Raises:
        VolsegError: If a setting differs.
    """
    names = sorted({*then, *now})
    changed = [name for name in names if then.get(name) != now.get(name)]
    if changed:
        was = ", ".join(f"{name} {then.get(name)!r}" for name in changed)
        here = ", ".join(f"{name} {now.get(name)!r}" for name in changed)
        raise VolsegError(
            f"cannot resume {path}: it was started with {was}, now it is {here};"
            " use the same settings, or start anew without resume"
        )


def hash_module(module: nn.Module) -> str:
    """Hash the names and shapes of everything that a module saves.

    Args:
        module: The network or pretext task.

    Returns:
        The first 16 hexadecimal digits.
    """
    return _hash(f"{name} {tuple(value.shape)}" for name, value in module.state_dict().items())


def hash_cases(dataset: Any) -> str:
    """Hash the file names of a dataset's cases, wherever the files lie.

    Args:
        dataset: A MONAI dataset; one that does not keep its list as ``data`` is known by its
            length alone.

    Returns:
        The first 16 hexadecimal digits.
    """
    return _hash(list_cases(dataset))


def list_cases(dataset: Any) -> list[str]:
    """Name a dataset's cases by their files, wherever these lie.

    Args:
        dataset: A MONAI dataset; the cases of one that does not keep its list as ``data`` are
            numbered.

    Returns:
        One line a case.
    """
    cases = getattr(dataset, "data", None)
    if not isinstance(cases, (list, tuple)):
        return [f"case {index}" for index in range(len(dataset))]
    return [_name_case(case) for case in cases]


def _name_case(case: Any) -> str:
    if isinstance(case, Mapping):
        return " ".join(f"{key}={_name_case(case[key])}" for key in sorted(case))
    if isinstance(case, (list, tuple)):
        return " ".join(map(_name_case, case))
    return Path(case).name if isinstance(case, (str, Path)) else type(case).__name__


def _hash(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]
