"""The network over a volume, within the memory that there is: labels, and what is noted of them.

If memory runs out the work is done again in smaller pieces: fewer windows at once, then bands, then
on the CPU. What was given up is said. The labels may then differ in the last bits of the logits,
since libraries compute batches of another size in another order.
"""

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from copy import copy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.inferers import Inferer
from numpy.typing import NDArray
from torch import Tensor, nn

from volseg.data.export import align
from volseg.data.geometry import to_indices, to_native_grid
from volseg.errors import DataError, WeightsError
from volseg.inference.computation import Computation
from volseg.inference.memory import Ceiling, Peak, held
from volseg.inference.preparation import Prepared
from volseg.inference.retreat import Effort, is_short_of_memory
from volseg.inference.sliding_window import SlidingWindow
from volseg.inference.streaming import count_bands, least_bytes, stream_labels
from volseg.inference.survey import NativeMap, Survey
from volseg.inference.views import FlippedViews


@dataclass(frozen=True)
class Answer:
    """What the network says of an image.

    Args:
        labels: Label of each voxel on the image's grid.
        confidence: Mean probability of the chosen class where it is not the background.
        maps: Maps on the image's grid, by name.
        probabilities: Of each class on the network's grid, ``(K, X, Y, Z)``, if asked for.
        notes: What was given up for lack of memory.
    """

    labels: NDArray[np.integer]
    confidence: float | None
    maps: Mapping[str, NativeMap] = field(default_factory=dict)
    probabilities: Tensor | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Task:
    """A volume, and what is asked for.

    Args:
        prepared: What the network takes.
        ceiling: How much memory may be used.
        scratch: Folder for maps.
        needs_all: Whether the probabilities are asked for.
        streams: Whether labels come slab by slab.
    """

    prepared: Prepared
    ceiling: Ceiling
    scratch: Path | None
    needs_all: bool
    streams: bool

    def describe(self, device: torch.device) -> list[str]:
        """Say in a line that the ceiling may have been passed."""
        if self.streams or self.ceiling.on(device) is None:
            return []
        why = "a guard looks at them" if self.needs_all else "the image is oblique to its axes"
        return [f"all probabilities were in memory at once, whatever the ceiling, since {why}"]


class Engine:
    """Runs a network over volumes.

    Args:
        network: From ``(B, C, D, H, W)`` to logits ``(B, K, D, H, W)``, on ``device``.
        inferer: Applies the network to a volume of any size.
        classes: Name of each label value.
        device: Where the network runs.
        computation: How it is applied.
    """

    def __init__(
        self,
        network: nn.Module,
        inferer: Inferer,
        classes: Mapping[int, str],
        device: torch.device,
        computation: Computation,
    ) -> None:
        self.network = network
        self.inferer = inferer
        self.classes = classes
        self.device = device
        self.computation = computation
        self.on_window: Callable[[], object] = _do_nothing
        self._batch_size = inferer.batch_size if isinstance(inferer, SlidingWindow) else 1
        self._window_bytes: dict[tuple[str, int], int] = {}

    def run(
        self, prepared: Prepared, ceiling: Ceiling, scratch: Path | None, *, needs_all: bool = False
    ) -> Answer:
        """Segment a volume.

        Args:
            prepared: What the network takes.
            ceiling: How much memory may be used.
            scratch: Folder for maps until they are written; `None`: they are held in memory.
            needs_all: Whether the probabilities are asked for.

        Returns:
            Labels and what goes with them. What does not fit into memory in any way is refused with
            a `DataError`.
        """
        effort = first = Effort(self.device, self._batch_size)
        streams = not needs_all and self._can_stream(prepared)
        task = _Task(prepared, ceiling, scratch, needs_all=needs_all, streams=streams)
        most_bands = prepared.image.shape[2] if streams else 1
        while True:
            try:
                answer = self._attempt(task, effort)
                break
            except (MemoryError, RuntimeError) as error:  # the latter is the father of PyTorch's
                less = _retreat(error, effort, most_bands)
            effort = less  # outside: what the error holds is free by now
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
        if effort.device == self.device:
            self._batch_size = effort.batch_size  # the next volume has windows of the same size
        return replace(answer, notes=(*effort.describe(first), *task.describe(effort.device)))

    def _can_stream(self, prepared: Prepared) -> bool:
        """Tell whether labels can be had slab by slab."""
        grid, native = prepared.grid, prepared.native
        is_swept = isinstance(self.inferer, SlidingWindow)
        return is_swept and align(to_indices(grid, native), grid.shape, native.shape) is not None

    def _attempt(self, task: "_Task", effort: Effort) -> Answer:
        """Segment a volume with a given effort."""
        prepared, grids = task.prepared, (task.prepared.grid, task.prepared.native)
        self.network.to(effort.device)
        survey = Survey(len(self.classes), self.computation.maps, task.scratch)
        inferer = self._inferer(effort)
        with torch.inference_mode():
            volume = prepared.image.to(effort.device)
            if task.streams and isinstance(inferer, SlidingWindow):
                bands = max(effort.num_bands, self._count_bands(volume, inferer, task.ceiling))
                found = stream_labels(volume, *grids, self._views, inferer, bands, survey)
                if found is not None:
                    return Answer(found, survey.confidence, survey.finish(self.classes))
            values = survey.chances(inferer(volume[None], self._views)[0])
            survey.count(values)
            chances = survey.classes_of(values)
            labels = to_native_grid(chances, prepared.grid.affine, prepared.native)
            survey.chart_all(values, prepared.grid.affine, prepared.native)
        kept = chances if task.needs_all else None
        return Answer(labels, survey.confidence, survey.finish(self.classes), kept)

    def _inferer(self, effort: Effort) -> Inferer:
        if not isinstance(self.inferer, SlidingWindow):
            return self.inferer
        own = copy(self.inferer)
        own.batch_size = effort.batch_size
        return own

    def _views(self, windows: Tensor) -> Any:
        """Look at windows from all sides that are allowed."""
        axes = self.computation.flip_axes
        if not axes:
            return self._logits(windows)
        variance = self.computation.keeps_variance
        return FlippedViews(self._logits, axes, with_variance=variance)(windows)

    def _logits(self, windows: Tensor) -> Any:
        """Run the network and refuse another number of classes than were named."""
        dtype = self.computation.dtype(windows.device)
        is_full = dtype == torch.float32
        with nullcontext() if is_full else torch.autocast(windows.device.type, dtype):
            logits = self.network(windows)
        self.on_window()
        if isinstance(logits, Tensor) and logits.ndim > 1 and logits.shape[1] != len(self.classes):
            raise WeightsError(
                f"the network gives {logits.shape[1]} classes and {len(self.classes)} are named:"
                f" {', '.join(self.classes.values())}"
            )
        return logits

    def _count_bands(self, volume: Tensor, inferer: SlidingWindow, ceiling: Ceiling) -> int:
        """Find how many bands keep to the ceiling, once a window has shown what it takes."""
        device = volume.device
        most = ceiling.on(device)
        if most is None:
            return 1
        key = device.type, inferer.batch_size
        if key not in self._window_bytes:
            window = torch.zeros((inferer.batch_size, len(volume), *inferer.roi_size))
            with Peak(device) as peak:
                self._views(window.to(device))
            self._window_bytes[key] = peak.bytes
        limit = most - held(device) - self._window_bytes[key]
        shape = (volume.shape[1], volume.shape[2], volume.shape[3])
        channels = len(self.classes) + self.computation.keeps_variance
        bands = count_bands(shape, inferer.roi_size[0], channels, limit)
        if bands is None:
            least = most - limit + least_bytes(shape, inferer.roi_size[0], channels)
            raise MemoryError(
                f"needs about {least / 2**30:.1f} GiB with {len(self.classes)} classes, and the"
                f" ceiling is {most / 2**30:.1f} GiB"
            )
        return bands


def _retreat(error: Exception, effort: Effort, most_bands: int) -> Effort:
    """Give the next smaller effort, if that is an answer to an error."""
    if not is_short_of_memory(error):
        raise error
    less = effort.less(most_bands)
    if less is None:
        reason = str(error).splitlines() or ["no memory left"]
        raise DataError(f"{reason[0]}; allow more memory") from error
    return less


def _do_nothing() -> None:
    """Watch nothing."""
