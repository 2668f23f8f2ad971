"""A place for one process after another, all on one device, as the process sees it that hands out.

Processes are spawned and never forked: a fork would share the locks of threads and of CUDA.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import get_context, resource_tracker
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from volseg.errors import VolsegError
from volseg.inference.casework import Recipe, Task
from volseg.inference.serving import serve
from volseg.inference.steps import Case

PATIENCE = 10.0
"""Seconds that a process is given to end by itself."""


class Worker:
    """A process that segments, and what it has in hand.

    Args:
        name: Its device, for messages.
        recipe: What it needs before its first case.
        num_threads: How many threads it may compute with.
    """

    connection: Connection

    def __init__(self, name: str, recipe: Recipe, num_threads: int) -> None:
        self.name = name
        self.recipe = recipe
        self.num_threads = num_threads
        self.held: dict[Path, Task] = {}
        self.is_alone = False
        self.is_ready = False
        self.has_served = False
        self.num_failed_starts = 0
        self.num_places = 0
        self._process: Any = None

    def start(self) -> None:
        """Start a process; it says when it is ready."""
        context = get_context("spawn")
        self.connection, theirs = context.Pipe()
        arguments = (theirs, self.recipe, self.num_threads)
        self._process = context.Process(target=serve, args=arguments, daemon=True)
        self.is_ready = False
        with _deaf_to_interrupts():
            self._process.start()
        theirs.close()  # else nobody would notice that the process is dead

    def give(self, task: Task, *, alone: bool = False) -> None:
        """Hand a task to the process.

        Args:
            task: What is to be done.
            alone: Whether the process gets nothing else until this is done.
        """
        self.held[task.job.target] = task
        self.is_alone = alone
        try:
            self.connection.send(task)
        except OSError:
            return  # it is dead, which shows when it is listened to

    def receive(self) -> Case | VolsegError | int:
        """Take a message; a process that is dead raises an `EOFError` or an `OSError`.

        Returns:
            A case; why the process cannot begin; or, if it is ready, how many tasks it can take.
        """
        heard: Case | VolsegError | int = self.connection.recv()
        if isinstance(heard, Case):
            task = self.held.pop(heard.job.target)
            heard.job = task.job
            self.is_alone = False
        elif isinstance(heard, int):
            self.is_ready = self.has_served = True
            self.num_failed_starts, self.num_places = 0, heard
        return heard

    def let_go(self) -> tuple[list[Task], bool]:
        """Take away what the process has in hand.

        Returns:
            The tasks, and whether the process had nothing else to do.
        """
        held, was_alone = list(self.held.values()), self.is_alone
        self.held.clear()
        self.is_alone = False
        return held, was_alone

    def bury(self) -> str:
        """Clear up after a process that is dead.

        Returns:
            How it ended, as a clause.
        """
        self.num_failed_starts += not self.is_ready
        self._process.join(PATIENCE)
        code = self._process.exitcode
        self.kill()
        if code is not None and code < 0:
            return f"was killed ({signal.Signals(-code).name})"
        return f"ended with status {code}"

    def dismiss(self) -> None:
        """Let the process end by itself."""
        try:
            self.connection.send(None)
        except OSError:
            return
        self._process.join(PATIENCE)

    def kill(self) -> None:
        """End the process; what it was about has no name yet and is lost."""
        self.is_ready = False
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self.connection.close()


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Let processes start that Ctrl-C does not reach; it reaches us as soon as they have."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # starting it would end our deafness
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
