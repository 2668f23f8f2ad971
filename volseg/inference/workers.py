"""Segment a batch with several processes, one for each device that was named.

The processes read images and write into the hidden folder of the run, nowhere else. This process
hands out the cases, keeps the account and gives masks their names, so that a process may be killed
at any moment. What it held is then done again by another, one case at a time; a case that was
being done when two processes ended is given up.
"""

import logging
from collections import deque
from collections.abc import Callable, Sequence
from multiprocessing.connection import wait
from pathlib import Path

import torch

from volseg.errors import VolsegError
from volseg.inference.casework import PLACES, Recipe, Task, close_case, skip_case
from volseg.inference.folder import Cases, Desk, Terms, run_batch
from volseg.inference.predictor import Predictor
from volseg.inference.results import Summary
from volseg.inference.steps import Case
from volseg.inference.work_list import Job
from volseg.inference.worker import Worker

STARTS = 2
"""How often in a row a process may end before it is ready."""

logger = logging.getLogger(__name__)


def segment_on_devices(
    jobs: Sequence[Job],
    output: Path,
    builds: Sequence[tuple[str, Callable[[], Predictor]]],
    terms: Terms | None = None,
) -> Summary:
    """Segment what was listed with several processes.

    Args:
        jobs: The images and their masks.
        output: Folder of ``manifest.jsonl``.
        builds: Name of each device, and what loads the network onto it: a function of a module,
            with plain arguments.
        terms: What holds for all of the images.

    Returns:
        What became of each image.
    """
    how = terms or Terms()
    num_threads = max(1, torch.get_num_threads() // len(builds))

    def run(tasks: Sequence[Task], desk: Desk) -> Cases:
        workers = [
            Worker(name, Recipe(build, desk.staging, how.run_hash, how.look), num_threads)
            for name, build in builds[: len(tasks)]
        ]
        return _Crew(workers, desk).run(tasks)

    return run_batch(jobs, output, how, run)


class _Crew:
    """Hands out tasks and takes back cases."""

    def __init__(self, workers: list[Worker], desk: Desk) -> None:
        self.workers = workers
        self.desk = desk
        self.waiting: deque[Task] = deque()
        self.suspects: deque[tuple[Task, Worker]] = deque()
        self.share = 0
        self.stop: str | None = None

    def run(self, tasks: Sequence[Task]) -> Cases:
        """Give the cases as they come."""
        self.waiting.extend(tasks)
        self.share = -(-len(tasks) // max(1, len(self.workers)))
        everyone = tuple(self.workers)
        try:
            for worker in everyone:
                worker.start()
            while self.waiting or self.suspects or any(worker.held for worker in self.workers):
                if self.stop is not None:
                    yield from self._skip(self.stop)
                    if not any(worker.held for worker in self.workers):
                        break
                self._hand_out()
                for worker in self._listen():
                    yield from self._hear(worker)
            for worker in self.workers:
                worker.dismiss()
        finally:
            for worker in everyone:
                worker.kill()

    def _hand_out(self) -> None:
        """Keep everyone busy, and nobody with more tasks than places or than a fair share."""
        for count in range(min(PLACES, self.share)):
            for worker in self.workers:
                is_free = worker.is_ready and not worker.is_alone and count < worker.num_places
                if not is_free or len(worker.held) != count:
                    continue
                if (index := self._find_suspect(worker)) is None:
                    if self.waiting:
                        worker.give(self.waiting.popleft())
                elif count == 0:
                    worker.give(self.suspects[index][0], alone=True)
                    del self.suspects[index]

    def _find_suspect(self, worker: Worker) -> int | None:
        """Find what another has died of, for a worker to do when it has nothing else in hand."""
        is_last = len(self.workers) == 1
        for index, (_, dead) in enumerate(self.suspects):
            if is_last or dead is not worker:
                return index
        return None

    def _listen(self) -> list[Worker]:
        """Wait until somebody has something to say, or is dead."""
        ready = wait([worker.connection for worker in self.workers])
        return [worker for worker in self.workers if worker.connection in ready]

    def _hear(self, worker: Worker) -> Cases:
        try:
            heard = worker.receive()
        except (EOFError, OSError):
            yield from self._bury(worker)
            return
        if isinstance(heard, VolsegError):
            if not worker.has_served:
                raise heard
            self._close(worker, str(heard))
        elif isinstance(heard, Case):
            yield self._enter(heard)

    def _bury(self, worker: Worker) -> Cases:
        """Take back what a dead process held, and start another in its place."""
        how = worker.bury()
        held, was_alone = worker.let_go()
        names = ", ".join(task.job.name for task in held)
        logger.warning("%s: the process %s; it held: %s", worker.name, how, names or "nothing")
        for task in held:
            if was_alone:
                reason = (
                    f"the process that segmented it {how}, twice; if memory ran out, give it a"
                    " ceiling or segment with fewer processes"
                )
                yield self._enter(close_case(task.job, "failed", reason))
            else:
                self.suspects.append((task, worker))
        if worker.num_failed_starts >= STARTS:
            self._close(worker, f"the process {how} before it was ready")
        elif self.waiting or self.suspects:
            worker.start()
        else:
            self.workers.remove(worker)

    def _close(self, worker: Worker, reason: str) -> None:
        """Do without a device; without any, the batch is to stop."""
        logger.warning("%s is not used any more: %s", worker.name, reason)
        self.workers.remove(worker)
        if not self.workers:
            self.stop = f"the last process was lost, on {worker.name}: {reason}"

    def _enter(self, case: Case) -> Case:
        self.desk.ledger.enter(case)
        self.stop = case.stop or self.stop
        return case

    def _skip(self, stop: str) -> Cases:
        left = [*self.waiting, *(task for task, _ in self.suspects)]
        self.waiting.clear()
        self.suspects.clear()
        for task in left:
            yield self._enter(skip_case(task.job, stop))
