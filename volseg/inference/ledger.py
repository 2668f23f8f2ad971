"""The account of a batch: one line a case in ``manifest.jsonl``, and names for finished masks.

Whoever segments, one process keeps the account. Masks come to it whole, in a hidden folder of the
run; it writes the line and then gives the mask its name.
"""

import logging
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp

import psutil

from volseg.inference.manifest import MANIFEST, append_line
from volseg.inference.overview import picture_path
from volseg.inference.steps import Case, attempt

STAGING = ".volseg-"
"""How the folder begins in which masks lie until they are whole; the process's number follows."""

TRIES = 10
"""The folder is removed again, a tenth of a second later, so many times if something is in it."""

PICTURE = ".picture.json"
"""Name of a case's pictures beside its mask in the hidden folder."""

logger = logging.getLogger(__name__)


class Ledger:
    """Keeps the account of one run.

    Args:
        output: Folder of the masks and of the manifest.
    """

    def __init__(self, output: Path) -> None:
        self.output = output

    @contextmanager
    def open(self) -> Iterator[Path]:
        """Make the hidden folder of the run, and clear away those of runs that were killed.

        Yields:
            The folder; it is there as long as the block runs.
        """
        for old in self.output.glob(f"{STAGING}*-*"):
            number = old.name.removeprefix(STAGING).split("-")[0]
            if number.isdigit() and not psutil.pid_exists(int(number)):
                shutil.rmtree(old, ignore_errors=True)
        staging = Path(mkdtemp(prefix=f"{STAGING}{os.getpid()}-", dir=self.output))
        try:
            yield staging
        finally:
            _remove(staging)

    def enter(self, case: Case) -> Case:
        """Write the line of a case and name its mask, in an order that a kill cannot spoil.

        The line comes first and the mask takes its name last: a line without its mask means that
        the case is to be done again, and no mask is without its line.

        Args:
            case: The case, saved or failed.

        Returns:
            The same case, closed.
        """
        self._record(case)
        if case.result.status == "done":
            attempt(case, self._name)
            if case.result.status != "done":
                self._record(case)
        if case.folder is not None:
            shutil.rmtree(case.folder, ignore_errors=True)
            case.folder = None
        return case

    def _record(self, case: Case) -> None:
        """Append a line to the manifest; if that cannot be, the batch is to stop."""
        try:
            append_line(self.output, case.result)
        except OSError as error:
            logger.warning("cannot write to %s: %s", self.output / MANIFEST, error)
            case.stop = str(error)

    def _name(self, case: Case) -> None:
        """Give files their names, the mask last."""
        if case.folder is None:
            return
        target = case.job.target
        self._name_picture(case.folder / PICTURE, case.job.name)
        target.parent.mkdir(parents=True, exist_ok=True)
        for file in sorted(case.folder.iterdir(), key=lambda file: file.name == target.name):
            file.replace(target.with_name(file.name))

    def _name_picture(self, picture: Path, name: str) -> None:
        """Put the pictures where the report looks; that this fails is no reason to lose a mask."""
        path = picture_path(self.output, name)
        try:
            if picture.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                picture.replace(path)
        except OSError as error:
            logger.warning("%s: no picture for the report: %s", name, error)
            picture.unlink(missing_ok=True)


def _remove(folder: Path) -> None:
    """Remove a folder, in which a worker whose case was given up may still be writing."""
    for _ in range(TRIES):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(0.1)
