"""The frozen features of samples, and what it cost to compute them."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import psutil
import torch
from monai.transforms import SpatialPad
from numpy.typing import NDArray
from torch import Tensor

from volseg.data.case import Case
from volseg.errors import VolsegError
from volseg.evaluation.probing.samples import Position, Sample
from volseg.networks.embedder import Embedder
from volseg.networks.encoder import Encoder
from volseg.types import Size

INTERVAL = 0.01
"""Seconds between two looks at the memory."""


@dataclass(frozen=True)
class Arm:
    """An encoder with what it needs to read a case.

    Args:
        name: What it is called.
        encoder: The encoder, frozen.
        read: From ``{"image": path}``, with ``label`` for a mask, to tensors on the encoder's grid.
        patch_size: Voxels of a patch along each axis.
        channels: Names of its input channels.
        is_trained: Whether its weights were learned, or are as they are drawn.
        facts: What else is known of it.
    """

    name: str
    encoder: Encoder
    read: Callable[[dict[str, Any]], Mapping[str, Any]]
    patch_size: Size
    channels: tuple[str, ...] = ()
    is_trained: bool = True
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Features:
    """Vectors of samples.

    Args:
        vectors: One row a sample, ``(N, F)``; `nan` where a case could not be read.
        seconds: In the encoder; reading and preprocessing do not count.
        memory_mib: Most memory held in the encoder beyond what was held before, in MiB.
        failures: Why a case could not be read, by name.
    """

    vectors: NDArray[np.float32]
    seconds: float
    memory_mib: float
    failures: Mapping[str, str]


def embed_samples(
    arm: Arm,
    samples: Sequence[Sample],
    pool: str = "mean_std",
    device: str | torch.device = "cpu",
    watch: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> Features:
    """Compute the frozen features of samples.

    Args:
        arm: The encoder.
        samples: What to describe; each case is read once.
        pool: As for `Encoder.embed`.
        device: Where the encoder runs.
        watch: Passes cases on one by one, such as a progress bar.

    Returns:
        The vectors, in the order of the samples.

    Raises:
        VolsegError: If no case can be read.
    """
    place = torch.device(device)
    embedder = Embedder(arm.encoder, pool).to(place).eval()
    places: dict[str, list[int]] = {}
    for index, sample in enumerate(samples):
        places.setdefault(sample.case.name, []).append(index)
    rows: dict[int, NDArray[np.float32]] = {}
    failures: dict[str, str] = {}
    meter = Meter(place)
    for name, indices in watch(list(places.items())):
        try:
            inputs = list(_inputs(arm, [samples[index] for index in indices]))
        except (VolsegError, OSError, RuntimeError) as error:
            failures[name] = " ".join(str(error.__cause__ or error).split())
            continue
        with meter.running(), torch.inference_mode():
            for index, (image, region) in zip(indices, inputs, strict=True):
                held = None if region is None else region.to(place)
                rows[index] = embedder(image.to(place), held)[0].float().cpu().numpy()
    if not rows:
        raise VolsegError(f"no case can be read, such as: {next(iter(failures.values()))}")
    width = len(next(iter(rows.values())))
    vectors = np.full((len(samples), width), np.nan, np.float32)
    for index, row in rows.items():
        vectors[index] = row
    return Features(vectors, round(meter.seconds, 3), round(meter.mib, 1), failures)


class Meter:
    """Takes time and memory of what runs in it.

    Args:
        device: The memory of a GPU counts instead of the host's.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.seconds = 0.0
        self.mib = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run something.

        Yields:
            Nothing.
        """
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        stop, peak, process = threading.Event(), [0], psutil.Process()
        before = process.memory_info().rss

        def look() -> None:
            while not stop.wait(INTERVAL):
                peak[0] = max(peak[0], process.memory_info().rss - before)

        watcher = threading.Thread(target=look, daemon=True)
        watcher.start()
        started = time.perf_counter()
        try:
            yield
            if self.device.type == "cuda":
                torch.cuda.synchronize(self.device)
        finally:
            self.seconds += time.perf_counter() - started
            peak[0] = max(peak[0], process.memory_info().rss - before)
            stop.set()
            watcher.join()
        held = peak[0]
        if self.device.type == "cuda":
            held = torch.cuda.max_memory_allocated(self.device)
        self.mib = max(self.mib, held / 2**20)


def _inputs(arm: Arm, samples: Sequence[Sample]) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Read a case, and give volume and region of each of its samples, with a batch axis."""
    needs_mask = any(sample.values is not None for sample in samples)
    found = arm.read(_item(samples[0].case, with_mask=needs_mask))
    image = found["image"]
    volume = image.as_subclass(Tensor)
    for sample in samples:
        if sample.centre is not None:
            yield _crop(volume, image.affine, sample.centre, arm.patch_size)[None], None
        elif sample.values is not None:
            label = found["label"].as_subclass(Tensor)
            region = torch.isin(label, torch.tensor(sample.values, dtype=label.dtype))
            if not region.any():
                raise VolsegError(f"{sample.name} has no voxel on the encoder's grid")
            yield volume[None], region[None].float()
        else:
            yield volume[None], None


def _item(case: Case, *, with_mask: bool) -> dict[str, Any]:
    images = [str(path) for path in case.images]
    item: dict[str, Any] = {"image": images[0] if len(images) == 1 else images}
    if case.channels:
        item["channels"] = list(case.channels)
    return {**item, "label": str(case.label)} if with_mask else item


def _crop(volume: Tensor, affine: Tensor, centre: Position, size: Size) -> Tensor:
    """Cut a patch around a point, moved inwards where it would leave the volume."""
    if any(have < want for have, want in zip(volume.shape[1:], size, strict=True)):
        before = [
            max(0, (want - have) // 2) for have, want in zip(volume.shape[1:], size, strict=True)
        ]
        volume = torch.as_tensor(SpatialPad(size, mode="edge")(volume))
    else:
        before = [0, 0, 0]
    point = np.linalg.inv(np.asarray(affine, dtype=np.float64)) @ [*centre, 1.0]
    cut = []
    for axis, want in enumerate(size):
        start = round(point[axis]) + before[axis] - want // 2
        start = min(max(0, start), volume.shape[axis + 1] - want)
        cut.append(slice(start, start + want))
    return volume[(slice(None), *cut)]
