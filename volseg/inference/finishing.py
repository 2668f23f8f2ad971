"""The last step of a case: its mask and its pictures, whole but still without their names."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import mkdtemp

import numpy as np

from volseg.inference.gallery.case import save_picture
from volseg.inference.gallery.flags import flags_of
from volseg.inference.gallery.picture import make_picture
from volseg.inference.ledger import PICTURE
from volseg.inference.manifest import hash_files
from volseg.inference.outputs.maps import map_path
from volseg.inference.overview import relative_to
from volseg.inference.predictor import Predictor
from volseg.inference.steps import Case, attempt

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
    """Writes what was found of a case into a folder of its own.

    Args:
        predictor: What has segmented it.
        staging: Hidden folder of the run; nothing else is written to.
        look: What is kept for the report.
    """

    def __init__(self, predictor: Predictor, staging: Path, look: Look) -> None:
        self.predictor = predictor
        self.predictor.scratch = staging
        self.staging = staging
        self.look = look

    def finish(self, case: Case) -> Case:
        """Write the mask and the pictures, for `Ledger.enter` to give them their names.

        Args:
            case: The case, segmented or failed.

        Returns:
            The same case; if it has a mask, its folder says where.
        """
        if case.is_open and case.prediction is not None:
            attempt(case, self._save)
        case.prediction = None
        return case

    def _save(self, case: Case) -> None:
        job, found = case.job, case.prediction
        if found is None:
            return
        case.folder = folder = Path(mkdtemp(dir=self.staging))
        sources = job.references or [relative_to(job.source, job.target.parent)]
        written = folder / job.target.name
        self.predictor.save(found, written, sources)
        classes, affine = self.predictor.classes, np.asarray(found.grid.affine)
        flags = flags_of(found.labels, affine, classes, self.look.usual_ml, found.confidence)
        case.result = replace(
            case.result,
            status="done",
            warnings=found.warnings,
            volumes_ml=found.volumes(classes),
            findings=found.findings,
            flags=flags,
            output_hash=hash_files([written]),
            map_hashes={
                str(map_path(job.target, kind)): hash_files([map_path(written, kind)])
                for kind in found.maps
            },
        )
        self._draw(case, folder)

    def _draw(self, case: Case, folder: Path) -> None:
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
            save_picture(picture, folder / PICTURE)
        except Exception as error:  # noqa: BLE001  the mask is what counts
            logger.warning("%s: no picture for the report: %s", case.job.source, error)
