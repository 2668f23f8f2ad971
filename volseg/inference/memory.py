"""How much memory there is to work in, measured and not guessed."""

from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from typing import Self

import psutil
import torch

CGROUP = Path("/sys/fs/cgroup")
"""Where Linux says how much memory a container may use."""

INTERVAL = 0.002
"""Seconds between two looks at the memory of the process."""


@dataclass(frozen=True)
class Ceiling:
    """How much memory may be used; `None`: as much as there is.

    Args:
        host: Bytes of the process.
        gpu: Bytes on a CUDA device.
    """

    host: int | None = None
    gpu: int | None = None

    def on(self, device: torch.device) -> int | None:
        """Give what holds where a network runs.

        Args:
            device: Its device.

        Returns:
            Bytes.
        """
        return self.gpu if device.type == "cuda" else self.host


class Peak:
    """The largest memory that a block needs beyond what was held before it.

    On a CUDA device it is what PyTorch allocates there, on any other what the process holds.

    Args:
        device: Where the block computes.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.bytes = 0
        self._done = Event()
        self._before = 0
        self._thread = Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        """Begin to look."""
        self._before = held(self.device)
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        else:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop, with the result in ``bytes``."""
        if self.device.type == "cuda":
            self.bytes = torch.cuda.max_memory_allocated(self.device) - self._before
        else:
            self._done.set()
            self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(INTERVAL):
            self.bytes = max(self.bytes, held(self.device) - self._before)


def held(device: torch.device) -> int:
    """Tell what is held at this moment.

    Args:
        device: A CUDA device, or any other for the memory of the process.

    Returns:
        Bytes.
    """
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device)
    return int(psutil.Process().memory_info().rss)


def available() -> int:
    """Tell how much memory this process could still get, in a container too.

    Returns:
        Bytes.
    """
    free = int(psutil.virtual_memory().available + psutil.swap_memory().free)
    try:
        most, used = (int((CGROUP / f"memory.{name}").read_text()) for name in ("max", "current"))
    except (OSError, ValueError):  # no container, or one without a limit
        return free
    return max(0, min(free, most - used))


def parse_bytes(text: str) -> int:
    """Read a number of bytes as people write it.

    Args:
        text: A number with ``K``, ``M``, ``G`` or ``T``, powers of 1024, or without.

    Returns:
        Bytes.

    Raises:
        ValueError: If it is none, or not above 0.

    Examples:
        >>> parse_bytes("1.5G"), parse_bytes("800 MiB")
        (1610612736, 838860800)
    """
    plain = text.strip().upper().removesuffix("B").removesuffix("I").strip()
    power = "KMGT".find(plain[-1:]) + 1 if plain[-1:] else 0
    try:
        value = float(plain[:-1] if power else plain) * 1024**power
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise ValueError(f"{text!r} is no amount of memory; write 4G, 800M or a number of bytes")
    return int(value)
