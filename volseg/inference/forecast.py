"""What a batch would read, write and take, before anything is read or written.

Only headers are read. One window is run through the network, twice, and all times follow from it;
they are a guess, as is the memory.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from time import perf_counter
from typing import Any

import numpy as np
import torch

from volseg.data.reading import read_source_grid
from volseg.errors import VolsegError
from volseg.inference.memory import Peak, held
from volseg.inference.predictor import Predictor
from volseg.inference.room import PREPARED_BYTES, network_shape, require_room
from volseg.inference.sliding_window import SlidingWindow
from volseg.inference.work_list import Job
from volseg.networks.segmenter import Segmenter


@dataclass(frozen=True)
class Forecast:
    """What a case would take.

    Args:
        name: Name of the case.
        source: The image.
        target: The mask.
        shape: Voxels of the image along each axis.
        windows: How often the network would be called; 0 if nobody knows.
        seconds: Time in the network.
        memory_mib: Memory of the process, in MiB.
        reason: Why it cannot be segmented; `None` if nothing speaks against it.
    """

    name: str
    source: str
    target: str
    shape: tuple[int, ...] = ()
    windows: int = 0
    seconds: float = 0.0
    memory_mib: int = 0
    reason: str | None = None


@dataclass(frozen=True)
class Forecasts:
    """What a batch would take.

    Args:
        cases: One forecast a case.
    """

    cases: Sequence[Forecast]

    def to_json(self) -> dict[str, Any]:
        """Give everything as plain values."""
        return {"cases": [asdict(case) for case in self.cases]}

    def __str__(self) -> str:
        """Give a line a case, and the sum."""
        lines = [_line(case) for case in self.cases]
        total = sum(case.seconds for case in self.cases)
        count = sum(case.reason is None for case in self.cases)
        lines.append(f"{count} of {len(lines)} cases, about {total:.0f} s in the network")
        return "\n".join(lines)


def forecast(
    jobs: Sequence[Job], predictor: Predictor, spacing: Sequence[float] | None
) -> Forecasts:
    """Say what each case would take.

    Args:
        jobs: The images and their masks.
        predictor: What would segment them.
        spacing: Voxel edge of the network's grid along each axis, in mm; `None`: the image's own.

    Returns:
        One forecast a case, in order.
    """
    inferer = predictor.inferer
    if not isinstance(inferer, SlidingWindow) or not jobs:
        return Forecasts([_look(job, None)[0] for job in jobs])
    channels = _channels_of(predictor.network, max(1, len(jobs[0].sources)))
    window = torch.zeros((inferer.batch_size, channels, *inferer.roi_size))
    seconds, window_bytes = _try(predictor, window)
    base = held(torch.device("cpu"))
    cases = []
    for job in jobs:
        case, shape = _look(job, spacing)
        if case.reason is None:
            case = _judge(case, shape, channels, predictor)
        if case.reason is None:
            count = inferer.count_batches(shape)
            rows = inferer.roi_size[0] * shape[1] * shape[2]
            voxels = channels * (np.prod(case.shape) + np.prod(shape))
            held_bytes = 4 * len(predictor.classes) * rows + window_bytes
            needed = base + max(PREPARED_BYTES * voxels, 4 * voxels + held_bytes)
            case = Forecast(
                *(case.name, case.source, case.target, case.shape),
                windows=count,
                seconds=round(count * seconds, 1),
                memory_mib=int(needed / 2**20),
            )
        cases.append(case)
    return Forecasts(cases)


def _channels_of(network: torch.nn.Module, files: int) -> int:
    """Count the channels that a network takes; a pipeline may make several of one file."""
    return network.encoder.spec.in_channels if isinstance(network, Segmenter) else files


def _try(predictor: Predictor, window: torch.Tensor) -> tuple[float, int]:
    """Give the seconds and the memory of one call of the network."""
    with torch.inference_mode(), Peak(predictor.device) as peak:
        predictor.network(window.to(predictor.device))
        begin = perf_counter()
        predictor.network(window.to(predictor.device)).sum().item()
        seconds = perf_counter() - begin
    return seconds, peak.bytes


def _look(job: Job, spacing: Sequence[float] | None) -> tuple[Forecast, tuple[int, ...]]:
    """Read the header of a case; give the shape on the network's grid too."""
    where = job.name, str(job.source), str(job.target)
    if job.reason is not None:
        return Forecast(*where, reason=job.reason), ()
    try:
        _, shape, affine = read_source_grid(job.sources[0])
    except (VolsegError, OSError) as error:
        return Forecast(*where, reason=str(error).removeprefix(f"{job.source}: ")), ()
    return Forecast(*where, shape=shape), network_shape(shape, affine, spacing)


def _judge(case: Forecast, size: tuple[int, ...], channels: int, predictor: Predictor) -> Forecast:
    try:
        require_room(case.shape, size, channels, predictor.ceiling)
    except VolsegError as error:
        return replace(case, reason=str(error))
    return case


def _line(case: Forecast) -> str:
    if case.reason is not None:
        return f"{case.source}: cannot be segmented: {case.reason}"
    size = "x".join(map(str, case.shape))
    return (
        f"{case.source} ({size}) -> {case.target}: {case.windows} windows, about"
        f" {case.seconds:.1f} s, {case.memory_mib} MiB"
    )
