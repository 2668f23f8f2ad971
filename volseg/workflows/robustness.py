"""Robustness: the same cases under controlled changes of the acquisition, and real strata."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from volseg.bundle import Bundle
from volseg.data.cases import Case, find_cases
from volseg.data.channels import scanned
from volseg.data.dicom.tags import read_tags
from volseg.data.splits import read_split
from volseg.engines import distributed
from volseg.errors import DataError, VolsegError
from volseg.evaluation.metrics import TOLERANCE
from volseg.evaluation.outcomes import UNCHANGED, Outcome, Outcomes, worst_outcomes
from volseg.evaluation.robustness import Effect, ShiftResult, effects, shift_results
from volseg.evaluation.shifts.ladder import choose_shifts
from volseg.evaluation.shifts.shift import Shift
from volseg.evaluation.strata import Stratification, read_strata, stratify, write_strata
from volseg.inference.predictor import Predictor
from volseg.inference.work_list import require_writable
from volseg.workflows.pages import aligned, write_result_page
from volseg.workflows.plain import plain
from volseg.workflows.record import recording, write_record
from volseg.workflows.robustness_arms import Arm, find_arms
from volseg.workflows.robustness_cases import Runs, measure_case, read_subject
from volseg.workflows.robustness_page import Study, facts_of, sections_of, table_of
from volseg.workflows.robustness_reuse import Reuse, measure_reuse, reuse_rows, reuse_section
from volseg.workflows.splitting import SPLIT, fitting_split

logger = logging.getLogger(__name__)

RESULTS, PAGE, STRATA = "results.json", "report.html", "strata.csv"

VALIDATION = "validation"


@dataclass(frozen=True)
class RobustnessOptions:
    """How robustness is measured.

    Args:
        shifts: Names of the shifts to try; none: all of the modality.
        modality: ``CT`` or ``MR``; `None` takes the bundle's.
        split: ``split.json``, or a bundle that has one, whose validation cases are taken; `None`
            takes the bundle's if it is of these data, and otherwise every labelled case.
        cases: How many cases to take at most; `None`: all.
        strata: A CSV with the column ``case`` that says how each was acquired.
        by: Its columns; none: all that hold numbers or few values.
        tags: Keywords of DICOM attributes to stratify by, read beside the volumes or in `series`.
        series: Folder that holds the series of each case under the case's name.
        before: Weights of the encoder that the networks were fine-tuned from, to be compared with
            what has become of it; `None`: no comparison.
        tolerance: Tolerance of surface Dice, in mm.
        worst: How many cases are shown.
        seed: Of the changes and the draws.
        device: Where the networks run.
        overwrite: Whether results that are there already may be replaced.
        progress: Whether to draw a bar on stderr.
        trust: Whether code of the bundles may be run.
    """

    shifts: Sequence[str] = ()
    modality: str | None = None
    split: Path | None = None
    cases: int | None = None
    strata: Path | None = None
    by: Sequence[str] = ()
    tags: Sequence[str] = ()
    series: Path | None = None
    before: Path | None = None
    tolerance: float = TOLERANCE
    worst: int = 4
    seed: int = 0
    device: str = "auto"
    overwrite: bool = False
    progress: bool = False
    trust: bool = False


@dataclass(frozen=True)
class Robustness:
    """What was found.

    Args:
        arms: The runs of each arm, by name.
        effects: What each condition does to each arm.
        shifts: What each shift does, and how the arms compare.
        strata: Scores of the unchanged cases by real strata, one list an arm.
        outcomes: Every single one.
        failed: Why a case was not measured, by name.
        output: Folder of the results.
        reuse: How alike each level of the encoders is before and after fine-tuning.
    """

    arms: Mapping[str, Sequence[str]]
    effects: Sequence[Effect]
    shifts: Sequence[ShiftResult]
    strata: Sequence[Sequence[Stratification]]
    outcomes: Sequence[Outcome]
    failed: Mapping[str, str]
    output: Path
    reuse: Sequence[Reuse] = ()

    @property
    def is_complete(self) -> bool:
        """Whether every case was measured."""
        return not self.failed

    def __str__(self) -> str:
        """Give a table of the drops, and a line for each failure."""
        lines = table_of(self.effects, self.shifts, list(self.arms))
        lines += ["", *aligned(reuse_rows(self.reuse))] if self.reuse else []
        notes = [f"failed: {name}: {reason}" for name, reason in self.failed.items()]
        return "\n".join([*lines, *notes, f"wrote {self.output / PAGE}"])

    def to_json(self) -> dict[str, Any]:
        """Give everything as plain values, `None` for what has no value."""
        return {
            "arms": {name: list(runs) for name, runs in self.arms.items()},
            "shifts": plain(self.shifts),
            "effects": plain(self.effects),
            "strata": plain(self.strata),
            "reuse": plain(self.reuse),
            "outcomes": plain(self.outcomes),
            "failed": dict(self.failed),
            "output": str(self.output),
        }


def robustness(
    bundle: str | Path,
    data: str | Path,
    output: str | Path,
    other: str | Path | None = None,
    options: RobustnessOptions | None = None,
) -> Robustness:
    """Measure what changes of the acquisition do to one network, or to two.

    Args:
        bundle: A segmentation bundle, or a folder of bundles: the runs of one arm.
        data: What `find_cases` takes, with labels.
        output: Folder of ``results.json``, ``report.html`` and ``run.json``.
        other: A second arm, to be compared with the first.
        options: How it is measured.

    Returns:
        Drops with intervals, their comparison, and where the page lies.

    Raises:
        DataError: If no case can be measured, or the output has results already.
    """
    options, folder = options or RobustnessOptions(), Path(output)
    if (folder / RESULTS).exists() and not options.overwrite:
        raise DataError(f"{folder / RESULTS} exists; allow overwriting or use another output")
    arms = find_arms(bundle, other, is_trusted=options.trust)
    shifts = choose_shifts(options.modality or _modality(arms[0].bundles[0]), options.shifts)
    cases = _cases(data, arms, options)
    strata = read_strata(options.strata, options.by) if options.strata else {}
    tags = {tag: read_tags(cases, tag, options.series) for tag in options.tags}
    require_writable(folder)
    settings = {**asdict(options), "arms": {a.name: [str(b.root) for b in a.bundles] for a in arms}}
    inputs = [path for case in cases for path in case.files]
    place = distributed.device(options.device)
    with recording(folder, "robustness", settings, inputs, place) as record:
        predictors = [[Predictor.from_bundle(b, place) for b in arm.bundles] for arm in arms]
        if tags:
            write_strata(folder / STRATA, tags)
        named = dict(zip((arm.name for arm in arms), predictors, strict=True))
        reuse = measure_reuse(options.before, named, cases) if options.before else []
        outcomes, failed = _measure(cases, predictors, shifts, options)
        groups = {case.name: case.group or case.name for case in cases}
        measured = Outcomes(outcomes, groups)
        found = _judge(arms, measured, {**strata, **tags}, failed, options, folder)
        found = replace(found, reuse=reuse)
        study = Study(
            {c.name: c for c in cases}, predictors, shifts, list(found.arms), options.seed
        )
        _write(found, study, worst_outcomes(measured, options.worst), str(data))
        record["results"] = {"cases": len(measured.cases), "failed": failed}
    return found


def _write(found: Robustness, study: Study, worst: Sequence[Outcome], data: str) -> None:
    """Write figures and page."""
    write_record(found.output / RESULTS, found.to_json())
    sections = sections_of(study, found.effects, found.shifts, found.strata, worst)
    facts = facts_of(study, data, found.failed)
    title = f"Robustness of {' and '.join(found.arms)}"
    write_result_page(found.output / PAGE, title, facts, sections + reuse_section(found.reuse))


def _judge(
    arms: Sequence[Arm],
    measured: Outcomes,
    strata: Mapping[str, Mapping[str, str]],
    failed: Mapping[str, str],
    options: RobustnessOptions,
    folder: Path,
) -> Robustness:
    """Sum up what was measured."""
    seed, groups = options.seed, dict(zip(measured.cases, measured.groups, strict=True))
    return Robustness(
        {arm.name: [str(each.root) for each in arm.bundles] for arm in arms},
        effects(measured, seed),
        shift_results(measured, seed),
        [stratify(_scores(measured, n), strata, groups, seed) for n in range(len(arms))],
        measured.outcomes,
        failed,
        folder,
    )


def _modality(bundle: Bundle) -> str:
    image = bundle.metadata["network_data_format"]["inputs"]["image"]
    return "MR" if str(image.get("modality", "")).startswith("MR") else str(image.get("modality"))


def _cases(data: str | Path, arms: Sequence[Arm], options: RobustnessOptions) -> list[Case]:
    """Take the labelled cases on which no run was trained, as far as their splits tell."""
    first = arms[0].bundles[0]
    channels = scanned(first.raw_config("inference").get("channels", ()))
    cases = [case for case in find_cases(data, None, channels) if case.label is not None]
    if not cases:
        raise DataError(f"{data} holds no labelled case; robustness needs references")
    split = fitting_split(cases, first, options.split)
    if split is not None:
        cases = [case for case in cases if case.name in set(split[VALIDATION])]
    cases = cases[: options.cases]
    names = {case.name for case in cases}
    for run in (run for arm in arms for run in arm.bundles):
        path = run.root / SPLIT
        seen = names & set(read_split(path).get("training", ())) if path.is_file() else set()
        if seen:
            raise DataError(
                f"{run.root} was trained on {min(seen)} and {len(seen) - 1} more of these cases;"
                " give a split that it was not trained on"
            )
    return cases


def _measure(
    cases: Sequence[Case], predictors: Runs, shifts: Sequence[Shift], options: RobustnessOptions
) -> tuple[list[Outcome], dict[str, str]]:
    outcomes: list[Outcome] = []
    failed: dict[str, str] = {}
    for case in tqdm(cases, desc="robustness", unit="case", disable=not options.progress):
        try:
            subject = read_subject(case, predictors[0][0].classes)
            outcomes += list(
                measure_case(subject, predictors, shifts, options.tolerance, options.seed)
            )
        except VolsegError as error:
            failed[case.name] = str(error)
            logger.warning("failed: %s: %s", case.name, error)
    if not outcomes:
        raise DataError(f"no case could be measured; the first: {next(iter(failed.values()))}")
    return outcomes, failed


def _scores(outcomes: Outcomes, arm: int) -> dict[str, float]:
    """Give the unchanged Dice of each case, over the runs."""
    place = outcomes.conditions.index(UNCHANGED)
    table = outcomes.table(arm, "dice")[:, :, place]
    return dict(zip(outcomes.cases, np.nanmean(table, axis=0).tolist(), strict=True))
