"""Segment many files with one load of the model, and account for every one of them.

Each case adds a line to ``manifest.jsonl`` in the output folder as soon as it is done or has
failed. A bad file is reported and the rest go on; a disk that takes nothing more stops the run,
since every further case would be computed for nothing.
"""

import errno
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from time import perf_counter
from typing import Any

from tqdm import tqdm

from volseg.errors import VolsegError
from volseg.inference.predictor import Predictor
from volseg.inference.work_list import Job, list_jobs, require_writable

MANIFEST = "manifest.jsonl"

STATUSES = ("done", "failed", "not run")

DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
"""No space left, quota used up, file system read-only: the next case would meet them too."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class CaseResult:
    """What became of one image.

    Args:
        name: Name of the case.
        source: The image.
        target: The mask; there only if the case is done.
        status: ``done``, ``failed`` or ``not run``.
        reason: Why it failed or was not run.
        warnings: What is unusual about the image, or about what was found in it.
        volumes_ml: Volume of each class in mL.
        seconds: Time that it took.
        findings: What the bundle's guard has measured; its ``summary`` is a line of the report.
    """

    name: str
    source: str
    target: str
    status: str
    reason: str | None = None
    warnings: Sequence[str] = ()
    volumes_ml: Mapping[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    findings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Summary:
    """What became of all images.

    Args:
        cases: One result an image.
    """

    cases: Sequence[CaseResult]

    @property
    def is_complete(self) -> bool:
        """Whether every image has its mask."""
        return all(case.status == "done" for case in self.cases)

    def count(self, status: str) -> int:
        """Count the cases of one status.

        Args:
            status: ``done``, ``failed`` or ``not run``.

        Returns:
            Number of cases.
        """
        return sum(case.status == status for case in self.cases)

    def to_json(self) -> dict[str, Any]:
        """Give counts and cases as JSON-able values.

        Returns:
            Number of cases of each status, and the cases.
        """
        counts = {status: self.count(status) for status in STATUSES}
        return {**counts, "cases": [asdict(case) for case in self.cases]}

    def __str__(self) -> str:
        """Give the counts, a line for each case without a mask, each finding and each warning."""
        lines = [", ".join(f"{self.count(status)} {status}" for status in STATUSES)]
        for case in self.cases:
            if case.reason is not None:
                lines.append(f"{case.status}: {case.source}: {case.reason}")
            if "summary" in case.findings:
                lines.append(f"found: {case.source}: {case.findings['summary']}")
            lines += [f"warning: {case.source}: {warning}" for warning in case.warnings]
        return "\n".join(lines)


def segment_folder(
    inputs: Sequence[Path],
    output: Path,
    predictor: Predictor,
    *,
    overwrite: bool = False,
    progress: bool = False,
) -> Summary:
    """Segment files and folders of files.

    Args:
        inputs: NIfTI files and folders of them; a folder's tree is mirrored below the output.
        output: Folder of the masks and of ``manifest.jsonl``.
        predictor: What segments a file.
        overwrite: Whether masks that are there already may be replaced.
        progress: Whether to draw a bar on stderr.

    Returns:
        What became of each image.
    """
    jobs = list_jobs(inputs, output, overwrite=overwrite)
    require_writable(output)
    results: list[CaseResult] = []
    stop: str | None = None
    for job in tqdm(jobs, desc="segment", unit="case", disable=not progress):
        result, stop = _run(job, predictor) if stop is None else (_skip(job, stop), stop)
        results.append(result)
        stop = _record(result, output / MANIFEST) or stop
    return Summary(results)


def _run(job: Job, predictor: Predictor) -> tuple[CaseResult, str | None]:
    """Segment one image; give the result, and why to stop, if so."""
    result = CaseResult(job.name, str(job.source), str(job.target), "failed")
    start, stop = perf_counter(), None
    try:
        prediction = predictor.predict(job.source)
        job.target.parent.mkdir(parents=True, exist_ok=True)
        predictor.save(prediction, job.target)
        volumes = prediction.volumes(predictor.classes)
        result = replace(
            result,
            status="done",
            warnings=prediction.warnings,
            volumes_ml=volumes,
            findings=prediction.findings,
        )
    except VolsegError as error:
        result = replace(result, reason=str(error).removeprefix(f"{job.source}: "))
    except OSError as error:
        result = replace(result, reason=str(error))
        stop = str(error) if error.errno in DISK_ERRORS else None
    except Exception as error:  # whatever one file does, the others are segmented
        result = replace(result, reason=" ".join(f"{type(error).__name__}: {error}".split()))
        logger.debug("%s failed", job.source, exc_info=True)
    return replace(result, seconds=round(perf_counter() - start, 3)), stop


def _skip(job: Job, reason: str) -> CaseResult:
    return CaseResult(job.name, str(job.source), str(job.target), "not run", f"after {reason}")


def _record(result: CaseResult, manifest: Path) -> str | None:
    """Append a line to the manifest; give the reason if the disk takes it not."""
    line = json.dumps(asdict(result), ensure_ascii=False)
    try:
        with manifest.open("a", encoding="utf-8") as stream:
            stream.write(f"{line}\n")
    except OSError as error:
        logger.warning("cannot write to %s: %s", manifest, error)
        return str(error)
    return None
