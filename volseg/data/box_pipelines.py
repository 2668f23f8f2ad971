"""The pipelines of bundles that detect: lesions as boxes, and random crops with boxes."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import torch
from monai.transforms import Compose, EnsureTyped, SpatialPadd

from volseg.data.loading import Pipeline
from volseg.data.pipelines import LABEL, intensity_changes, preprocessing
from volseg.transforms.box_crops import PadBoxesd, RandBoxCropd, RandFlipBoxesd
from volseg.transforms.boxes import BOXES, CLASSES, LesionBoxesd
from volseg.transforms.crops import as_plain


def box_preprocessing(
    spacing: Sequence[float] | None = None,
    normalizer: Callable[[Any], Any] | None = None,
    label_map: Mapping[str, int] | None = None,
    num_classes: int = 2,
    least_ml: float = 0.0,
) -> Compose:
    """Build what brings an image and its label map to the network as an image with boxes.

    Args:
        spacing: Voxel edge along each axis, in mm; `None` keeps each volume's own.
        normalizer: As for `volseg.data.pipelines.preprocessing`.
        label_map: Class of each label value of the data set; `None`: values are classes.
        num_classes: Classes, background included.
        least_ml: Smaller lesions are left out, in mL, on the resampled grid.

    Returns:
        The transform of ``{"image": path, "label": path}`` to ``image``, float32 ``(C, X, Y, Z)``,
        ``boxes``, ``(N, 6)``, and ``classes`` from 0, ``(N,)``.
    """
    before = preprocessing(("image", LABEL), spacing, normalizer, label_map=label_map)
    return Pipeline([*before.transforms, LesionBoxesd(LABEL, num_classes, least_ml)])


def box_augmentation(
    patch_size: Sequence[int],
    flip_axes: Sequence[int] = (),
    *,
    anywhere: float = 1 / 3,
    least_share: float = 0.3,
    intensity: float = 0.3,
    most_boxes: int = 64,
) -> Compose:
    """Build the random transform from a case with boxes to a training crop.

    Nothing is turned or bent, since a box would no longer fit its lesion.

    Args:
        patch_size: Voxels of the crop along each axis; a smaller volume is padded with its border.
        flip_axes: Axes that may be flipped.
        anywhere: Probability of a crop anywhere, regardless of lesions.
        least_share: A box of which less lies in the crop counts as background.
        intensity: Largest change of brightness and contrast, in standard deviations.
        most_boxes: Room for the boxes of a crop.

    Returns:
        The transform, with ``set_random_state``; ``boxes`` is padded, ``classes`` with -1.
    """
    keys = ["image"]
    return Pipeline(
        [
            as_plain,
            _pad_behind(patch_size),
            RandBoxCropd(keys, patch_size, anywhere, least_share),
            *([RandFlipBoxesd(keys, flip_axes)] if flip_axes else []),
            *intensity_changes(intensity),
            PadBoxesd(most_boxes),
            EnsureTyped(keys=[*keys, BOXES], dtype=torch.float32, track_meta=False),
            EnsureTyped(keys=CLASSES, dtype=torch.int64, track_meta=False),
        ]
    )


def _pad_behind(patch_size: Sequence[int]) -> Callable[[Mapping[Hashable, Any]], Any]:
    """Pad behind the last voxels alone, so that boxes stay where they are."""
    pad: Callable[[Mapping[Hashable, Any]], Any] = SpatialPadd(
        keys="image", spatial_size=tuple(patch_size), method="end", mode="edge"
    )
    return pad
