"""The pipelines that every bundle shares: preprocessing, augmentation, postprocessing."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.transforms import (
    Activationsd,
    AsDiscreted,
    CastToTyped,
    Compose,
    EnsureChannelFirstd,
    EnsureTyped,
    Invertd,
    LoadImaged,
    Orientationd,
    RandAdjustContrastd,
    RandAffined,
    RandFlipd,
    RandGaussianNoised,
    RandScaleIntensityd,
    RandShiftIntensityd,
    RandSpatialCropd,
    SaveImaged,
    SpatialPadd,
)

from volseg.data.channels import PlaceChannelsd
from volseg.data.labels import MapLabelsd, RequireClassesd, RoundLabeld
from volseg.data.loading import Pipeline, RequireSameGridd
from volseg.data.spacing import IsolatedSpacingd
from volseg.transforms.channel_dropout import RandDropChannelsd, blank_channels
from volseg.transforms.crops import RandBalancedCropd, as_plain
from volseg.transforms.intensity import NormalizeForegroundd, ReplaceNonFinited

LABEL = "label"


def preprocessing(
    keys: Sequence[str] = ("image",),
    spacing: Sequence[float] | None = None,
    normalizer: Callable[[Any], Any] | None = None,
    axcodes: str = "RAS",
    channels: Sequence[str] = (),
    label_map: Mapping[str, int] | None = None,
) -> Compose:
    """Build what brings a file to the network: read, reorient, resample, normalise.

    Voxels that are not finite are replaced before resampling could spread them, and labels are
    rounded, never cut off. What cannot be used is refused with an error that names the file.

    Args:
        keys: ``image``, and ``label`` for training; a case holds their paths.
        spacing: Voxel edge along each axis, in mm; `None` keeps each volume's own.
        normalizer: Normalises the images' intensities; `None`: z-score over the foreground.
        axcodes: Where the axes point, as in ``RAS``.
        channels: What the network takes, if it takes several and a case may lack some: they are
            put into this order, with zeros for those that are missing.
        label_map: Class of each label value of the data set; `None`: values are classes.

    Returns:
        The transform; images become float32 ``(C, X, Y, Z)`` and remember their affine, labels are
        16-bit whole numbers.
    """
    images = [key for key in keys if key != LABEL]
    labels = [key for key in keys if key == LABEL]
    mode = ["nearest" if key == LABEL else "bilinear" for key in keys]
    resample = (
        []
        if spacing is None
        else [IsolatedSpacingd(keys, tuple(spacing), mode=mode, dtype=np.float32)]
    )
    steps: list[Any] = [
        LoadImaged(keys=keys, image_only=True),
        EnsureChannelFirstd(keys=keys),
        *[RequireSameGridd(images[0], key) for key in labels],
        *[RoundLabeld(key) for key in labels],
        ReplaceNonFinited(images),
        Orientationd(keys=keys, axcodes=axcodes, labels=None),
        *resample,
        normalizer or NormalizeForegroundd(keys=images),
        EnsureTyped(keys=images, dtype=torch.float32),
        *([PlaceChannelsd(images, channels)] if len(channels) > 1 else []),
        *[RoundLabeld(key) for key in labels],
        *([MapLabelsd(labels, label_map)] if labels and label_map is not None else []),
    ]
    return Pipeline(steps)


def augmentation(
    patch_size: Sequence[int],
    flip_axes: Sequence[int] = (),
    num_classes: int | None = None,
    *,
    rotation: float = 15.0,
    scale: float = 0.15,
    intensity: float = 0.3,
    drop_channels: float | None = None,
    class_weights: Sequence[float] | None = None,
) -> Compose:
    """Build the random transform from a preprocessed case to a training crop.

    Crops are balanced over the classes of a case; a volume that is smaller than the crop is padded
    with its own border. Flips are a property of the label set, so there are none by default:
    flipping a hippocampus would exchange what the network must tell apart.

    Args:
        patch_size: Voxels of the crop along each axis.
        flip_axes: Axes that may be flipped.
        num_classes: Classes, background included; a label beyond them is refused. `None`: any.
        rotation: Largest angle about each axis, in degrees.
        scale: Largest relative change of size along each axis.
        intensity: Largest change of brightness and contrast, in standard deviations.
        drop_channels: Probability that a random set of channels is lost; `None`: there is one
            channel. The channels then change brightness each for itself.
        class_weights: How often a crop is drawn around each class, background first; `None`: the
            background never, all others alike.

    Returns:
        The transform, with ``set_random_state``.
    """
    keys = ["image", LABEL]
    angle = rotation * torch.pi / 180
    classes = [] if num_classes is None else [RequireClassesd(LABEL, num_classes)]
    is_dropped = drop_channels is not None
    return Pipeline(
        [
            *classes,
            as_plain,
            SpatialPadd(keys=keys, spatial_size=tuple(patch_size), mode=["edge", "constant"]),
            RandBalancedCropd(keys, patch_size, weights=class_weights),
            *([] if drop_channels is None else [RandDropChannelsd("image", drop_channels)]),
            *[RandFlipd(keys=keys, prob=0.5, spatial_axis=axis) for axis in flip_axes],
            RandAffined(
                keys=keys,
                prob=0.7,
                rotate_range=(angle,) * 3,
                scale_range=(scale,) * 3,
                mode=["bilinear", "nearest"],
                padding_mode="border",
            ),
            *intensity_changes(intensity, channel_wise=is_dropped),
            *([blank_channels] if is_dropped else []),
            EnsureTyped(keys=keys, dtype=torch.float32, track_meta=False),
        ]
    )


def intensity_changes(amount: float, *, channel_wise: bool = False) -> list[Any]:
    """Build the random changes of brightness, contrast and noise.

    Args:
        amount: Largest change of brightness and contrast, in standard deviations.
        channel_wise: Whether channels change each for itself.

    Returns:
        Transforms of ``image``.
    """
    keys = ["image"]
    return [
        RandScaleIntensityd(keys=keys, factors=amount, prob=0.3, channel_wise=channel_wise),
        RandShiftIntensityd(keys=keys, offsets=amount, prob=0.3, channel_wise=channel_wise),
        RandAdjustContrastd(keys=keys, prob=0.3, gamma=(0.7, 1.5)),
        RandGaussianNoised(keys=keys, prob=0.2, std=0.2),
    ]


def image_augmentation(
    patch_size: Sequence[int],
    flip_axes: Sequence[int] = (),
    *,
    rotation: float = 15.0,
    scale: float = 0.15,
    intensity: float = 0.3,
) -> Compose:
    """Build the random transform from a preprocessed case to a crop that is classified.

    Args:
        patch_size: Voxels of the crop along each axis; a smaller volume is padded with its border.
        flip_axes: Axes that may be flipped: those whose flip changes no class.
        rotation: Largest angle about each axis, in degrees.
        scale: Largest relative change of size along each axis; 0 where size makes the class.
        intensity: Largest change of brightness and contrast, in standard deviations.

    Returns:
        The transform, with ``set_random_state``; ``label`` is left as it is.
    """
    keys = ["image"]
    return Pipeline(
        [
            _with_number,
            SpatialPadd(keys=keys, spatial_size=tuple(patch_size), mode="edge"),
            RandSpatialCropd(keys=keys, roi_size=tuple(patch_size), random_size=False),
            *[RandFlipd(keys=keys, prob=0.5, spatial_axis=axis) for axis in flip_axes],
            RandAffined(
                keys=keys,
                prob=0.7,
                rotate_range=(rotation * torch.pi / 180,) * 3,
                scale_range=(scale,) * 3,
                mode="bilinear",
                padding_mode="border",
            ),
            *intensity_changes(intensity),
            EnsureTyped(keys=keys, dtype=torch.float32, track_meta=False),
        ]
    )


def _with_number(data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
    """Turn a case with a class into plain tensors."""
    return as_plain({**data, LABEL: torch.as_tensor(data[LABEL])})


def postprocessing(
    transform: Compose,
    output_dir: str | Path | None = None,
    data_root: str | Path | None = None,
    *,
    writes: bool = True,
) -> Compose:
    """Build what brings logits back to a label map on the image's own grid.

    Args:
        transform: The preprocessing of the same run, whose geometry is undone.
        output_dir: Where label maps are written.
        data_root: The images' folder, or the file that lists them, whose tree is mirrored in
            ``output_dir``; without it images of equal name in different folders would overwrite
            each other.
        writes: Whether to write at all; MONAI Label writes by itself.

    Returns:
        The transform of ``pred``, ``(K, X, Y, Z)``, to ``(1, X, Y, Z)``, uint8.
    """
    steps: list[Any] = [
        Activationsd(keys="pred", softmax=True),
        Invertd(keys="pred", transform=transform, orig_keys="image", nearest_interp=False),
        AsDiscreted(keys="pred", argmax=True),
        CastToTyped(keys="pred", dtype=torch.uint8),
    ]
    if writes and output_dir is not None:
        steps.append(
            SaveImaged(
                keys="pred",
                output_dir=str(output_dir),
                output_postfix="",
                output_dtype="uint8",
                resample=False,
                separate_folder=False,
                data_root_dir="" if data_root is None else str(_folder(Path(data_root))),
                print_log=False,
            )
        )
    return Compose(steps)


def _folder(source: Path) -> Path:
    """Give the folder of a source that is a file, judged by its name alone."""
    return source.parent if source.suffix in (".nii", ".gz", ".json", ".csv") else source
