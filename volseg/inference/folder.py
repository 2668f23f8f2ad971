"""Segment many files with one load of the model, and account for every one of them.

Each case adds a line to ``manifest.jsonl`` in the output folder as soon as it is done or has
failed. A bad file is reported and the rest go on; a disk that takes nothing more stops the run,
since every further case would be computed for nothing. While one case is computed the next is read
and the one before is written, unless memory is limited: then one case is held at a time.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from volseg.errors import DataError
from volseg.inference.finishing import Finisher, Look
from volseg.inference.manifest import MANIFEST, find_valid, hash_files, read_manifest
from volseg.inference.predictor import Predictor
from volseg.inference.progress import Progress
from volseg.inference.results import CaseResult, Summary
from volseg.inference.steps import Case, attempt
from volseg.inference.work_list import Job, list_jobs, require_writable

__all__ = ["MANIFEST", "CaseResult", "Summary", "segment_folder", "segment_jobs"]


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
    look: Look | None = None,
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
        look: What is kept for the report; `None`: no pictures.
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
    finisher = Finisher(predictor, output, look or Look())
    with Progress(len(jobs), is_shown=progress) as shown:
        known = entries if resume and not overwrite else None
        for result in _Batch(finisher, shown, run_hash, known).run(jobs):
            results.append(result)
            shown.finish(result)
    return Summary(results)


class _Batch:
    """Three steps a case, the first and the last of them beside those of its neighbours."""

    def __init__(
        self,
        finisher: Finisher,
        shown: Progress,
        run_hash: str,
        entries: dict[str, dict[str, Any]] | None,
    ) -> None:
        self.predictor = finisher.predictor
        self.finisher = finisher
        self.shown = shown
        self.run_hash = run_hash
        self.entries = entries
        self.predictor.on_window = shown.advance

    def run(self, jobs: Sequence[Job]) -> Iterator[CaseResult]:
        """Give the results in the order of the jobs."""
        stop: str | None = None
        with ExitStack() as stack:
            stack.enter_context(self.finisher.open())
            read, write = self._lane(stack), self._lane(stack)
            ahead = [read(self._load, job) for job in jobs[:1]]
            saving: Future[Case] | None = None
            for index, job in enumerate(jobs):
                case = ahead.pop().result() if stop is None else self._skip(job, stop)
                if stop is None and index + 1 < len(jobs):
                    ahead = [read(self._load, jobs[index + 1])]
                self._infer(case)
                if saving is not None:
                    done = saving.result()
                    stop = done.stop or stop
                    yield done.result
                saving = write(
                    self.finisher.finish, case if stop is None else self._skip(job, stop)
                )
            if saving is not None:
                yield saving.result().result

    def _lane(self, stack: ExitStack) -> Callable[..., "Future[Case]"]:
        """Give what runs one step at a time: beside the others, or at once if memory is short."""
        if self.predictor.ceiling.host is not None:
            return _at_once
        return stack.enter_context(ThreadPoolExecutor(1)).submit

    def _load(self, job: Job) -> Case:
        def load(case: Case) -> None:
            if job.reason is not None:
                raise DataError(job.reason)
            digest = hash_files(job.files)
            case.result = replace(case.result, input_hash=digest, run_hash=self.run_hash)
            if self.entries is not None:
                entry = self.entries.get(str(job.target))
                valid = find_valid(entry, job.target, digest, self.run_hash)
                if valid is not None:
                    case.result = valid
                    return
            case.loaded = self.predictor.load(job.sources or job.source)

        case = Case(job, CaseResult(job.name, str(job.source), str(job.target), ""))
        return attempt(case, load)

    def _infer(self, case: Case) -> None:
        def infer(case: Case) -> None:
            if case.loaded is not None:
                self.shown.start(case.job.name, self.predictor.count_windows(case.loaded))
                case.prediction = self.predictor.infer(case.loaded)

        if case.is_open:
            attempt(case, infer)
        case.loaded = None

    def _skip(self, job: Job, reason: str) -> Case:
        where = str(job.source), str(job.target)
        return Case(job, CaseResult(job.name, *where, "not run", f"after {reason}"))


def _at_once(step: Callable[[Any], Case], argument: Any) -> "Future[Case]":
    future: Future[Case] = Future()
    future.set_result(step(argument))
    return future
