"""How well one label map agrees with another, class by class.

Dice counts voxels. HD95 is the larger of the two 95th percentiles of the distances between the
surfaces (Hausdorff distance without its worst twentieth). Surface Dice (Nikolov et al. 2018,
https://arxiv.org/abs/1809.04430) is the fraction of both surfaces that lies within a tolerance of
the other; the surfaces are weighted by their area in mm², so that thick slices count rightly. The
numbers come from MONAI's functions; what happens to an empty mask is decided here:

- Neither map has the class: there is nothing to measure, the score is `nan`, and means leave it
  out.
- One map has it and the other does not: the worst case. Dice and surface Dice are 0, HD95 is the
  diagonal of the image. MONAI gives `nan` for some of these, and a missed tumour would vanish from
  the mean.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import nan

import numpy as np
import torch
from monai.metrics import compute_dice, compute_hausdorff_distance, compute_surface_dice
from numpy.typing import NDArray
from torch import Tensor

from volseg.errors import GeometryError
from volseg.types import Spacing

TOLERANCE = 1.0
"""Default tolerance of surface Dice, in mm."""


@dataclass(frozen=True)
class Score:
    """The three metrics of one class in one case; `nan` where neither map has the class.

    Args:
        dice: Dice overlap, 0 to 1.
        hausdorff95: 95th percentile Hausdorff distance, in mm.
        surface_dice: Fraction of the surfaces within the tolerance, 0 to 1.
    """

    dice: float = nan
    hausdorff95: float = nan
    surface_dice: float = nan


def dice(prediction: Tensor, reference: Tensor) -> float:
    """Measure the overlap of two masks.

    Args:
        prediction: Boolean mask, ``(D, H, W)``.
        reference: Boolean mask of the same shape.

    Returns:
        Twice the common voxels over the sum of both, 0 to 1; `nan` if both are empty.

    Examples:
        >>> mask = torch.tensor([[[True, True, False]]])
        >>> dice(mask, mask.roll(1))
        0.5
    """
    if _is_one_empty(prediction, reference):
        return 0.0 if prediction.any() or reference.any() else nan
    score: Tensor = compute_dice(_batch(prediction), _batch(reference))
    return score.item()


def hausdorff95(prediction: Tensor, reference: Tensor, spacing: Spacing) -> float:
    """Measure the distance that 95 % of both surfaces do not exceed.

    Args:
        prediction: Boolean mask, ``(D, H, W)``.
        reference: Boolean mask of the same shape.
        spacing: Voxel edge along each axis, in mm.

    Returns:
        Distance in mm; the diagonal of the image if one mask is empty, `nan` if both are.

    Examples:
        >>> mask = torch.zeros(1, 1, 9, dtype=torch.bool)
        >>> mask[..., 0] = True
        >>> hausdorff95(mask, mask.roll(3), (1, 1, 2.5))
        7.5
    """
    if _is_one_empty(prediction, reference):
        diagonal = float(np.linalg.norm(np.multiply(prediction.shape, spacing)))
        return diagonal if prediction.any() or reference.any() else nan
    score = compute_hausdorff_distance(
        _batch(prediction),
        _batch(reference),
        include_background=True,
        percentile=95,
        spacing=[float(edge) for edge in spacing],
    )
    return score.item()


def surface_dice(
    prediction: Tensor, reference: Tensor, spacing: Spacing, tolerance: float = TOLERANCE
) -> float:
    """Measure which fraction of both surfaces lies within a tolerance of the other.

    Args:
        prediction: Boolean mask, ``(D, H, W)``.
        reference: Boolean mask of the same shape.
        spacing: Voxel edge along each axis, in mm.
        tolerance: Largest distance that still counts as right, in mm.

    Returns:
        Fraction of the area of both surfaces, 0 to 1; `nan` if both masks are empty.

    Examples:
        >>> mask = torch.ones(2, 2, 2, dtype=torch.bool)
        >>> surface_dice(mask, mask, (1, 1, 1))
        1.0
    """
    if _is_one_empty(prediction, reference):
        return 0.0 if prediction.any() or reference.any() else nan
    score = compute_surface_dice(
        _batch(prediction),
        _batch(reference),
        class_thresholds=[tolerance],
        include_background=True,
        spacing=[float(edge) for edge in spacing],
        use_subvoxels=True,
    )
    return score.item()


def score_classes(
    prediction: NDArray[np.integer],
    reference: NDArray[np.integer],
    spacing: Spacing,
    classes: Mapping[int, str],
    tolerance: float = TOLERANCE,
) -> dict[str, Score]:
    """Score every class of one case.

    Args:
        prediction: Label map, ``(D, H, W)``.
        reference: Label map on the same grid.
        spacing: Voxel edge along each axis, in mm.
        classes: Name of each label value to score; the background, 0, is left out.
        tolerance: Tolerance of surface Dice, in mm.

    Returns:
        Score of each class, by name.

    Raises:
        GeometryError: If the shapes differ.
    """
    if prediction.shape != reference.shape:
        raise GeometryError(
            f"prediction has shape {prediction.shape} and reference {reference.shape};"
            " bring both to one grid"
        )
    scores = {}
    for value, name in classes.items():
        if value == 0:
            continue
        scores[name] = score_mask(prediction == value, reference == value, spacing, tolerance)
    return scores


def score_mask(
    prediction: NDArray[np.bool_],
    reference: NDArray[np.bool_],
    spacing: Spacing,
    tolerance: float = TOLERANCE,
) -> Score:
    """Score one mask.

    Args:
        prediction: Boolean mask, ``(D, H, W)``.
        reference: Boolean mask of the same shape.
        spacing: Voxel edge along each axis, in mm.
        tolerance: Tolerance of surface Dice, in mm.

    Returns:
        The three metrics.
    """
    mask, truth = torch.from_numpy(prediction), torch.from_numpy(reference)
    return Score(
        dice=dice(mask, truth),
        hausdorff95=hausdorff95(mask, truth, spacing),
        surface_dice=surface_dice(mask, truth, spacing, tolerance),
    )


def _is_one_empty(prediction: Tensor, reference: Tensor) -> bool:
    return not (prediction.any() and reference.any())


def _batch(mask: Tensor) -> Tensor:
    """Add the batch and class axes that MONAI wants."""
    return mask[None, None]
