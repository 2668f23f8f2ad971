"""What a process does that segments cases for another: it waits for tasks and sends back cases."""

import os
import signal
import warnings
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from threading import Lock

import torch

from volseg.errors import VolsegError, find_cause
from volseg.inference.casework import PLACES, Casework, Recipe, Task


def serve(connection: Connection, recipe: Recipe, num_threads: int) -> None:
    """Do tasks until there are no more; first say how many at once, or why it cannot be.

    Args:
        connection: Brings tasks, `None` after the last, and takes cases.
        recipe: What is needed before the first case.
        num_threads: How many threads the process may compute with.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is answered by who has started us
    warnings.filterwarnings("ignore", module=r"(monai|torch|itk)(\.|$)")
    torch.set_num_threads(num_threads)
    try:
        casework = recipe.start()
    except Exception as error:  # noqa: BLE001  the other process raises it
        _say(connection, _as_refusal(error))
        return
    if not _say(connection, casework.num_places):
        return
    sending = Lock()
    with ThreadPoolExecutor(PLACES) as pool:
        while (task := _receive(connection)) is not None:
            pool.submit(_do, casework, task, connection, sending)


def _say(connection: Connection, message: VolsegError | int) -> bool:
    """Tell who has started us, unless it is gone; give whether it is there."""
    try:
        connection.send(message)
    except OSError:
        return False
    return True


def _do(casework: Casework, task: Task, connection: Connection, sending: Lock) -> None:
    try:
        case = casework.run(task)
        with sending:
            connection.send(case)
    except BaseException:  # noqa: BLE001  a case that is never sent back would be waited for
        os._exit(1)


def _receive(connection: Connection) -> Task | None:
    try:
        task: Task | None = connection.recv()
    except (EOFError, OSError):  # nobody wants the cases any more, and nothing has a name yet
        os._exit(1)
    return task


def _as_refusal(error: Exception) -> VolsegError:
    known = find_cause(error)
    if isinstance(known, VolsegError):
        return type(known)(str(known))
    return VolsegError(" ".join(f"{type(known).__name__}: {known}".split()))
