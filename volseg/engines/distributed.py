"""One process or several: which device this one uses, and which of them it is.

``torchrun`` tells each process its place through ``RANK``, ``LOCAL_RANK`` and ``WORLD_SIZE``.
Nothing else in volseg reads these variables.
"""

import os

import torch
from torch import Tensor
from torch import distributed as process_group

from volseg.errors import DeviceError


def device(name: str | torch.device = "auto") -> torch.device:
    """Find the device that this process computes on.

    Args:
        name: ``auto`` (a GPU if there is one), ``cpu``, ``cuda``, ``cuda:N`` or ``mps``. Under
            ``torchrun``, ``auto`` and ``cuda`` mean the GPU of the process's local rank.

    Returns:
        The device.

    Raises:
        DeviceError: If the name is unknown or the device is not there.
    """
    asked = str(name)
    if asked == "auto":
        asked = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        found = torch.device(asked)
    except RuntimeError as error:
        raise DeviceError(
            f"device {asked!r} is unknown; use auto, cpu, cuda, cuda:N or mps"
        ) from error
    if found.type == "cuda":
        return _gpu(found)
    if found.type == "mps" and not torch.backends.mps.is_available():
        raise DeviceError("device 'mps' was asked for, but is not there; use auto or cpu")
    return found


def _gpu(asked: torch.device) -> torch.device:
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    index = int(os.environ.get("LOCAL_RANK", "0")) if str(asked) == "cuda" else asked.index
    if index >= count:
        raise DeviceError(
            f"device 'cuda:{index}' was asked for, but this machine offers {count} GPU(s);"
            " use auto or cpu"
        )
    return torch.device("cuda", index)


def start(place: torch.device) -> None:
    """Join the other processes, if ``torchrun`` started several; do nothing otherwise.

    Args:
        place: The device of this process: ``nccl`` joins GPUs, ``gloo`` everything else.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) < 2 or process_group.is_initialized():
        return
    if place.type == "cuda":
        torch.cuda.set_device(place)
    process_group.init_process_group("nccl" if place.type == "cuda" else "gloo")


def finish() -> None:
    """Leave the other processes, if they were joined."""
    if process_group.is_initialized():
        process_group.destroy_process_group()


def wait() -> None:
    """Wait until all processes have come here."""
    if is_joined():
        process_group.barrier()


def is_joined() -> bool:
    """Tell whether several processes train together."""
    return process_group.is_available() and process_group.is_initialized()


def rank() -> int:
    """Give the number of this process, from 0."""
    return process_group.get_rank() if is_joined() else 0


def world_size() -> int:
    """Give the number of processes."""
    return process_group.get_world_size() if is_joined() else 1


def is_main() -> bool:
    """Tell whether this process is the one that writes files."""
    return rank() == 0


def mean_over_ranks(values: Tensor) -> Tensor:
    """Average a tensor over all processes, in place.

    Args:
        values: Equal shapes everywhere.

    Returns:
        The same tensor, averaged.
    """
    if is_joined():
        process_group.all_reduce(values)
        values /= world_size()
    return values
