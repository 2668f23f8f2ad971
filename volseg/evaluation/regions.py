"""Regions that overlap, computed from classes that do not.

The BraTS challenges score the whole tumour, its core and its enhancing part, each of which holds
the next (Baid et al. 2021, https://arxiv.org/abs/2107.02314). A network gives one class a voxel; a
region is the union of some of them.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from volseg.errors import DataError
from volseg.evaluation.metrics import TOLERANCE, Score, score_mask
from volseg.types import Spacing


@dataclass(frozen=True)
class Regions:
    """What is scored beside the classes, and how the values of references are read.

    Args:
        values: Label values of each region, by name.
        relabel: New value of each label value of a reference that means another class there, such
            as the 4 of enhancing tumour in BraTS 2021; values that it does not name stay.

    Raises:
        DataError: If a region is empty or holds the background.
    """

    values: Mapping[str, Collection[int]] = field(default_factory=dict)
    relabel: Mapping[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse regions that mean nothing."""
        for name, values in self.values.items():
            if not values or min(values) < 1:
                raise DataError(f"region {name} is {sorted(values)}; give label values from 1")

    def require_known(self, classes: Mapping[int, str]) -> None:
        """Refuse a region of values that are no class, or that is called like one.

        Args:
            classes: Name of each label value.

        Raises:
            DataError: If there is one.
        """
        for name, values in self.values.items():
            unknown = sorted(set(values) - set(classes))
            if unknown or name in classes.values():
                wrong = f"holds {unknown[0]}" if unknown else "is the name of a class too"
                known = ", ".join(f"{value} ({own})" for value, own in classes.items())
                raise DataError(f"region {name} {wrong}; the classes are {known}")

    def read(self, labels: NDArray[np.int64]) -> NDArray[np.int64]:
        """Give the labels of a reference their values here.

        Args:
            labels: Label map.

        Returns:
            The same label map in other values.

        Examples:
            >>> Regions(relabel={4: 3, 3: 1}).read(np.array([2, 3, 4])).tolist()
            [2, 1, 3]
        """
        result = labels.copy()
        for value, new in self.relabel.items():
            result[labels == value] = new
        return result

    def score(
        self,
        prediction: NDArray[np.integer],
        reference: NDArray[np.integer],
        spacing: Spacing,
        tolerance: float = TOLERANCE,
    ) -> dict[str, Score]:
        """Score every region of one case.

        Args:
            prediction: Label map, ``(D, H, W)``.
            reference: Label map on the same grid.
            spacing: Voxel edge along each axis, in mm.
            tolerance: Tolerance of surface Dice, in mm.

        Returns:
            Score of each region, by name.
        """
        scores = {}
        for name, values in self.values.items():
            masks = [np.isin(labels, list(values)) for labels in (prediction, reference)]
            scores[name] = score_mask(masks[0], masks[1], spacing, tolerance)
        return scores


def parse_region(text: str) -> tuple[str, list[int]]:
    """Read a region as it is written on the command line.

    Args:
        text: ``NAME=VALUE,VALUE``.

    Returns:
        Name and label values.

    Raises:
        ValueError: If it is not written so.

    Examples:
        >>> parse_region("WT=1,2,3")
        ('WT', [1, 2, 3])
    """
    name, equals, values = text.partition("=")
    numbers = values.split(",")
    if not name or not equals or not all(number.strip().isdigit() for number in numbers):
        raise ValueError(f"{text!r} is no region; write NAME=VALUE,VALUE such as WT=1,2,3")
    return name, [int(number) for number in numbers]


def parse_relabel(text: str) -> tuple[int, int]:
    """Read a change of a label value as it is written on the command line.

    Args:
        text: ``OLD=NEW``.

    Returns:
        Old and new value.

    Raises:
        ValueError: If it is not written so.

    Examples:
        >>> parse_relabel("4=3")
        (4, 3)
    """
    old, _, new = text.partition("=")
    if not (old.strip().isdigit() and new.strip().isdigit()):
        raise ValueError(f"{text!r} is no change of a label value; write OLD=NEW such as 4=3")
    return int(old), int(new)
