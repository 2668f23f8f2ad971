"""A bundle's preprocessing, fed from memory: an image is read once, whatever its format."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, LoadImage, LoadImaged
from numpy.typing import NDArray
from torch import Tensor

from volseg.data.channels import CHANNELS, MISSING
from volseg.data.geometry import Grid
from volseg.data.loading import Pipeline
from volseg.data.source import Reading
from volseg.data.volumes import require_same_grid
from volseg.errors import BundleError, DataError

KEY = "image"

Preprocessing = Callable[[dict[str, Any]], Mapping[str, Any]]
"""From ``{"image": path}`` to ``{"image": MetaTensor (C, X, Y, Z)}``."""


@dataclass(frozen=True)
class Prepared:
    """An image as the network takes it.

    Args:
        image: ``(C, X, Y, Z)``.
        grid: Where its voxels lie.
        native: Where the voxels of the image's file lie.
        channels: Which of the network's channels the image has; empty if they have no
            places of their own.
        missing: Those that it lacks, for which zeros stand.
    """

    image: Tensor
    grid: Grid
    native: Grid
    channels: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()

    @property
    def findings(self) -> dict[str, Any]:
        """Say which channels are used, as plain values."""
        return {"channels": list(self.channels)} if self.channels else {}

    @property
    def notes(self) -> list[str]:
        """Say what is missing."""
        if not self.missing:
            return []
        return [f"has {', '.join(self.channels)}; zeros stand for {', '.join(self.missing)}"]


@dataclass(frozen=True)
class Loaded:
    """A case in memory, ready for the network.

    Args:
        readings: The image, or one for each channel.
        prepared: What the network takes.
    """

    readings: tuple[Reading, ...]
    prepared: Prepared


def without_loading(preprocessing: Preprocessing) -> Preprocessing:
    """Give the steps of a preprocessing that follow the reading of the file.

    Args:
        preprocessing: A `Compose` that begins with `LoadImaged`.

    Returns:
        The rest, from a `MetaTensor` on.

    Raises:
        BundleError: If it does not begin so.
    """
    steps = list(preprocessing.transforms) if isinstance(preprocessing, Compose) else []
    if not steps or not isinstance(steps[0], (LoadImaged, LoadImage)):
        raise BundleError(
            "the bundle's preprocessing does not begin with LoadImaged, so that volseg cannot read"
            " the files for it; put LoadImaged first"
        )
    return Pipeline(steps[1:])


def prepare(preprocessing: Preprocessing, readings: Sequence[Reading]) -> Prepared:
    """Bring an image to the network's grid.

    Args:
        preprocessing: From a `MetaTensor` on, as `without_loading` gives it.
        readings: The image, or one for each channel, in the network's order, on one grid.

    Returns:
        The image and both grids.

    Raises:
        DataError: If the preprocessing gives anything but a volume with channels.
    """
    first = readings[0]
    for other in readings[1:]:
        require_same_grid(_named(first), _named(other))
    image = preprocessing({KEY: _as_metatensor(readings)})[KEY]
    if image.ndim != 4:
        raise DataError(f"preprocessing gave {tuple(image.shape)}; it must give (C, X, Y, Z)")
    affine = np.asarray(image.affine.cpu(), dtype=np.float64)
    native = Grid(tuple(first.values.shape), first.affine)
    grid = Grid(tuple(image.shape[1:]), affine)
    is_placed = MISSING in image.meta
    names = [tuple(image.meta[key]) if is_placed else () for key in (CHANNELS, MISSING)]
    return Prepared(image.as_subclass(Tensor), grid, native, *names)


def _named(reading: Reading) -> tuple[str, tuple[int, ...], NDArray[np.float64]]:
    return str(reading.files[0]), tuple(reading.values.shape), reading.affine


def _as_metatensor(readings: Sequence[Reading]) -> MetaTensor:
    """Give what MONAI's `LoadImage` would have given."""
    volumes = [np.ascontiguousarray(reading.values, dtype=np.float32) for reading in readings]
    values = volumes[0] if len(volumes) == 1 else np.stack(volumes)
    meta: dict[str, Any] = {
        "filename_or_obj": str(readings[0].files[0]),
        "original_channel_dim": float("nan") if len(volumes) == 1 else 0,
        "original_affine": readings[0].affine,
        "spatial_shape": np.asarray(volumes[0].shape),
        "space": "RAS",
    }
    channels = [reading.source.channel for reading in readings]
    if all(channels):
        meta[CHANNELS] = channels
    affine = torch.from_numpy(np.array(readings[0].affine, dtype=np.float64))
    return MetaTensor(torch.from_numpy(values), affine=affine, meta=meta)
