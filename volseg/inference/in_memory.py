"""Images in memory, of whatever library, and label maps of the same kind on the same grid.

An image is one of

- a pair of voxels and affine: an array of NumPy or a tensor, ``(X, Y, Z)`` or ``(C, X, Y, Z)``, and
  the ``(4, 4)`` matrix from voxel indices to RAS mm;
- an image of nibabel;
- an image of SimpleITK;
- a `MetaTensor` of MONAI, ``(X, Y, Z)`` or ``(C, X, Y, Z)``.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import nibabel as nib
import numpy as np
import SimpleITK as sitk  # noqa: N813 - the name that its own documentation uses
import torch
from monai.data import MetaTensor
from numpy.typing import NDArray
from torch import Tensor

from volseg.data.geometry import Grid
from volseg.data.itk_files import itk_affine
from volseg.data.listing.sequences import canonical
from volseg.data.source import Reading, Source
from volseg.data.volumes import judge_voxels
from volseg.errors import DataError

logger = logging.getLogger(__name__)

NAME = "image in memory"

KINDS = "a pair of voxels and affine, an image of nibabel or SimpleITK, or a MetaTensor"

LPS_TO_RAS = np.diag([-1.0, -1, 1, 1])


class PredictsImages(Protocol):
    """What segments an image in memory, as `volseg.Predictor` does."""

    def predict_image(self, *images: Any, channels: Sequence[str] = ()) -> Any:
        """Segment an image.

        Args:
            *images: The image, or one for each channel.
            channels: What each of them shows.

        Returns:
            Its label map, of the same kind.
        """


def is_in_memory(inputs: Any) -> bool:
    """Tell images in memory from paths.

    Args:
        inputs: What is to be segmented.

    Returns:
        Whether it is an image in memory, several channels of one by name, or a list of these.
    """
    if isinstance(inputs, (str, Path)):
        return False
    if isinstance(inputs, Mapping) or not isinstance(inputs, Sequence) or _is_pair(inputs):
        return True
    return any(not isinstance(each, (str, Path)) for each in inputs)


def segment_images(
    inputs: Any,
    predictor: PredictsImages,
    channels: Sequence[str],
    *,
    optional_channels: bool = False,
) -> Any:
    """Segment one image in memory or a list of them.

    Args:
        inputs: An image; for a network of several channels, the image of each by name; or a list.
        predictor: What segments an image.
        channels: What the network takes, in its order.
        optional_channels: Whether an image may lack some of them.

    Returns:
        The label map, of the kind of the image; of a list, a list.
    """
    if isinstance(inputs, list):
        return [
            segment_images(each, predictor, channels, optional_channels=optional_channels)
            for each in inputs
        ]
    if isinstance(inputs, Mapping):
        images = _in_order(inputs, channels, optional_channels=optional_channels)
        return predictor.predict_image(*images.values(), channels=list(images))
    return predictor.predict_image(inputs)


def readings_of(image: Any) -> tuple[Reading, ...]:
    """Take an image as if it had been read from a file; voxels are not copied if they need not be.

    Args:
        image: The image.

    Returns:
        One reading for each of its channels.

    Raises:
        DataError: If it is no volume of real numbers.
    """
    values, affine = _voxels_of(image)
    channels = values if values.ndim == 4 else values[None]
    if channels.ndim != 4 or not channels.size or channels.dtype.kind not in "iufb":
        raise DataError(
            f"array of shape {values.shape} and type {values.dtype} is no volume; give real"
            " numbers, (X, Y, Z) or (C, X, Y, Z)"
        )
    Grid(channels.shape[1:], affine).matrix()
    source = Source(NAME, (Path(NAME),), "array")
    return tuple(
        Reading(source, each, affine, source.files, tuple(judge_voxels(each))) for each in channels
    )


def with_channels(readings: Sequence[Reading], channels: Sequence[str]) -> tuple[Reading, ...]:
    """Name the channels of images.

    Args:
        readings: One for each channel.
        channels: What each of them shows.

    Returns:
        The same, with their names.

    Raises:
        DataError: If there are more or fewer names than channels.
    """
    if len(readings) != len(channels):
        raise DataError(
            f"{len(readings)} channels and {len(channels)} names ({', '.join(channels)}); give each"
            " channel one"
        )
    pairs = zip(readings, channels, strict=True)
    return tuple(replace(each, source=replace(each.source, channel=name)) for each, name in pairs)


def labels_like(labels: NDArray[Any], image: Any, warnings: Sequence[str] = ()) -> Any:
    """Give a label map as an image of the same kind as another.

    Args:
        labels: Label of each voxel, ``(X, Y, Z)``.
        image: The image.
        warnings: What is unusual; it goes to the log, since an image has no room for it.

    Returns:
        An array, a tensor on the image's device, a `MetaTensor`, or an image of nibabel or
        SimpleITK.
    """
    for warning in warnings:
        logger.warning("%s: %s", NAME, warning)
    if isinstance(image, tuple):
        values = image[0]
        return _tensor(labels).to(values.device) if isinstance(values, Tensor) else labels
    if isinstance(image, MetaTensor):
        tensor = _tensor(labels).to(image.device)
        return MetaTensor(tensor[None] if image.ndim == 4 else tensor, affine=image.affine)
    if isinstance(image, sitk.Image):
        return _itk_like(labels, image)
    return _nibabel_like(labels, image)


def _in_order(
    images: Mapping[str, Any], channels: Sequence[str], *, optional_channels: bool
) -> dict[str, Any]:
    """Bring the images of channels into the network's order and words."""
    given = {canonical(name): image for name, image in images.items()}
    wanted = {canonical(name): name for name in channels}
    is_fit = given.keys() <= wanted.keys() if optional_channels else given.keys() == wanted.keys()
    if not given or not is_fit or len(given) != len(images):
        some = "some of " if optional_channels else ""
        raise DataError(f"channels are {', '.join(images)}; give {some}{', '.join(channels)}")
    return {name: given[key] for key, name in wanted.items() if key in given}


def _is_pair(image: Any) -> bool:
    return isinstance(image, tuple) and len(image) == 2 and np.shape(image[1]) == (4, 4)


def _voxels_of(image: Any) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Give voxels, ``(X, Y, Z)`` or ``(C, X, Y, Z)``, and affine."""
    if _is_pair(image):
        return _array(image[0]), _array(image[1]).astype(np.float64)
    if isinstance(image, MetaTensor):
        affine = _array(image.affine).astype(np.float64)
        is_lps = str(image.meta.get("space", "RAS")) == "LPS"
        return _array(image.as_tensor()), LPS_TO_RAS @ affine if is_lps else affine
    if isinstance(image, sitk.Image):
        return _itk_voxels(image), itk_affine(image)
    if isinstance(image, nib.spatialimages.SpatialImage):
        return _spatial(np.asanyarray(image.dataobj)), np.asarray(image.affine, np.float64)
    raise DataError(f"{type(image).__name__} is no image; give {KINDS}")


def _spatial(values: NDArray[Any]) -> NDArray[Any]:
    """Drop axes of length 1 after the third; what a file holds as a fourth axis is time."""
    if values.ndim > 3 and set(values.shape[3:]) == {1}:
        return values.reshape(values.shape[:3])
    if values.ndim > 3:
        raise DataError(
            f"array of shape {values.shape} has a 4th axis, which is time; give one 3D volume"
        )
    return values


def _array(values: Any) -> NDArray[Any]:
    if not isinstance(values, Tensor):
        return np.asarray(values)
    plain = values.detach().cpu()
    array: NDArray[Any] = (plain.float() if plain.dtype == torch.bfloat16 else plain).numpy()
    return array


def _tensor(labels: NDArray[Any]) -> Tensor:
    return torch.from_numpy(labels if labels.dtype == np.uint8 else labels.astype(np.int32))


def _itk_voxels(image: Any) -> NDArray[Any]:
    if image.GetNumberOfComponentsPerPixel() > 1:
        raise DataError("image of SimpleITK holds colours or vectors; give real numbers")
    values: NDArray[Any] = sitk.GetArrayFromImage(image)
    return _spatial(values.T)


def _itk_like(labels: NDArray[Any], image: Any) -> Any:
    made: Any = sitk.GetImageFromArray(labels.T)
    made.SetSpacing(image.GetSpacing()[:3])
    made.SetOrigin(image.GetOrigin()[:3])
    size = image.GetDimension()
    made.SetDirection(np.reshape(image.GetDirection(), (size, size))[:3, :3].ravel().tolist())
    return made


def _nibabel_like(labels: NDArray[Any], image: Any) -> Any:
    """Keep the header's codes and units where it has them."""
    if not isinstance(image, nib.Nifti1Image):
        return nib.Nifti1Image(labels, image.affine)
    header = image.header.copy()
    header.set_data_dtype(labels.dtype)
    header.set_slope_inter(1, 0)
    header["cal_min"] = header["cal_max"] = 0
    return type(image)(labels, image.affine, header)
