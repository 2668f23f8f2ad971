"""Who segments a batch: this process, several processes, or the workers of a cluster."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch

from volseg.bundle import Bundle
from volseg.engines.distributed import device as find_device
from volseg.errors import DeviceError, find_cause
from volseg.inference.cluster import segment_on_cluster
from volseg.inference.computation import Computation
from volseg.inference.folder import Terms, segment_jobs
from volseg.inference.memory import Ceiling
from volseg.inference.predictor import Predictor
from volseg.inference.results import Summary
from volseg.inference.work_list import Job
from volseg.inference.workers import segment_on_devices


@dataclass(frozen=True)
class Loader:
    """Loads a bundle's network; it travels to other processes, so it holds plain values only.

    Args:
        bundle: The bundle, which knows whether it is trusted.
        overrides: Values of the inference configuration to replace, by id.
        ceiling: How much memory each process may use.
        computation: How the network is applied.
    """

    bundle: Bundle
    overrides: Mapping[str, Any]
    ceiling: Ceiling
    computation: Computation = field(default_factory=Computation)

    def load(self, device: str) -> Predictor:
        """Load the network.

        Args:
            device: Where it is to run, as on the command line.

        Returns:
            The predictor, ready.
        """
        return _build(self, find_device(device))

    def load_apart(self, device: str) -> Predictor:
        """Load the network in a process that does nothing else.

        Args:
            device: Where it is to run, as on the command line.

        Returns:
            The predictor, ready.
        """
        place = find_device(device)
        if place.type == "cuda":
            torch.cuda.set_device(place)  # else the first GPU would give memory for a context too
        return self.load(device)


@dataclass(frozen=True)
class Crew:
    """Who segments.

    Args:
        name: Where, for the report.
        place: Where this process computes, for the record of the run.
        segment: Segments jobs.
    """

    name: str
    place: torch.device
    segment: Callable[[Sequence[Job], Path, Terms], Summary]


def find_crew(loader: Loader, device: str, cluster: str | None = None) -> Crew:
    """Find who is to segment.

    Args:
        loader: Loads the network.
        device: A device, or several with commas between them: then each has a process of its own.
            On a cluster, the device of each worker.
        cluster: Address of a Dask scheduler; `None`: this machine.

    Returns:
        The crew; of a single device of this machine, with its network loaded.
    """
    names = [name.strip() for name in device.split(",")]
    if cluster is not None:
        return _find_cluster(loader, names, cluster)
    places = [find_device(name) for name in names]
    if len(places) == 1:
        predictor = loader.load(device)

        def segment(jobs: Sequence[Job], output: Path, terms: Terms) -> Summary:
            return segment_jobs(jobs, output, predictor, terms)

        return Crew(str(places[0]), places[0], segment)
    builds = [(str(place), partial(loader.load_apart, str(place))) for place in places]

    def segment_apart(jobs: Sequence[Job], output: Path, terms: Terms) -> Summary:
        return segment_on_devices(jobs, output, builds, terms)

    return Crew(", ".join(map(str, places)), torch.device("cpu"), segment_apart)


def _find_cluster(loader: Loader, devices: Sequence[str], address: str) -> Crew:
    if len(devices) > 1:
        raise DeviceError(
            f"each worker of a cluster has one device, but {', '.join(devices)} were given; start"
            " a worker for each, as dask-cuda does, and give one"
        )
    build = partial(loader.load_apart, devices[0])

    def segment(jobs: Sequence[Job], output: Path, terms: Terms) -> Summary:
        return segment_on_cluster(jobs, output, address, build, terms)

    return Crew(f"workers of {address}", torch.device("cpu"), segment)


def _build(loader: Loader, place: torch.device) -> Predictor:
    try:
        return Predictor.from_bundle(
            loader.bundle, place, loader.overrides, loader.ceiling, loader.computation
        )
    except RuntimeError as error:  # MONAI wraps what a builder raises
        raise find_cause(error) from error
