"""What the report knows of one case, and the pictures of it."""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from volseg.errors import DataError
from volseg.networks.storage import write_atomically

Status = Literal["done", "failed", "skipped"]


@dataclass(frozen=True)
class Plane:
    """One slice, seen as radiologists see it, and the mask to lay upon it.

    Args:
        name: ``axial``, ``coronal`` or ``sagittal``.
        place: Where the slice lies along its normal, such as ``S 12 mm``.
        width: Pixels across.
        height: Pixels down.
        image: The slice, a WebP file.
        mask: Tint and outline of each class, a WebP file with transparency.
    """

    name: str
    place: str
    width: int
    height: int
    image: bytes
    mask: bytes


@dataclass(frozen=True)
class ShownClass:
    """A class that the case holds.

    Args:
        value: Its value in the labels for the viewer.
        name: Its name.
        colour: Its colour, ``#rrggbb``.
    """

    value: int
    name: str
    colour: str


@dataclass(frozen=True)
class CasePicture:
    """Slices of a case, and small copies of image and labels for the viewer.

    Args:
        planes: The axial, the coronal and the sagittal slice.
        classes: The classes that the labels hold.
        focus: Where the slices meet, in mm to the right, the front and the top.
        edges: Edges of the viewer's voxels, in mm.
        image: The downsampled image, a gzipped NIfTI file.
        labels: The downsampled labels, a gzipped NIfTI file on the same grid.
    """

    planes: tuple[Plane, ...]
    classes: tuple[ShownClass, ...]
    focus: tuple[float, float, float]
    edges: tuple[float, float, float]
    image: bytes
    labels: bytes


@dataclass(frozen=True)
class ReportCase:
    """A row of the report.

    Args:
        name: Name of the case; any text.
        source: The image.
        target: The mask, if there is one.
        status: ``done``, ``failed`` or ``skipped``.
        reason: Why it failed or was skipped.
        seconds: Time that it took.
        volumes_ml: Volume of each class, in mL.
        flags: What is suspicious about it.
        picture: Its pictures, if they were made.
    """

    name: str
    source: str
    target: str | None = None
    status: Status = "done"
    reason: str | None = None
    seconds: float = 0.0
    volumes_ml: Mapping[str, float] = field(default_factory=dict)
    flags: Sequence[str] = ()
    picture: CasePicture | None = None


def save_picture(picture: CasePicture, path: Path) -> None:
    """Keep a case's pictures, so that a run that is continued need not make them again.

    Args:
        picture: The pictures.
        path: The JSON file.
    """
    text = json.dumps(asdict(picture), default=lambda content: base64.b64encode(content).decode())
    write_atomically(path, text.encode())


def load_picture(path: Path) -> CasePicture:
    """Read what `save_picture` has written.

    Args:
        path: The JSON file.

    Returns:
        The pictures.

    Raises:
        DataError: If the file holds no pictures.
    """
    try:
        read: dict[str, Any] = json.loads(path.read_bytes())
        planes = tuple(
            Plane(**{**plane, "image": _bytes(plane["image"]), "mask": _bytes(plane["mask"])})
            for plane in read.pop("planes")
        )
        return CasePicture(
            planes=planes,
            classes=tuple(ShownClass(**shown) for shown in read["classes"]),
            focus=tuple(read["focus"]),
            edges=tuple(read["edges"]),
            image=_bytes(read["image"]),
            labels=_bytes(read["labels"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path}: holds no pictures of a case ({error}); delete it to have them made again"
        ) from error


def _bytes(text: str) -> bytes:
    return base64.b64decode(text, validate=True)
