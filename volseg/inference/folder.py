"""Segment many files with one load of the model, and account for every one of them.

Each case adds a line to ``manifest.jsonl`` in the output folder as soon as it is done or has
failed. A bad file is reported and the rest go on; a disk that takes nothing more stops the run,
since every further case would be computed for nothing. While one case is computed the next is read
and the one before is written, unless memory is limited: then one case is held at a time.
"""

import errno
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import mkdtemp
from time import perf_counter
from typing import Any

import psutil

from volseg.errors import VolsegError
from volseg.inference.manifest import (
    MANIFEST,
    append_line,
    find_valid,
    hash_files,
    read_manifest,
)
from volseg.inference.prediction import Prediction
from volseg.inference.predictor import Loaded, Predictor
from volseg.inference.progress import Progress
from volseg.inference.results import CaseResult, Summary
from volseg.inference.work_list import Job, list_jobs, require_writable

__all__ = ["MANIFEST", "CaseResult", "Summary", "segment_folder", "segment_jobs"]

STAGING = ".volseg-"
"""How the folder begins in which masks lie until they are whole; the process's number follows."""

DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
"""No space left, quota used up, file system read-only: the next case would meet them too."""

logger = logging.getLogger(__name__)


@dataclass
class _Case:
    """A case on its way: what is known so far, and what it holds until the next step."""

    job: Job
    result: CaseResult
    loaded: Loaded | None = None
    prediction: Prediction | None = None
    stop: str | None = None

    @property
    def is_open(self) -> bool:
        """Whether anything is left to be done."""
        return self.result.status == ""


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
        progress: Whether to show on stderr how far it is.

    Returns:
        What became of each image.
    """
    jobs = list_jobs(inputs, output, overwrite=overwrite)
    return segment_jobs(jobs, output, predictor, overwrite=overwrite, progress=progress)


def segment_jobs(
    jobs: Sequence[Job],
    output: Path,
    predictor: Predictor,
    *,
    run_hash: str = "",
    overwrite: bool = False,
    resume: bool = False,
    progress: bool = False,
) -> Summary:
    """Segment what was listed.

    Args:
        jobs: The images and their masks.
        output: Folder of ``manifest.jsonl``.
        predictor: What segments an image.
        run_hash: Hash of the bundle and the options.
        overwrite: Whether masks that are there already may be replaced.
        resume: Whether to skip the cases whose masks an earlier run has written, if nothing has
            changed since.
        progress: Whether to show on stderr how far it is.

    Returns:
        What became of each image.
    """
    require_writable(output)
    entries = read_manifest(output) if resume else {}
    results: list[CaseResult] = []
    with Progress(len(jobs), is_shown=progress) as shown:
        known = entries if resume and not overwrite else None
        for result in _Batch(predictor, output, shown, run_hash, known).run(jobs):
            results.append(result)
            shown.finish(result)
    return Summary(results)


class _Batch:
    """Three steps a case, the first and the last of them beside those of its neighbours."""

    def __init__(
        self,
        predictor: Predictor,
        output: Path,
        shown: Progress,
        run_hash: str,
        entries: dict[str, dict[str, Any]] | None,
    ) -> None:
        self.predictor = predictor
        self.output = output
        self.staging = output
        self.shown = shown
        self.run_hash = run_hash
        self.entries = entries
        predictor.on_window = shown.advance

    def run(self, jobs: Sequence[Job]) -> Iterator[CaseResult]:
        """Give the results in the order of the jobs."""
        stop: str | None = None
        with ExitStack() as stack:
            self.staging = stack.enter_context(_staging(self.output))
            read, write = self._lane(stack), self._lane(stack)
            ahead = [read(self._load, job) for job in jobs[:1]]
            saving: Future[_Case] | None = None
            for index, job in enumerate(jobs):
                case = ahead.pop().result() if stop is None else self._skip(job, stop)
                if stop is None and index + 1 < len(jobs):
                    ahead = [read(self._load, jobs[index + 1])]
                self._infer(case)
                if saving is not None:
                    done = saving.result()
                    stop = done.stop or stop
                    yield done.result
                saving = write(self._finish, case if stop is None else self._skip(job, stop))
            if saving is not None:
                yield saving.result().result

    def _lane(self, stack: ExitStack) -> Callable[..., "Future[_Case]"]:
        """Give what runs one step at a time: beside the others, or at once if memory is short."""
        if self.predictor.ceiling.host is not None:
            return _at_once
        return stack.enter_context(ThreadPoolExecutor(1)).submit

    def _load(self, job: Job) -> _Case:
        def load(case: _Case) -> None:
            digest = hash_files(job.files)
            case.result = replace(case.result, input_hash=digest, run_hash=self.run_hash)
            if self.entries is not None:
                entry = self.entries.get(str(job.target))
                valid = find_valid(entry, job.target, digest, self.run_hash)
                if valid is not None:
                    case.result = valid
                    return
            case.loaded = self.predictor.load(job.sources or job.source)

        case = _Case(job, CaseResult(job.name, str(job.source), str(job.target), ""))
        return _attempt(case, load)

    def _infer(self, case: _Case) -> None:
        def infer(case: _Case) -> None:
            if case.loaded is not None:
                self.shown.start(case.job.name, self.predictor.count_windows(case.loaded))
                case.prediction = self.predictor.infer(case.loaded)

        if case.is_open:
            _attempt(case, infer)
        case.loaded = None

    def _finish(self, case: _Case) -> _Case:
        """Write the mask and the line of the manifest, in an order that a kill cannot spoil.

        The line comes first and the mask takes its name last: a line without its mask means that
        the case is to be done again, and no mask is without its line.
        """
        partial = self.staging / case.job.target.name

        def save(case: _Case) -> None:
            if case.prediction is None:
                return
            self.predictor.save(case.prediction, partial)
            case.job.target.parent.mkdir(parents=True, exist_ok=True)
            case.result = replace(
                case.result,
                status="done",
                warnings=case.prediction.warnings,
                volumes_ml=case.prediction.volumes(self.predictor.classes),
                findings=case.prediction.findings,
                output_hash=hash_files([partial]),
            )

        if case.is_open:
            _attempt(case, save)
        case.prediction = None
        self._record(case)
        if case.result.status == "done":
            _attempt(case, lambda case: _move(partial, case.job.target))
            if case.result.status != "done":
                self._record(case)
        return case

    def _skip(self, job: Job, reason: str) -> _Case:
        where = str(job.source), str(job.target)
        return _Case(job, CaseResult(job.name, *where, "not run", f"after {reason}"))

    def _record(self, case: _Case) -> None:
        """Append a line to the manifest; if that cannot be, the run is to stop."""
        try:
            append_line(self.output, case.result)
        except OSError as error:
            logger.warning("cannot write to %s: %s", self.output / MANIFEST, error)
            case.stop = str(error)


@contextmanager
def _staging(output: Path) -> Iterator[Path]:
    """Make a hidden folder beside the masks, and clear away those of runs that were killed."""
    for old in output.glob(f"{STAGING}*-*"):
        number = old.name.removeprefix(STAGING).split("-")[0]
        if number.isdigit() and not psutil.pid_exists(int(number)):
            shutil.rmtree(old, ignore_errors=True)
    folder = Path(mkdtemp(prefix=f"{STAGING}{os.getpid()}-", dir=output))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _move(partial: Path, target: Path) -> None:
    partial.replace(target)


def _at_once(step: Callable[[Any], _Case], argument: Any) -> "Future[_Case]":
    future: Future[_Case] = Future()
    future.set_result(step(argument))
    return future


def _attempt(case: _Case, step: Callable[[_Case], None]) -> _Case:
    """Do one step of a case; whatever it raises, the other cases go on."""
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
