"""Extent of resection: how much of a tumour a cavity has taken."""

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from volseg.data.fractions import on_grid
from volseg.data.registration import Registration, register
from volseg.data.scan import Scan
from volseg.data.transforms import read_transform, write_transform
from volseg.data.volumes import read_grid, read_label_values, read_volume, require_same_grid
from volseg.errors import DataError
from volseg.evaluation.extent import Doubt, Extent, measure_extent
from volseg.inference.work_list import require_writable
from volseg.workflows.record import recording, write_record

RESULT, TUMOUR, TRANSFORM = "extent.json", "tumour_on_post.nii.gz", "post_to_pre.tfm"

PAGE = "report.html"

IDENTITY = "identity"
"""Instead of a transform's file: the two scans lie on each other already."""

MARGIN = 5.0
"""How far around the cavity the scans are not compared, in mm: it has no counterpart before."""


@dataclass(frozen=True)
class Pair:
    """The files of one patient before and after surgery.

    Args:
        cavity: Mask of the cavity, on the grid of ``post``.
        tumour: Mask of the tumour, on the grid of ``pre``.
        post: The postoperative scan.
        pre: The preoperative scan.
        transform: A file of ITK that leads from the points of ``post`` to those of ``pre``, or
            ``identity``; `None` registers the scans.
        labels: Values of the tumour mask that are tumour; `None`: all but 0.
    """

    cavity: Path
    tumour: Path
    post: Path | None = None
    pre: Path | None = None
    transform: str | Path | None = None
    labels: Sequence[int] | None = None

    def files(self) -> list[Path]:
        """List the files that are there to be read."""
        named = [self.cavity, self.tumour, self.post, self.pre]
        if self.transform not in (None, IDENTITY):
            named.append(Path(str(self.transform)))
        return [path for path in named if path is not None]


@dataclass(frozen=True)
class Result:
    """What was found.

    Args:
        extent: How much was resected.
        registration: How the scans were registered; `None` if the transform was given.
        output: Folder of the results.
    """

    extent: Extent
    registration: Registration | None
    output: Path

    def __str__(self) -> str:
        """Give the result, how the scans agree, and a line for each warning."""
        how = "the transform was given"
        if self.registration is not None:
            gap = self.registration.disagreement
            how = f"the two directions of the registration agree within {gap:.1f} mm"
        return "\n".join(
            [f"{self.extent}; {how}", *(f"warning: {each}" for each in self.extent.warnings())]
        )

    def to_json(self) -> dict[str, Any]:
        """Give plain values."""
        registered = None if self.registration is None else self.registration.to_json()
        return {**self.extent.to_json(), "registration": registered, "output": str(self.output)}


def extent(
    pair: Pair,
    output: str | Path,
    doubt: Doubt | None = None,
    *,
    overwrite: bool = False,
) -> Result:
    """Measure how much of a tumour a cavity has taken.

    Beside ``extent.json`` stand a page with pictures; the tumour on the grid of the cavity's mask,
    as the fraction of each voxel; the transform; and ``run.json``.

    Args:
        pair: The files of one patient.
        output: Folder of the results.
        doubt: What is not known exactly; `None`: 1 mm and 1 degree. A registration whose two
            directions disagree by more widens it.
        overwrite: Whether results that are there already may be replaced.

    Returns:
        The extent of resection with its interval.

    Raises:
        DataError: If a file is missing or does not fit, or the scans cannot be registered.
    """
    folder = Path(output)
    if (folder / RESULT).exists() and not overwrite:
        raise DataError(
            f"{folder / RESULT} exists already; allow overwriting or use another output"
        )
    cavity = _read_mask(pair.cavity, pair.post, None, "cavity")
    tumour = _read_mask(pair.tumour, pair.pre, pair.labels, "tumour")
    require_writable(folder)
    doubt = doubt or Doubt()
    settings = {**asdict(pair), "doubt": asdict(doubt)}
    with recording(folder, "extent", settings, pair.files()) as record:
        registration = _register(pair, cavity) if pair.transform is None else None
        matrix = _given(pair.transform) if registration is None else registration.matrix
        if registration is not None:
            doubt = replace(doubt, shift=max(doubt.shift, registration.disagreement))
        found = measure_extent(cavity, tumour, matrix, doubt)
        result = Result(found, registration, folder)
        record["results"] = result.to_json()
        fractions = on_grid(tumour, cavity.values.shape, cavity.affine, matrix)
        _write_fractions(folder / TUMOUR, fractions, pair.cavity)
        write_transform(folder / TRANSFORM, matrix)
        write_record(folder / RESULT, result.to_json())
        _write_page(result, pair, cavity, fractions)
    return result


def _write_page(result: Result, pair: Pair, cavity: Scan, fractions: NDArray[Any]) -> None:
    from volseg.workflows.extent_report import write_report

    write_report(result, pair.post, cavity, fractions)


def _read_mask(path: Path, image: Path | None, labels: Collection[int] | None, name: str) -> Scan:
    """Read a mask, which must lie on the grid of its image."""
    if image is not None:
        require_same_grid(read_grid(image), read_grid(path))
    present = read_label_values(path)
    wanted = {value for value in present if value} if labels is None else set(labels)
    if 0 in wanted:
        raise DataError(f"{path}: 0 is what is no {name}; name the labels that are")
    if not wanted & set(present):
        raise DataError(
            f"{path}: holds the values {present} and none of {sorted(wanted) or 'a'} {name};"
            " there is nothing to compare"
        )
    values, affine, _ = read_volume(path)
    return Scan(np.isin(np.rint(values), sorted(wanted)), affine)


def _register(pair: Pair, cavity: Scan) -> Registration:
    if pair.post is None or pair.pre is None:
        raise DataError(
            "without a transform both scans are needed, before and after surgery; give the scans,"
            f" a transform, or {IDENTITY!r} if they lie on each other already"
        )
    post, pre = (Scan(*read_volume(path)[:2]) for path in (pair.post, pair.pre))
    edges = np.linalg.norm(cavity.affine[:3, :3], axis=0)
    away: NDArray[Any] = ndimage.distance_transform_edt(~cavity.values, sampling=edges)
    return register(post, pre, np.asarray(away <= MARGIN))


def _given(transform: str | Path | None) -> NDArray[np.float64]:
    return np.eye(4) if transform in (None, IDENTITY) else read_transform(Path(str(transform)))


def _write_fractions(path: Path, fractions: NDArray[Any], source: Path) -> None:
    """Write fractions with the header of a mask, whole or not at all."""
    image = nib.load(source)
    header = image.header.copy()
    header.set_data_dtype(np.float32)
    partial = path.with_name(f".partial_{path.name}")
    try:
        nib.save(type(image)(fractions, image.affine, header), partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
