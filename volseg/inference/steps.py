"""A case on its way through a batch, one step after another."""

import errno
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter

from volseg.errors import VolsegError
from volseg.inference.prediction import Prediction
from volseg.inference.preparation import Loaded
from volseg.inference.results import CaseResult
from volseg.inference.work_list import Job

DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
"""No space left, quota used up, file system read-only: the next case would meet them too."""

logger = logging.getLogger(__name__)


@dataclass
class Case:
    """A case: what is known so far, and what it holds until the next step.

    Args:
        job: What is to be done.
        result: What became of it; its status is empty as long as anything is left to be done.
        loaded: The image, once it was read.
        prediction: The label map, once it was computed.
        folder: Where the mask lies until it gets its name, once it was written.
        stop: Why the batch is to stop, if so.
    """

    job: Job
    result: CaseResult
    loaded: Loaded | None = None
    prediction: Prediction | None = None
    folder: Path | None = None
    stop: str | None = None

    @property
    def is_open(self) -> bool:
        """Whether anything is left to be done."""
        return self.result.status == ""


def attempt(case: Case, step: Callable[[Case], None]) -> Case:
    """Do one step of a case; whatever it raises, the other cases go on.

    Args:
        case: The case.
        step: The step; it changes the case.

    Returns:
        The case, ``failed`` with the reason if the step raised anything.
    """
    start = perf_counter()
    failed = replace(case.result, status="failed")
    try:
        step(case)
    except VolsegError as error:
        reason = str(error).removeprefix(f"{case.job.source}: ")
        case.result = replace(failed, reason=reason)
    except OSError as error:
        case.result = replace(failed, reason=str(error))
        case.stop = str(error) if error.errno in DISK_ERRORS else None
    except Exception as error:  # whatever one file does, the others are segmented
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        case.result = replace(failed, reason=reason)
        logger.debug("%s failed", case.job.source, exc_info=True)
    seconds = case.result.seconds + perf_counter() - start
    case.result = replace(case.result, seconds=round(seconds, 3))
    return case
