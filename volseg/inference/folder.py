"""Segment many files with one load of the model, and account for every one of them.

Each case adds a line to ``manifest.jsonl`` in the output folder as soon as it is done or has
failed. A bad file is reported and the rest go on; a disk that takes nothing more stops the run,
since every further case would be computed for nothing. While one case is computed the next is read
and the one before is written, unless memory is limited: then one case is held at a time.
"""

from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from volseg.inference.casework import Casework, Task, skip_case
from volseg.inference.finishing import Look
from volseg.inference.ledger import Ledger
from volseg.inference.manifest import MANIFEST, read_manifest
from volseg.inference.predictor import Predictor
from volseg.inference.progress import Progress
from volseg.inference.results import CaseResult, Summary
from volseg.inference.steps import Case
from volseg.inference.work_list import Job, list_jobs, require_writable

__all__ = ["MANIFEST", "CaseResult", "Summary", "segment_folder", "segment_jobs"]


@dataclass(frozen=True)
class Terms:
    """What holds for every case of a batch, whoever does it.

    Args:
        run_hash: Hash of the bundle and the options.
        look: What is kept for the report.
        overwrite: Whether masks that are there already may be replaced.
        resume: Whether to skip the cases whose masks an earlier run has written, if nothing has
            changed since.
        progress: Whether to show on stderr how far it is.
    """

    run_hash: str = ""
    look: Look = field(default_factory=Look)
    overwrite: bool = False
    resume: bool = False
    progress: bool = False

    def tasks(self, jobs: Sequence[Job], output: Path) -> list[Task]:
        """Add to each job what an earlier run has left of it.

        Args:
            jobs: The images and their masks.
            output: Folder of ``manifest.jsonl``.

        Returns:
            One task a job.
        """
        if not self.resume or self.overwrite:
            return [Task(job) for job in jobs]
        entries = read_manifest(output)
        return [Task(job, is_resumed=True, entry=entries.get(str(job.target))) for job in jobs]


@dataclass(frozen=True)
class Desk:
    """Where a batch is at home.

    Args:
        ledger: Its account.
        staging: Hidden folder of the run.
        shown: How far it is.
    """

    ledger: Ledger
    staging: Path
    shown: Progress


Cases = Generator[Case, None, None]

Runner = Callable[[Sequence[Task], Desk], Cases]
"""Does tasks in any order; gives each case once, after it was entered into the ledger."""

_Later = Callable[[], Case]
_Lane = Callable[[Callable[[Any], Case], Any], _Later]


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
    return segment_jobs(jobs, output, predictor, Terms(overwrite=overwrite, progress=progress))


def segment_jobs(
    jobs: Sequence[Job], output: Path, predictor: Predictor, terms: Terms | None = None
) -> Summary:
    """Segment what was listed, in this process.

    Args:
        jobs: The images and their masks.
        output: Folder of ``manifest.jsonl``.
        predictor: What segments an image.
        terms: What holds for all of them.

    Returns:
        What became of each image.
    """
    how = terms or Terms()

    def run(tasks: Sequence[Task], desk: Desk) -> Cases:
        casework = Casework(predictor, desk.staging, how.run_hash, how.look)
        return _Pipeline(casework, desk).run(tasks)

    return run_batch(jobs, output, how, run)


def run_batch(jobs: Sequence[Job], output: Path, terms: Terms, runner: Runner) -> Summary:
    """Let somebody do the cases, and account for them.

    Args:
        jobs: The images and their masks.
        output: Folder of ``manifest.jsonl``.
        terms: What holds for all of them.
        runner: Does them.

    Returns:
        What became of each image, in the order of the jobs.
    """
    require_writable(output)
    tasks, ledger = terms.tasks(jobs, output), Ledger(output)
    found: dict[Path, CaseResult] = {}
    with (
        Progress(len(jobs), is_shown=terms.progress) as shown,
        ledger.open() as staging,
        closing(runner(tasks, Desk(ledger, staging, shown))) as cases,
    ):
        for case in cases:
            found[case.job.target] = case.result
            shown.finish(case.result)
    return Summary([found[job.target] for job in jobs])


class _Pipeline:
    """Three steps a case, the first and the last of them beside those of its neighbours."""

    def __init__(self, casework: Casework, desk: Desk) -> None:
        self.casework = casework
        self.ledger = desk.ledger
        casework.on_start = desk.shown.start
        casework.predictor.on_window = desk.shown.advance

    def run(self, tasks: Sequence[Task]) -> Cases:
        """Give the cases in the order of the tasks."""
        stop: str | None = None
        with ExitStack() as stack:
            read, write = self._lanes(stack)
            ahead = [read(self.casework.load, task) for task in tasks[:1]]
            saving: Callable[[], Case] | None = None
            for index, task in enumerate(tasks):
                case = ahead.pop()() if stop is None else skip_case(task.job, stop)
                if stop is None and index + 1 < len(tasks):
                    ahead = [read(self.casework.load, tasks[index + 1])]
                self.casework.infer(case)
                if saving is not None:
                    done = saving()
                    stop = done.stop or stop
                    yield done
                saving = write(self._save, case if stop is None else skip_case(task.job, stop))
            if saving is not None:
                yield saving()

    def _save(self, case: Case) -> Case:
        return self.ledger.enter(self.casework.save(case))

    def _lanes(self, stack: ExitStack) -> tuple[_Lane, _Lane]:
        """Give what reads and what writes: beside the rest, or in turn if memory is limited."""
        if self.casework.is_sparing:
            return partial, _at_once
        pools = [stack.enter_context(ThreadPoolExecutor(1)) for _ in range(2)]
        return partial(_beside, pools[0]), partial(_beside, pools[1])


def _beside(pool: ThreadPoolExecutor, step: Callable[[Any], Case], argument: Any) -> _Later:
    return pool.submit(step, argument).result


def _at_once(step: Callable[[Any], Case], argument: Any) -> _Later:
    case = step(argument)
    return lambda: case
