"""What is described by one vector, and its label."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from volseg.data.case import Case
from volseg.data.volumes import read_grid, read_volume
from volseg.errors import DataError
from volseg.evaluation.pairs import read_labels

UNITS = ("volume", "patch", "region")

LEAST_VOXELS = 8
"""Smaller regions are left out."""

Position = tuple[float, float, float]


@dataclass(frozen=True)
class Sample:
    """What is described by one vector.

    Args:
        case: The case that it is of.
        label: What it is to be told from others by.
        centre: Of a patch, in mm of the scanner's world (RAS); `None`: no patch.
        values: Label values whose voxels make a region; `None`: no region.
        number: Which of several of one case.
    """

    case: Case
    label: str
    centre: Position | None = None
    values: tuple[int, ...] | None = None
    number: int = 0

    @property
    def group(self) -> str:
        """Give whom it is of; samples of one group never part."""
        return self.case.group or self.case.name

    @property
    def name(self) -> str:
        """Name it."""
        kind = "" if self.centre is None and self.values is None else f"#{self.number}"
        return f"{self.case.name}{kind}"


def volume_samples(cases: Sequence[Case], labels: Mapping[str, str]) -> list[Sample]:
    """Take each labelled volume as a whole.

    Args:
        cases: The cases.
        labels: Label of each case, by name; others are left out.

    Returns:
        One sample a case.
    """
    return [Sample(case, labels[case.name]) for case in cases if case.name in labels]


def region_samples(
    case: Case, classes: Mapping[int, str] | None, label: str | None = None
) -> list[Sample]:
    """Take the regions of a case's mask.

    Args:
        case: The case; it has a mask.
        classes: Name of each label value; `None`: their numbers.
        label: Label of all that is not background as one region; `None`: each label value is a
            region, and its name the label.

    Returns:
        The regions that have voxels enough.
    """
    labels, _ = _read_mask(case)
    values = [int(value) for value in np.unique(labels) if value != 0]
    if label is not None:
        is_there = np.count_nonzero(labels) >= LEAST_VOXELS
        return [Sample(case, label, values=tuple(values))] if is_there else []
    return [
        Sample(case, _name(value, classes), values=(value,), number=number)
        for number, value in enumerate(values)
        if np.count_nonzero(labels == value) >= LEAST_VOXELS
    ]


def patch_samples(
    case: Case,
    classes: Mapping[int, str] | None,
    label: str | None,
    count: int,
    seed: int,
    *,
    has_background: bool = False,
) -> list[Sample]:
    """Draw patches of a case.

    Args:
        case: The case.
        classes: Name of each label value; `None`: their numbers.
        label: Label of every patch, whose centre is anywhere in the volume; `None`: a patch has the
            label of its centre, and as many are drawn of each class that is not background.
        count: Patches of a volume, or of each of its classes.
        seed: Of the draw; the case's name matters too.
        has_background: Whether background is a class, too: its patches lie around voxels that are
            brighter than the mean of the image, so that they show something.

    Returns:
        The patches.

    Raises:
        DataError: If there is no mask where one is needed, or image and mask differ in shape.
    """
    random = np.random.default_rng([seed, *case.name.encode()])
    if label is not None:
        _, shape, affine = read_grid(case.images[0])
        places = random.uniform(0.2, 0.8, (count, 3)) * (np.array(shape[:3]) - 1)
        return [
            Sample(case, label, _to_world(place, affine), number=number)
            for number, place in enumerate(places)
        ]
    labels, affine = _read_mask(case)
    samples: list[Sample] = []
    for value in np.unique(labels[labels > 0]).tolist():
        voxels = np.argwhere(labels == value)
        for voxel in random.permutation(voxels)[:count]:
            centre, number = _to_world(voxel, affine), len(samples)
            samples.append(Sample(case, _name(value, classes), centre, number=number))
    if has_background:
        image, _, _ = read_volume(case.images[0])
        if image.shape != labels.shape:
            raise DataError(f"{case.name} has an image of {image.shape}, its mask {labels.shape}")
        places = np.flatnonzero((labels == 0) & (image > image.mean()))
        for place in random.choice(places, min(count, len(places)), replace=False):
            voxel = np.array(np.unravel_index(place, labels.shape))
            centre, number = _to_world(voxel, affine), len(samples)
            samples.append(Sample(case, _name(0, classes), centre, number=number))
    return samples


def _read_mask(case: Case) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    if case.label is None:
        raise DataError(f"{case.name} has no mask; regions and patches by class need one")
    return read_labels(case.label)


def _name(value: int, classes: Mapping[int, str] | None) -> str:
    return str(value) if classes is None else classes.get(value, str(value))


def _to_world(voxel: NDArray[np.generic], affine: NDArray[np.float64]) -> Position:
    x, y, z = (np.asarray(affine) @ [*voxel, 1.0])[:3].tolist()
    return x, y, z
