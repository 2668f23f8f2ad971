"""Boxes that were found, on the scan's grid and in the world: ``boxes.csv``, ``boxes.jsonl``."""

import csv
import json
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from monai.transforms import MapTransform
from numpy.typing import NDArray

from volseg.data.case import stem
from volseg.data.geometry import Grid
from volseg.data.tables import read_table
from volseg.errors import DataError
from volseg.transforms.boxes import HALF, boxes_between, boxes_to_world

TABLE, LINES = "boxes.csv", "boxes.jsonl"

WORLD = ("x_min", "y_min", "z_min", "x_max", "y_max", "z_max")
"""Columns of the bounds in the world, in mm, RAS."""

VOXELS = ("i_start", "j_start", "k_start", "i_stop", "j_stop", "k_stop")
"""Columns of the edges in voxels of the scan's grid: voxel 3 reaches from 3 to 4."""

HEADS = ("case", "class", "label", "score", *WORLD, *VOXELS)


@dataclass(frozen=True)
class ScanBoxes:
    """The boxes of a scan.

    Args:
        case: Its name.
        grid: Its grid.
        boxes: In edges of its voxels, ``(N, 6)``.
        scores: Of each box, ``(N,)``.
        classes: Label value of each box, from 1, ``(N,)``.
    """

    case: str
    grid: Grid
    boxes: NDArray[np.float64]
    scores: NDArray[np.float64]
    classes: NDArray[np.int64]

    def world(self) -> NDArray[np.float64]:
        """Give the bounds in the world, in mm, ``(N, 6)``."""
        return boxes_to_world(self.boxes, self.grid.matrix())

    def to_json(self, names: Sequence[str]) -> dict[str, Any]:
        """Give everything as plain values.

        Args:
            names: Name of each class, the background first.

        Returns:
            The boxes, with centre and edges along the scan's own axes, which do not grow where the
            scan is oblique as the bounds along the world's axes do.
        """
        affine = self.grid.matrix()
        centres = (self.boxes[:, :3] + self.boxes[:, 3:]) / 2 - HALF
        centres = centres @ affine[:3, :3].T + affine[:3, 3]
        edges = (self.boxes[:, 3:] - self.boxes[:, :3]) * np.linalg.norm(affine[:3, :3], axis=0)
        rows = zip(self.boxes, self.scores, self.classes, self.world(), strict=True)
        return {
            "case": self.case,
            "shape": list(self.grid.shape),
            "affine": affine.tolist(),
            "boxes": [
                {
                    "class": names[label],
                    "label": int(label),
                    "score": round(float(score), 6),
                    "world_min_mm": _rounded(bounds[:3]),
                    "world_max_mm": _rounded(bounds[3:]),
                    "centre_mm": _rounded(centres[index]),
                    "size_mm": _rounded(edges[index]),
                    "start": _rounded(box[:3]),
                    "stop": _rounded(box[3:]),
                }
                for index, (box, score, label, bounds) in enumerate(rows)
            ],
        }


def native_boxes(pred: Any, affine: Any, case: str, native: Grid) -> ScanBoxes:
    """Bring a network's boxes to the scan's own grid.

    Args:
        pred: Six edges in voxels of the network's grid, score, and class from 0, ``(N, 8)``.
        affine: Of the network's grid, ``(4, 4)``.
        case: The scan's name.
        native: Its grid.

    Returns:
        The boxes, cut at the scan's faces; those that lie beyond them are left out.
    """
    rows = np.asarray(pred, np.float64).reshape(-1, 8)
    boxes = boxes_between(rows[:, :6], np.asarray(affine), native.matrix())
    boxes = np.clip(boxes, 0, np.tile(native.shape, 2))
    there = (boxes[:, 3:] > boxes[:, :3]).all(axis=1)
    rows, boxes = rows[there], boxes[there]
    return ScanBoxes(case, native, boxes, rows[:, 6], rows[:, 7].astype(np.int64) + 1)


def append_boxes(folder: Path, found: ScanBoxes, names: Sequence[str]) -> None:
    """Add a scan to the table of boxes and to the lines of JSON.

    Args:
        folder: Folder of both files; made if it is not there.
        found: The boxes.
        names: Name of each class, the background first.

    Raises:
        DataError: If the disk refuses.
    """
    table = folder / TABLE
    try:
        folder.mkdir(parents=True, exist_ok=True)
        is_new = not table.exists()
        with table.open("a", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            if is_new:
                writer.writerow(HEADS)
            rows = zip(found.classes, found.scores, found.world(), found.boxes, strict=True)
            for label, score, bounds, box in rows:
                numbers = [f"{value:.4f}" for value in (*bounds, *box)]
                writer.writerow([found.case, names[label], label, f"{score:.6f}", *numbers])
        with (folder / LINES).open("a", encoding="utf-8") as file:
            file.write(json.dumps(found.to_json(names), ensure_ascii=False) + "\n")
    except OSError as error:
        raise DataError(f"cannot write {table}: {error.strerror or error}") from error


class SaveBoxesd(MapTransform):
    """Appends each scan's boxes to ``boxes.csv`` and ``boxes.jsonl``.

    Args:
        keys: Key of the boxes on the network's grid, ``(N, 8)``.
        output_dir: Folder of the files; made when the first line is written.
        classes: Name of each class, the background first.
        image: Key of the volume; its metadata tell the scan's own grid.
    """

    def __init__(
        self,
        keys: Sequence[Hashable] | Hashable,
        output_dir: str | Path,
        classes: Sequence[str],
        image: Hashable = "image",
    ) -> None:
        super().__init__(keys)
        self.folder = Path(output_dir)
        self.is_begun = False
        self.classes = [str(name) for name in classes]
        self.image = image

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Write one scan.

        Args:
            data: The case.

        Returns:
            The case as it was.

        Raises:
            DataError: If a table of another run is there.
        """
        if not self.is_begun and (self.folder / TABLE).exists():
            raise DataError(f"{self.folder / TABLE} exists already; use another output_dir")
        self.is_begun = True
        image = data[self.image]
        name = stem(Path(str(image.meta["filename_or_obj"])).name)
        for key in self.key_iterator(dict(data)):
            found = native_boxes(data[key], image.affine, name, native_grid(image))
            append_boxes(self.folder, found, self.classes)
        return dict(data)


def native_grid(image: Any) -> Grid:
    """Read the grid of the file that a preprocessed volume comes from.

    Args:
        image: The volume, with MONAI's metadata.

    Returns:
        The grid.
    """
    shape = tuple(int(length) for length in np.asarray(image.meta["spatial_shape"]).ravel()[:3])
    return Grid(shape, np.asarray(image.meta["original_affine"], np.float64))


@dataclass(frozen=True)
class BoxRow:
    """A line of a table of boxes.

    Args:
        label: Label value of its class.
        score: Its score.
        world: Bounds in the world, in mm.
        voxels: Edges in voxels of the scan's grid.
    """

    label: int
    score: float
    world: tuple[float, ...]
    voxels: tuple[float, ...]


def read_boxes(table: str | Path) -> dict[str, list[BoxRow]]:
    """Read a table of boxes.

    Args:
        table: ``boxes.csv``; beside it ``boxes.jsonl`` names scans without a box too.

    Returns:
        The boxes of each scan.

    Raises:
        DataError: If it is no such table.
    """
    path = Path(table)
    rows = _read_rows(path)
    found: dict[str, list[BoxRow]] = {name: [] for name in _cases_beside(path)}
    try:
        for row in rows:
            world, voxels = (tuple(float(row[h]) for h in heads) for heads in (WORLD, VOXELS))
            one = BoxRow(int(row["label"]), float(row["score"]), world, voxels)
            found.setdefault(row["case"], []).append(one)
    except (TypeError, ValueError) as error:
        raise DataError(f"{path} holds a value that is no number: {error}") from error
    return found


def _read_rows(path: Path) -> list[dict[str, str]]:
    """Read the rows of a table, which has none if no box was found."""
    rows, heads = read_table(path)
    if lacking := [head for head in HEADS if head not in heads]:
        raise DataError(f"{path} is no table of boxes; it has no column {lacking[0]!r}")
    return rows


def _cases_beside(table: Path) -> list[str]:
    lines = table.with_name(LINES)
    if not lines.is_file():
        return []
    try:
        names = [json.loads(line)["case"] for line in lines.read_text("utf-8").splitlines()]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{lines} cannot be read, line by line, as JSON: {error}") from error
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise DataError(f"{lines} names {twice[0]!r} {names.count(twice[0])} times; keep one run")
    return names


def _rounded(values: NDArray[np.float64]) -> list[float]:
    return [round(float(value), 4) for value in values]
