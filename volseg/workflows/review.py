"""The cases of which a network is least sure: a queue for a person."""

import csv
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from volseg.data.headers import UNREADABLE, open_image
from volseg.data.volumes import ENDINGS
from volseg.errors import DataError, VolsegError
from volseg.evaluation.pairs import read_labels
from volseg.evaluation.uncertainty.cases import describe_certainty, mean_around, uncertainty_of
from volseg.inference.outputs.maps import map_path
from volseg.workflows.bars import Histogram
from volseg.workflows.beside import PAGE, require_room
from volseg.workflows.calibrate import read_chances

KINDS = ("probabilities", "entropy", "variance")
COLUMNS = (
    "rank", "name", "image", "mask", "uncertainty", "expected_dice", "confidence", "entropy",
    "variance",
)  # fmt: skip


@dataclass(frozen=True)
class Unsure:
    """One case.

    Args:
        name: Its name.
        mask: Its mask.
        image: Its image; `None` if nobody says.
        certainty: What the maps say.
    """

    name: str
    mask: Path
    image: Path | None
    certainty: Mapping[str, float]

    @property
    def uncertainty(self) -> float:
        """Give the number by which cases are sorted."""
        return uncertainty_of(self.certainty)


@dataclass(frozen=True)
class ReviewResult:
    """The queue.

    Args:
        cases: The least sure first.
        failures: Why a case is not among them, by name.
        output: The table; page and figures stand beside it.
    """

    cases: Sequence[Unsure]
    failures: Mapping[str, str]
    output: Path

    @property
    def is_complete(self) -> bool:
        """Whether all maps could be read."""
        return not self.failures

    def histogram(self) -> Histogram:
        """Count the cases by their uncertainty."""
        return Histogram.of([case.uncertainty for case in self.cases])

    def to_json(self) -> dict[str, Any]:
        """Give everything as plain values."""
        return {
            "histogram": self.histogram().to_json(),
            "cases": [
                {"name": case.name, "uncertainty": case.uncertainty, **case.certainty}
                for case in self.cases
            ],
            "failures": dict(self.failures),
            "output": str(self.output),
        }

    def __str__(self) -> str:
        """Name the first cases."""
        lines = [f"{case.uncertainty:.3f}  {case.name}" for case in self.cases[:10]]
        more = len(self.cases) - len(lines)
        lines += [f"... and {more} more"] if more else []
        lines += [f"failed: {name}: {reason}" for name, reason in self.failures.items()]
        return "\n".join([*lines, f"wrote {self.output} and {self.output.with_suffix(PAGE).name}"])


def review(
    masks: str | Path, output: str | Path, top: int | None = None, *, overwrite: bool = False
) -> ReviewResult:
    """List the cases of which a network is least sure, those first.

    The table has the columns ``name`` and ``image``, so that `volseg.data.cases.find_cases` and
    ``volseg segment`` take it as it is; ``mask`` names the mask to be mended.

    Args:
        masks: Folder of masks with maps, as ``volseg segment --maps`` writes them. Probabilities
            are preferred, then entropy, then variance; all cases are sorted by the same.
        output: The table, ``*.csv``; a page ``*.html`` and its figures ``*.json`` are written
            beside it.
        top: How many cases; `None`: all.
        overwrite: Whether a table that is there already may be replaced.

    Returns:
        The cases.

    Raises:
        DataError: If there is no map, or the table is there already.
    """
    folder, table = Path(masks), Path(output)
    require_room(table, overwrite=overwrite)
    found = _masks_with_maps(folder)
    if not found:
        raise DataError(f"{folder} holds no mask with maps; segment with --maps probabilities")
    kinds = [kind for kind in KINDS if all(map_path(mask, kind).is_file() for mask in found)]
    if not kinds:
        raise DataError(f"the masks in {folder} have maps of different kinds; segment them alike")
    cases, failures = [], {}
    for mask in found:
        name = _name(mask, folder)
        try:
            cases.append(Unsure(name, mask, _image_of(mask, kinds[0]), _certainty(mask, kinds)))
        except VolsegError as error:
            failures[name] = str(error)
    cases.sort(key=lambda case: (-case.uncertainty, case.name))
    _write(table, cases[:top])
    result = ReviewResult(cases[:top], failures, table)
    _write_page(result, folder, top)
    return result


def _masks_with_maps(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise DataError(f"{folder} is no folder; give that of the masks")
    return [
        path
        for path in sorted(folder.rglob("*"))
        if path.name.endswith(ENDINGS)
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and any(map_path(path, kind).is_file() for kind in KINDS)
    ]


def _certainty(mask: Path, kinds: Sequence[str]) -> dict[str, float]:
    certainty = describe_certainty(read_chances(mask)) if "probabilities" in kinds else {}
    labels, _ = read_labels(mask)
    for kind in ("entropy", "variance"):
        if kind not in kinds or kind in certainty:
            continue
        path = map_path(mask, kind)
        try:
            values = np.asarray(open_image(path).dataobj, dtype=np.float32)
        except UNREADABLE as error:
            raise DataError(f"{path} cannot be read: {error}") from error
        if values.shape != labels.shape:
            raise DataError(f"{path} has shape {values.shape}, its mask {labels.shape}")
        certainty[kind] = mean_around(values, labels)
    return certainty


def _image_of(mask: Path, kind: str) -> Path | None:
    """Read from what stands beside a map which image it is of."""
    path = map_path(mask, kind)
    sidecar = path.with_name(path.name.removesuffix(".nii.gz") + ".json")
    try:
        source = json.loads(sidecar.read_text(encoding="utf-8"))["Sources"][0]
    except (OSError, ValueError, LookupError, TypeError):
        return None
    image = (path.parent / str(source)).resolve()
    return image if image.exists() else None


def _name(mask: Path, folder: Path) -> str:
    text = mask.relative_to(folder).as_posix()
    return text.removesuffix(".gz").removesuffix(".nii")


def _write(table: Path, cases: Sequence[Unsure]) -> None:
    try:
        table.parent.mkdir(parents=True, exist_ok=True)
        with table.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, COLUMNS, restval="")
            writer.writeheader()
            for rank, case in enumerate(cases, start=1):
                image = "" if case.image is None else os.path.relpath(case.image, table.parent)
                figures = {key: f"{value:.6f}" for key, value in case.certainty.items()}
                writer.writerow(
                    {
                        "rank": rank,
                        "name": case.name,
                        "image": image,
                        "mask": os.path.relpath(case.mask, table.parent),
                        "uncertainty": f"{case.uncertainty:.6f}",
                        **figures,
                    }
                )
    except OSError as error:
        raise DataError(f"cannot write {table}: {error.strerror or error}") from error


def _write_page(result: ReviewResult, folder: Path, top: int | None) -> None:
    from volseg.workflows.review_report import write_report

    write_report(result, folder, top)
