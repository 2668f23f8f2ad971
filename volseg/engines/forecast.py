"""What a training will take, measured before its first step."""

import resource
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch

from volseg.engines.learner import Learner
from volseg.engines.loop import Batches

OPTIMIZER_STATES = 2
"""Values that AdamW keeps for each parameter; they are made at the first step."""


@dataclass(frozen=True)
class Forecast:
    """What the steps that remain will take.

    Args:
        steps: Steps that remain.
        seconds: Seconds of one step, loading included; validation is not.
        memory: MiB at the peak, by place.
    """

    steps: int
    seconds: float
    memory: Mapping[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        """Say it in one line."""
        places = ", ".join(f"{value:.0f} MiB ({name})" for name, value in self.memory.items())
        whole = format_duration(self.steps * self.seconds)
        return (
            f"{self.steps} steps of about {self.seconds:.2g} s: {whole} without validation; memory"
            f" at the peak about {places}"
        )


def forecast(learner: Learner, batches: Batches) -> Forecast:
    """Measure a step on the next batch, and forget it again.

    The batch is loaded by this process, whatever the number of workers, and goes through the module
    twice, since the first time is slow; no weight and no buffer changes.

    Args:
        learner: What learns, with the steps that it has done.
        batches: Where batches come from.

    Returns:
        The forecast.
    """
    started = time.perf_counter()
    batch = batches.peek()
    loading = time.perf_counter() - started
    learner.rehearse(batch)
    started = time.perf_counter()
    learner.rehearse(batch)
    computing = time.perf_counter() - started
    # workers load while the device computes
    loading /= max(1, batches.num_workers)
    seconds = max(loading, computing) if batches.num_workers else loading + computing
    peaks = peak_memory(learner.device)
    place = "gpu" if "gpu" in peaks else "host"
    coming = sum(p.numel() for p in learner.module.parameters() if p.requires_grad)
    peaks[place] += OPTIMIZER_STATES * 4 * coming / 2**20
    return Forecast(learner.total - learner.step, seconds, peaks)


def format_duration(seconds: float) -> str:
    """Write a time in the unit that suits it.

    Args:
        seconds: The time.

    Returns:
        Seconds, minutes, or hours and minutes.

    Examples:
        >>> [format_duration(value) for value in (4, 600, 9000)]
        ['4 s', '10 min', '2 h 30 min']
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"


def peak_memory(device: torch.device) -> dict[str, float]:
    """Measure the most memory that this process has held so far.

    Args:
        device: Its GPU counts too.

    Returns:
        MiB of the host and, if it is one, of the GPU.
    """
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB elsewhere
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    peaks = {"host": round(held / 2**20, 1)}
    if device.type == "cuda":
        peaks["gpu"] = round(torch.cuda.max_memory_allocated(device) / 2**20, 1)
    return peaks
