"""The last step of a case: its mask, its pictures and its line in the manifest."""

import logging
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import psutil

from volseg.inference.gallery.case import save_picture
from volseg.inference.gallery.flags import flags_of
from volseg.inference.gallery.picture import make_picture
from volseg.inference.manifest import MANIFEST, append_line, hash_files
from volseg.inference.overview import picture_path, relative_to
from volseg.inference.predictor import Predictor
from volseg.inference.steps import Case, attempt

STAGING = ".volseg-"
"""How the folder begins in which masks lie until they are whole; the process's number follows."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Look:
    """What is kept of each case for the report.

    Args:
        usual_ml: Lowest and highest usual volume of a class, in mL; others are flagged.
        draws: Whether to draw pictures.
    """

    usual_ml: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    draws: bool = False


class Finisher:
    """Finishes cases.

    Args:
        predictor: What has segmented them.
        output: Folder of the manifest.
        look: What is kept for the report.
    """

    def __init__(self, predictor: Predictor, output: Path, look: Look) -> None:
        self.predictor = predictor
        self.output = output
        self.look = look
        self.staging = output

    @contextmanager
    def open(self) -> Iterator[None]:
        """Make the hidden folder of the run, and clear away those of runs that were killed.

        Yields:
            Nothing; the folder is there as long as the block runs.
        """
        for old in self.output.glob(f"{STAGING}*-*"):
            number = old.name.removeprefix(STAGING).split("-")[0]
            if number.isdigit() and not psutil.pid_exists(int(number)):
                shutil.rmtree(old, ignore_errors=True)
        self.staging = Path(mkdtemp(prefix=f"{STAGING}{os.getpid()}-", dir=self.output))
        try:
            yield
        finally:
            shutil.rmtree(self.staging, ignore_errors=True)

    def finish(self, case: Case) -> Case:
        """Write the mask and the line of the manifest, in an order that a kill cannot spoil.

        The line comes first and the mask takes its name last: a line without its mask means that
        the case is to be done again, and no mask is without its line.

        Args:
            case: The case, segmented or failed.

        Returns:
            The same case, closed.
        """
        job, folder = case.job, Path(mkdtemp(dir=self.staging))

        def save(case: Case) -> None:
            found = case.prediction
            if found is None:
                return
            job.target.parent.mkdir(parents=True, exist_ok=True)
            source = relative_to(job.source, job.target.parent)
            self.predictor.save(found, folder / job.target.name, [source])
            classes, affine = self.predictor.classes, np.asarray(found.grid.affine)
            case.result = replace(
                case.result,
                status="done",
                warnings=found.warnings,
                volumes_ml=found.volumes(classes),
                findings=found.findings,
                flags=flags_of(found.labels, affine, classes, self.look.usual_ml, found.confidence),
                output_hash=hash_files([folder / job.target.name]),
            )

        if case.is_open:
            attempt(case, save)
        self._draw(case)
        case.prediction = None
        self.record(case)
        if case.result.status == "done":
            attempt(case, lambda case: _move(folder, case.job.target))
            if case.result.status != "done":
                self.record(case)
        return case

    def _draw(self, case: Case) -> None:
        """Draw the case for the report; that this fails is no reason to lose the mask."""
        found = case.prediction
        if not self.look.draws or found is None or found.reading is None:
            return
        try:
            picture = make_picture(
                found.reading.values,
                found.labels,
                np.asarray(found.grid.affine),
                classes=self.predictor.classes,
            )
            path = picture_path(self.output, case.job.name)
            path.parent.mkdir(parents=True, exist_ok=True)
            save_picture(picture, path)
        except Exception as error:  # noqa: BLE001  the mask is what counts
            logger.warning("%s: no picture for the report: %s", case.job.source, error)

    def record(self, case: Case) -> None:
        """Append a line to the manifest; if that cannot be, the batch is to stop.

        Args:
            case: The case.
        """
        try:
            append_line(self.output, case.result)
        except OSError as error:
            logger.warning("cannot write to %s: %s", self.output / MANIFEST, error)
            case.stop = str(error)


def _move(folder: Path, target: Path) -> None:
    """Give files their names, the mask last."""
    for file in sorted(folder.iterdir(), key=lambda file: file.name == target.name):
        file.replace(target.with_name(file.name))
