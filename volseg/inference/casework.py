"""One case, from its files to a mask that only lacks its name: the same whoever asks for it.

The batch of one process, the processes of several devices and the workers of a cluster all do
their cases here. What they are sent are paths and plain values, never an image or a network.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Lock, Semaphore
from typing import Any

import torch

from volseg.errors import DataError
from volseg.inference.finishing import Finisher, Look
from volseg.inference.manifest import find_valid, hash_files
from volseg.inference.predictor import Predictor
from volseg.inference.results import CaseResult
from volseg.inference.steps import Case, attempt
from volseg.inference.work_list import Job

PLACES = 3
"""Cases at once in a process: one is read, one is computed and one is written."""


@dataclass(frozen=True)
class Task:
    """A job, and what an earlier run has left of it.

    Args:
        job: What is to be done.
        is_resumed: Whether a mask that is done and still valid is left as it is.
        entry: The mask's line in the manifest, if it is resumed.
    """

    job: Job
    is_resumed: bool = False
    entry: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Recipe:
    """What a process needs to know before its first case.

    Args:
        build: Loads the network; a function of a module, with plain arguments.
        staging: Hidden folder of the run.
        run_hash: Hash of the bundle and the options.
        look: What is kept for the report.
    """

    build: Callable[[], Predictor]
    staging: Path
    run_hash: str = ""
    look: Look = field(default_factory=Look)

    def start(self) -> "Casework":
        """Load the network."""
        return Casework(self.build(), self.staging, self.run_hash, self.look)


class Casework:
    """Does cases, step by step; whatever goes wrong becomes the case's result.

    Args:
        predictor: What segments an image.
        staging: Hidden folder of the run.
        run_hash: Hash of the bundle and the options.
        look: What is kept for the report.
    """

    def __init__(
        self, predictor: Predictor, staging: Path, run_hash: str = "", look: Look | None = None
    ) -> None:
        self.predictor = predictor
        self.run_hash = run_hash
        self.finisher = Finisher(predictor, staging, look or Look())
        self.on_start: Callable[[str, int], object] = _do_nothing
        self._network = Lock()
        self._loner = Lock()
        self.num_places = 1 if self.is_sparing else PLACES
        self._places = Semaphore(self.num_places)

    @property
    def is_sparing(self) -> bool:
        """Whether memory is limited, so that one case is held at a time."""
        return self.predictor.ceiling.host is not None

    def load(self, task: Task) -> Case:
        """Read the image, unless an earlier run has done the case.

        Args:
            task: What is to be done.

        Returns:
            The case, open if it is to be segmented.
        """

        def load(case: Case) -> None:
            job = task.job
            if job.reason is not None:
                raise DataError(job.reason)
            digest = hash_files(job.files)
            case.result = replace(case.result, input_hash=digest, run_hash=self.run_hash)
            if task.is_resumed:
                valid = find_valid(task.entry, job.target, digest, self.run_hash)
                if valid is not None:
                    case.result = valid
                    return
            case.loaded = self.predictor.load(job.sources or job.source)

        return attempt(new_case(task.job), load)

    def infer(self, case: Case) -> Case:
        """Compute the label map of a case that was read.

        Args:
            case: What `load` gave.

        Returns:
            The same case, without its image.
        """

        def infer(case: Case) -> None:
            if case.loaded is not None:
                self.on_start(case.job.name, self.predictor.count_windows(case.loaded))
                case.prediction = self.predictor.infer(case.loaded)

        if case.is_open:
            attempt(case, infer)
        case.loaded = None
        return case

    def save(self, case: Case) -> Case:
        """Write the mask and the pictures into the hidden folder.

        Args:
            case: What `infer` gave.

        Returns:
            The same case, for `Ledger.enter`.
        """
        return self.finisher.finish(case)

    def run(
        self,
        task: Task,
        *,
        alone: bool = False,
        during: AbstractContextManager[object] | None = None,
    ) -> Case:
        """Do all steps of a case; several threads may call it, and one at a time computes.

        Args:
            task: What is to be done.
            alone: Whether to wait until this process does nothing else, and to keep it so.
            during: What is entered once the case's turn has come, and left at its end.

        Returns:
            The case, for `Ledger.enter`.
        """
        with self._place(alone=alone), during or nullcontext(), self._device():
            case = self.load(task)
            with self._network:
                self.infer(case)
            return self.save(case)

    def _device(self) -> AbstractContextManager[object]:
        """Let the thread use the predictor's GPU even where no device is named."""
        place = self.predictor.device
        return torch.cuda.device(place) if place.type == "cuda" else nullcontext()

    @contextmanager
    def _place(self, *, alone: bool) -> Iterator[None]:
        """Take one of the process's places for cases, or all of them."""
        count = self.num_places if alone else 1
        with self._loner if alone else nullcontext():  # two that wait for all would wait for ever
            for _ in range(count):
                self._places.acquire()
        try:
            yield
        finally:
            self._places.release(count)


def new_case(job: Job) -> Case:
    """Begin a case.

    Args:
        job: What is to be done.

    Returns:
        The case, with nothing done yet.
    """
    return Case(job, CaseResult(job.name, str(job.source), str(job.target), ""))


def close_case(job: Job, status: str, reason: str) -> Case:
    """Give a case that ends without a mask.

    Args:
        job: What was to be done.
        status: ``failed`` or ``not run``.
        reason: Why.

    Returns:
        The case, closed.
    """
    case = new_case(job)
    case.result = replace(case.result, status=status, reason=reason)
    return case


def skip_case(job: Job, stop: str) -> Case:
    """Give a case that is not run because the batch was stopped.

    Args:
        job: What was to be done.
        stop: Why the batch was stopped.

    Returns:
        The case, closed.
    """
    return close_case(job, "not run", f"after {stop}")


def _do_nothing(*_: object) -> None:
    """Watch nothing."""
