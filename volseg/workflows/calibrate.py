"""Hold a network's probabilities on a hold-out against the truth."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from volseg.data.cases import GROUP_COLUMNS
from volseg.data.headers import UNREADABLE, open_image
from volseg.data.tables import read_rows
from volseg.errors import DataError, VolsegError
from volseg.evaluation.metrics import dice
from volseg.evaluation.pairs import Pair, find_pairs, read_labels
from volseg.evaluation.uncertainty.calibration import (
    Bin,
    Voxels,
    calibration_error,
    fit_temperature,
    near_structures,
    temper,
)
from volseg.evaluation.uncertainty.cases import describe_certainty, uncertainty_of
from volseg.evaluation.uncertainty.risk import Risk, risk_and_coverage
from volseg.inference.outputs.maps import map_path
from volseg.workflows.page import Table
from volseg.workflows.probe import require_probe_extra
from volseg.workflows.record import recording, write_record

RESULTS, PAGE = "calibration.json", "report.html"

LEAST_CASES = 4


@dataclass(frozen=True)
class CaseFound:
    """One case.

    Args:
        name: Its name.
        group: Whom it is of.
        certainty: What the probabilities say.
        dice: Mean over the classes that it has or was said to have.
        voxels: Those near a structure.
    """

    name: str
    group: str
    certainty: Mapping[str, float]
    dice: float
    voxels: Voxels


@dataclass(frozen=True)
class CalibrationResult:
    """What was found.

    Args:
        cases: The cases.
        temperature: Fitted to all cases, for later use.
        error: Expected calibration error as it is.
        mended: The same after a temperature that was fitted to the other half of the groups.
        bins: Confidence and accuracy, as they are and mended.
        risk: How well the uncertainty sorts the cases.
        failures: Why a case was left out, by name.
        output: Folder of the results.
    """

    cases: Sequence[CaseFound]
    temperature: float
    error: float
    mended: float
    bins: tuple[Sequence[Bin], Sequence[Bin]]
    risk: Risk
    failures: Mapping[str, str]
    output: Path

    @property
    def is_complete(self) -> bool:
        """Whether every reference had probabilities."""
        return not self.failures

    def to_json(self) -> dict[str, Any]:
        """Give everything as plain values."""
        risk = self.risk
        return {
            "temperature": self.temperature,
            "ece": self.error,
            "ece_mended": self.mended,
            "bins": [vars(each) for each in self.bins[0]],
            "bins_mended": [vars(each) for each in self.bins[1]],
            "risk": {
                "coverage": risk.coverage.tolist(),
                "risk": risk.risk.tolist(),
                "area": risk.area,
                "random": risk.random,
                "best": risk.best,
                "gain": risk.gain.to_json(),
                "correlation": risk.correlation.to_json(),
            },
            "cases": [
                {
                    "name": case.name,
                    "group": case.group,
                    "dice": case.dice,
                    "uncertainty": uncertainty_of(case.certainty),
                    **case.certainty,
                }
                for case in self.cases
            ],
            "failures": dict(self.failures),
            "output": str(self.output),
        }

    def table(self) -> Table:
        """Lay out the figures."""
        risk = self.risk
        rows = [
            ["cases, groups", f"{len(self.cases)}, {len({case.group for case in self.cases})}"],
            ["expected calibration error", f"{self.error:.4f}"],
            ["the same with the temperature of the other half", f"{self.mended:.4f}"],
            ["temperature (above 1: the network is too sure)", f"{self.temperature:.2f}"],
            ["mean error (1 - Dice)", f"{risk.random:.4f}"],
            ["area under risk and coverage", f"{risk.area:.4f}"],
            ["the same if sorted by the error itself", f"{risk.best:.4f}"],
            ["gain over sorting by chance", risk.gain.text(4)],
            ["rank correlation of uncertainty and error", risk.correlation.text()],
        ]
        return Table(["", "value"], rows)

    def __str__(self) -> str:
        """Give the figures, and where the rest is."""
        failed = [f"failed: {name}: {reason}" for name, reason in self.failures.items()]
        return "\n".join([self.table().to_text(), "", *failed, f"wrote {self.output / PAGE}"])


def calibrate(
    predictions: str | Path,
    references: str | Path,
    output: str | Path,
    *,
    groups: str | Path | None = None,
    seed: int = 0,
    overwrite: bool = False,
) -> CalibrationResult:
    """Hold probabilities against the truth: calibration error, temperature, risk and coverage.

    Args:
        predictions: Folder of masks with their probabilities, as ``volseg segment --maps
            probabilities`` writes them, with or without test-time augmentation.
        references: Folder of the true label maps of cases that the network was not trained on.
        output: Folder of the results.
        groups: A CSV with the columns ``case`` and ``group``; `None`: each case is its own.
        seed: Of the draws.
        overwrite: Whether results that are there already may be replaced.

    Returns:
        What was found.

    Raises:
        DataError: If there are fewer than four cases of two groups.
    """
    folder = Path(output)
    require_probe_extra()
    if (folder / RESULTS).exists() and not overwrite:
        raise DataError(f"{folder / RESULTS} exists already; use another output or --overwrite")
    pairs, _ = find_pairs(Path(predictions), Path(references))
    owners = {} if groups is None else read_groups(Path(groups))
    settings = {"predictions": str(predictions), "references": str(references), "seed": seed}
    with recording(folder, "calibrate", settings) as record:
        result = _judge(pairs, owners, folder, seed)
        write_record(folder / RESULTS, result.to_json())
        _write_page(result)
        record["results"] = {"complete": result.is_complete, "results": RESULTS, "report": PAGE}
    return result


def read_chances(mask: Path) -> NDArray[np.float32]:
    """Read the probabilities beside a mask.

    Args:
        mask: The mask.

    Returns:
        ``(X, Y, Z, K)``.

    Raises:
        DataError: If they are not there, or are none.
    """
    path = map_path(mask, "probabilities")
    if not path.is_file():
        raise DataError(f"{path} is not there; segment with --maps probabilities")
    try:
        values = np.asarray(open_image(path).dataobj, dtype=np.float32)
    except UNREADABLE as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    if values.ndim != 4 or abs(values.sum(-1) - 1).max(initial=0) > 0.01:
        raise DataError(f"{path} has shape {values.shape}, and is no map of probabilities")
    return values


def _judge(
    pairs: Sequence[Pair], owners: Mapping[str, str], folder: Path, seed: int
) -> CalibrationResult:
    cases, failures = [], {}
    for pair in pairs:
        try:
            cases.append(_look_at(pair, owners.get(pair.name, pair.name), seed))
        except VolsegError as error:
            failures[pair.name] = str(error)
    names = sorted({case.group for case in cases})
    if len(cases) < LEAST_CASES or len(names) < 2:
        reason = f", such as: {next(iter(failures.values()))}" if failures else ""
        raise DataError(
            f"{len(cases)} cases of {len(names)} group(s) can be used{reason}; a calibration needs"
            f" {LEAST_CASES} of 2"
        )
    random = np.random.default_rng(seed)
    half = set(random.permutation(names)[: len(names) // 2].tolist())
    mended = []
    for is_first in (True, False):
        fitted = fit_temperature([c.voxels for c in cases if (c.group in half) is is_first])
        mended += [
            Voxels(temper(case.voxels.chances, fitted), case.voxels.truth)
            for case in cases
            if (case.group in half) is not is_first
        ]
    everything = [case.voxels for case in cases]
    gap, bins = calibration_error(everything)
    gap_mended, bins_mended = calibration_error(mended)
    risk = risk_and_coverage(
        [uncertainty_of(case.certainty) for case in cases],
        [1 - case.dice for case in cases],
        [case.group for case in cases],
        seed,
    )
    temperature = fit_temperature(everything)
    both = (bins, bins_mended)
    return CalibrationResult(cases, temperature, gap, gap_mended, both, risk, failures, folder)


def _look_at(pair: Pair, group: str, seed: int) -> CaseFound:
    if pair.prediction is None:
        raise DataError("no prediction")
    reference, _ = read_labels(pair.reference)
    chances = read_chances(pair.prediction)
    voxels = near_structures(chances, reference, seed)
    labels = chances.argmax(-1)
    values = sorted({*np.unique(labels).tolist(), *np.unique(reference).tolist()} - {0})
    if not values:
        raise DataError("neither the reference nor the prediction holds a structure")
    scores = [
        dice(torch.from_numpy(labels == value), torch.from_numpy(reference == value))
        for value in values
    ]
    return CaseFound(pair.name, group, describe_certainty(chances), float(np.mean(scores)), voxels)


def read_groups(table: Path) -> dict[str, str]:
    """Read whom each case is of.

    Args:
        table: A CSV with the columns ``case``, or ``name`` as in a list of cases, and ``group``.

    Returns:
        Group of each case.

    Raises:
        DataError: If it has no such columns.
    """
    rows = read_rows(table, ("case", "name"))
    column = next((name for name in GROUP_COLUMNS if name in rows[0]), None)
    if column is None:
        raise DataError(f"{table} has no column 'group'; it says whom each case is of")
    named = ((row.get("case") or row.get("name"), row[column]) for row in rows)
    return {name: group for name, group in named if name}


def _write_page(result: CalibrationResult) -> None:
    from volseg.workflows.calibrate_report import write_report

    write_report(result.output / PAGE, result)
