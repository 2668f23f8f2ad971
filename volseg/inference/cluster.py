"""Segment a batch on a Dask cluster whose workers share a file system with this process.

The workers read images and write into the hidden folder of the run, nowhere else. This process
keeps the account and gives masks their names. If a worker dies, Dask gives its cases to others; a
case is then done with nothing beside it, and one that was being done when two workers died is
given up. A case that Dask happens to do twice lies twice in the hidden folder and is entered once.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent import futures
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from threading import Lock
from typing import Any

from volseg import __version__
from volseg.errors import DeviceError, VolsegError, find_cause
from volseg.inference.attempts import Attempts
from volseg.inference.casework import Casework, Recipe, Task, close_case, skip_case
from volseg.inference.folder import Cases, Desk, Terms, run_batch
from volseg.inference.predictor import Predictor
from volseg.inference.results import Summary
from volseg.inference.steps import Case
from volseg.inference.work_list import Job

PATIENCE = 20
"""Seconds that the scheduler has to answer."""

DEATHS = 2
"""How many workers may die of a case."""

LOADING_DEATHS = 3
"""How many workers may die while they load the network."""

SUBMISSIONS = 4
"""How often a case is given to Dask, which may give up a case that only waited where one died."""

logger = logging.getLogger(__name__)


def segment_on_cluster(
    jobs: Sequence[Job],
    output: Path,
    address: str,
    build: Callable[[], Predictor],
    terms: Terms | None = None,
) -> Summary:
    """Segment what was listed on the workers of a Dask cluster.

    Args:
        jobs: The images and their masks, in folders that the workers see under the same paths.
        output: Folder of ``manifest.jsonl``, another such folder.
        address: Where the scheduler is, such as ``tcp://host:8786``.
        build: What loads the network on a worker: a function of a module, with plain arguments.
        terms: What holds for all of the images.

    Returns:
        What became of each image.
    """
    how = terms or Terms()
    with _connected(address) as client:

        def run(tasks: Sequence[Task], desk: Desk) -> Cases:
            recipe = Recipe(build, desk.staging.absolute(), how.run_hash, how.look)
            return _Campaign(client, recipe, desk).run(tasks)

        return run_batch(jobs, output, how, run)


def run_case(recipe: Recipe, task: Task, number: int, version: str) -> Case:
    """Do a case on a worker.

    Args:
        recipe: What the worker needs before its first case.
        task: What is to be done, with absolute paths.
        number: Number of the task in the run.
        version: Version of volseg that asks for it.

    Returns:
        The case, for `Ledger.enter`.

    Raises:
        VolsegError: If this worker can do no case of the run.
    """
    if version != __version__:
        raise VolsegError(f"the worker has volseg {__version__} and was asked by {version}")
    if not recipe.staging.is_dir():
        raise VolsegError(f"the worker does not see {recipe.staging}; it must share that folder")
    attempts = Attempts(recipe.staging, f"case-{number}")
    num_deaths = attempts.count
    if num_deaths >= DEATHS:
        reason = (
            f"{num_deaths} workers died while they segmented it; if memory ran out, give it a"
            " ceiling or the workers more"
        )
        return close_case(task.job, "failed", reason)
    casework = _SHELF.take(recipe)
    return casework.run(task, alone=num_deaths > 0, during=attempts.noted())


class _Shelf:
    """Keeps the network of the latest run in a worker, so that it is loaded once."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.kept: tuple[Path, Casework] | None = None

    def take(self, recipe: Recipe) -> Casework:
        """Give the network of a run, loaded now if it is the worker's first case of it."""
        with self.lock:
            if self.kept is None or self.kept[0] != recipe.staging:
                self.kept = None
                self.kept = recipe.staging, self._load(recipe)
            return self.kept[1]

    def _load(self, recipe: Recipe) -> Casework:
        attempts = Attempts(recipe.staging, "loading")
        if attempts.count >= LOADING_DEATHS:
            raise VolsegError(
                f"{LOADING_DEATHS} workers died while they loaded the network; give them more"
                " memory"
            )
        with attempts.noted():
            return recipe.start()


_SHELF = _Shelf()


class _Campaign:
    """Gives tasks to a cluster and takes back cases."""

    def __init__(self, client: Any, recipe: Recipe, desk: Desk) -> None:
        self.client = client
        self.recipe = recipe
        self.desk = desk
        self.killed: type[Exception] = import_module("distributed.scheduler").KilledWorker
        self.stop: str | None = None
        self.has_begun = False
        self.submissions: dict[int, int] = {}

    def run(self, tasks: Sequence[Task]) -> Cases:
        """Give the cases as they come."""
        distributed = import_module("distributed")
        held = {self._submit(number, task): number for number, task in enumerate(tasks)}
        ended = distributed.as_completed(list(held), loop=self.client.loop)
        for future in ended:
            number = held.pop(future)
            task = tasks[number]
            case = skip_case(task.job, self.stop) if self.stop else self._collect(future, task)
            if case is None and self.submissions[number] < SUBMISSIONS:
                again = self._submit(number, task)
                held[again] = number
                ended.add(again)
                continue
            yield self._enter(
                case or close_case(task.job, "failed", "workers died, again and again")
            )
            if self.stop and held:
                self.client.cancel(list(held))

    def _submit(self, number: int, task: Task) -> Any:
        self.submissions[number] = self.submissions.get(number, 0) + 1
        return self.client.submit(
            run_case, self.recipe, _absolute(task), number, __version__, pure=False
        )

    def _collect(self, future: Any, task: Task) -> Case | None:
        """Give the case of a task that has ended; `None` if only workers have."""
        try:
            case: Case = future.result()
        except (asyncio.CancelledError, futures.CancelledError):
            self.stop = "the connection to the scheduler was lost"
            return skip_case(task.job, self.stop)
        except self.killed:
            return None
        except Exception as error:
            if not self.has_begun:
                raise find_cause(error) from error
            self.stop = str(find_cause(error))
            return close_case(task.job, "failed", self.stop)
        self.has_begun = True
        job = task.job
        case.job = job
        case.result = replace(case.result, source=str(job.source), target=str(job.target))
        return case

    def _enter(self, case: Case) -> Case:
        self.desk.ledger.enter(case)
        self.stop = case.stop or self.stop
        return case


@contextmanager
def _connected(address: str) -> Iterator[Any]:
    try:
        distributed = import_module("distributed")
    except ModuleNotFoundError as error:
        raise DeviceError(
            f"a cluster needs {error.name}; install it with pip install 'volseg[cluster]'"
        ) from error
    try:
        client = distributed.Client(address, timeout=PATIENCE, set_as_default=False)
    except (OSError, ValueError) as error:
        raise DeviceError(
            f"no Dask scheduler answers at {address}; start one with `dask scheduler`, or correct"
            " the address"
        ) from error
    with client:
        if not client.scheduler_info()["workers"]:
            logger.info("no worker has joined %s yet; waiting for one", address)
        yield client


def _absolute(task: Task) -> Task:
    """Write a task for a process in another folder."""
    job = task.job
    sources = tuple(
        replace(source, files=tuple(path.absolute() for path in source.files))
        for source in job.sources
    )
    source, target = job.source.absolute(), job.target.absolute()
    return replace(task, job=replace(job, source=source, target=target, sources=sources))
