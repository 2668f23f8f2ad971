"""The pipelines of a network that learns cavities from healthy heads: its data are simulated.

What is the same in every draw is done once and kept: reading, reorienting, resampling, and the maps
of the head. Then, draw by draw: a label map becomes an image of random contrast, the head is
resected, intensities are standardised over the whole volume as they will be in a real scan, and a
patch is cut, bent and shown as a scanner would.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import (
    EnsureChannelFirstd,
    LoadImaged,
    Orientationd,
    RandScaleIntensityd,
    RandShiftIntensityd,
    Transform,
)
from numpy.typing import NDArray
from torch import Tensor

from volseg.data.head_box import head_box
from volseg.data.labels import RoundLabeld
from volseg.data.loading import Pipeline, RequireSameGridd
from volseg.data.spacing import IsolatedSpacingd
from volseg.errors import DataError
from volseg.transforms.acquisition import AcquisitionRanges, RandAcquisitiond
from volseg.transforms.anatomy.from_image import anatomy_from_brain, anatomy_from_image
from volseg.transforms.anatomy.from_labels import anatomy_from_labels
from volseg.transforms.anatomy.maps import Anatomy
from volseg.transforms.atrophy import RandAtrophyd
from volseg.transforms.intensity import ReplaceNonFinited
from volseg.transforms.mirror import MIDLINE, RandMidlined, midline_of
from volseg.transforms.resection.case import RandCavityd
from volseg.transforms.resection.prior import Prior
from volseg.transforms.slab import RandSlabd
from volseg.transforms.standardize import StandardizeTissued
from volseg.transforms.synthesis import RandSynthesized
from volseg.transforms.warp import RandWarpd
from volseg.types import Size, Spacing

Case = Mapping[Hashable, Any]

FILES = ("image", "labels", "brain", "label")
"""Keys of a case that hold a path."""

INTENSITY = 0.2
"""Largest change of brightness and of contrast, in standard deviations."""


class PrepareHead(Transform):
    """Reads a case and maps its head: all that is the same in every draw.

    Args:
        spacing: Voxel edge along each axis, in mm.
        axcodes: Where the axes point, as in ``RAS``.
        scheme: What the numbers of the label maps mean, as of `anatomy_from_labels`.
        cavity_value: The value of the cavity in the labels of real ones.
    """

    def __init__(
        self,
        spacing: Sequence[float],
        axcodes: str = "RAS",
        scheme: str = "auto",
        cavity_value: int = 1,
    ) -> None:
        self.spacing = tuple(spacing)
        self.axcodes = axcodes
        self.scheme = scheme
        self.cavity_value = cavity_value

    def __call__(self, case: Case) -> dict[Hashable, Any]:
        """Read one case.

        Args:
            case: Paths, as `volseg.data.healthy.simulation_items` lists them.

        Returns:
            Plain tensors, cut to the head: ``image``, ``(1, D, H, W)``, float32, or ``labels``,
            int16; for a healthy case ``anatomy``, ``(4, D, H, W)``, uint8, and for a real cavity
            its ``label``, uint8; then ``affine``, ``midline``, the plane between its sides,
            ``contrast`` and ``draw``.

        Raises:
            DataError: If the head cannot be mapped.
        """
        loaded = self._load(case)
        first = next(iter(loaded.values()))
        affine = np.asarray(first.affine.cpu(), dtype=np.float64)
        volumes = {key: value.as_subclass(Tensor) for key, value in loaded.items()}
        shown = volumes["image"] if "image" in volumes else volumes["labels"]
        box = head_box(shown[0], tuple(np.linalg.norm(affine[:3, :3], axis=0)))
        affine[:3, 3] += affine[:3, :3] @ np.asarray([each.start for each in box])
        cut = {key: value[(slice(None), *box)].contiguous() for key, value in volumes.items()}
        kept: dict[Hashable, Any] = {"affine": affine, "draw": case.get("draw", 0)}
        kept["contrast"] = case.get("contrast", "unknown")
        if "label" in cut:
            label = (cut["label"] == self.cavity_value).to(torch.uint8)
            kept[MIDLINE] = midline_of(cut["image"][0], affine)
            return {**kept, "image": cut["image"], "label": label}
        try:
            anatomy = self._map(cut, affine)
        except DataError as error:
            source = case.get("brain") or case.get("labels") or case["image"]
            raise DataError(f"{source}: {error}") from error
        kept["anatomy"] = anatomy.stack()
        key = "image" if "image" in cut else "labels"
        shown = cut["image"][0] if "image" in cut else anatomy.tissue
        kept[MIDLINE] = midline_of(shown, affine)
        return {**kept, key: cut[key]}

    def _load(self, case: Case) -> dict[Hashable, MetaTensor]:
        keys = [key for key in FILES if key in case]
        images, masks = keys[: keys.count("image")], keys[keys.count("image") :]
        modes = ["bilinear" if key == "image" else "nearest" for key in keys]
        rounding = [RoundLabeld(masks)] if masks else []
        steps = [
            LoadImaged(keys=keys, image_only=True),
            EnsureChannelFirstd(keys=keys),
            *[RequireSameGridd(keys[0], key) for key in keys[1:]],
            *rounding,
            *([ReplaceNonFinited(images)] if images else []),
            Orientationd(keys=keys, axcodes=self.axcodes, labels=None),
            IsolatedSpacingd(keys, self.spacing, mode=modes),
            *rounding,
        ]
        loaded = Pipeline(steps)({key: case[key] for key in keys})
        for key in keys:
            if len(loaded[key]) != 1:
                raise DataError(f"{case[key]} has {len(loaded[key])} channels; use one")
        return {
            key: loaded[key].float() if key == "image" else loaded[key].to(torch.int16)
            for key in keys
        }

    def _map(self, volumes: Mapping[Hashable, Tensor], affine: NDArray[np.float64]) -> Anatomy:
        if "labels" in volumes:
            return anatomy_from_labels(volumes["labels"][0], affine, self.scheme)
        if "brain" in volumes:
            return anatomy_from_brain(volumes["image"][0], volumes["brain"][0] > 0, affine)
        return anatomy_from_image(volumes["image"][0], affine)


def augmentation(
    patch_size: Size,
    spacing: Spacing,
    normalizer: Callable[[Any], Any] | None = None,
    prior: Prior | Mapping[str, Any] | None = None,
    acquisition: AcquisitionRanges | None = None,
    *,
    focus: float = 0.7,
    slabs: float = 0.25,
    synthesis: Mapping[str, Any] | None = None,
) -> Pipeline:
    """Build the random transform from a prepared case to a training patch.

    Args:
        patch_size: Voxels of the patch along each axis.
        spacing: Voxel edge along each axis, in mm.
        normalizer: Normalises the whole image; `None`: `StandardizeTissued`.
        prior: What is resected how often; a mapping is taken as the arguments of `Prior`.
        acquisition: What scanners do how often.
        focus: Probability of a patch around a voxel of the cavity.
        slabs: Probability of a head that is cut to a slab.
        synthesis: Arguments of `RandSynthesized`, as ``shares`` of contrasts and ``lesion_share``;
            and ``atrophy_share``, how often fluid is wide, see `RandAtrophyd`; else never.

    Returns:
        The transform, with ``set_random_state``; a case becomes ``image`` and ``label``, float32.
    """
    return Pipeline(
        [
            *_synthesised(spacing, synthesis),
            RandCavityd(prior),
            RandSlabd(("image", "label"), _triple(spacing), slabs),
            RandMidlined(),
            normalizer or StandardizeTissued(["image"]),
            RandWarpd(
                ("image", "label"),
                ("bilinear", "nearest"),
                patch_size,
                _triple(spacing),
                focus=focus,
            ),
            RandAcquisitiond(["image"], _triple(spacing), acquisition),
            RandScaleIntensityd(keys=["image"], factors=INTENSITY, prob=0.5),
            RandShiftIntensityd(keys=["image"], offsets=INTENSITY, prob=0.5),
            pick,
        ]
    )


class FixedDraw(Transform):
    """A preparation that ends in one draw of a whole volume, the same each time: for validation.

    A case with a label is normalised and no more.

    Args:
        preparation: Reads a case, a `PrepareHead`.
        spacing: Voxel edge along each axis, in mm.
        normalizer: Normalises the image; `None`: `StandardizeTissued`.
        prior: What is resected how often; a mapping is taken as the arguments of `Prior`.
        acquisition: What scanners do how often.
        seed: The source of the draws, with the name of a case's file and its ``draw``.
        synthesis: Arguments of `RandSynthesized`, as in `augmentation`.
    """

    def __init__(
        self,
        preparation: Callable[[Any], Any],
        spacing: Spacing,
        normalizer: Callable[[Any], Any] | None = None,
        prior: Prior | Mapping[str, Any] | None = None,
        acquisition: AcquisitionRanges | None = None,
        seed: int = 0,
        synthesis: Mapping[str, Any] | None = None,
    ) -> None:
        self.preparation = preparation
        self.normalizer = normalizer or StandardizeTissued(["image"])
        self.seed = seed
        self.simulation = Pipeline(
            [
                *_synthesised(spacing, synthesis),
                RandCavityd(prior),
                RandAcquisitiond(["image"], _triple(spacing), acquisition),
            ]
        )

    def __call__(self, case: Case) -> dict[Hashable, Any]:
        """Prepare one case.

        Args:
            case: Paths, and ``draw``.

        Returns:
            ``image`` and ``label``, float32, ``(1, D, H, W)``.
        """
        prepared = self.preparation(case)
        if "label" not in prepared:
            simulation = deepcopy(self.simulation)
            name = str(case["labels"] if "labels" in case else case["image"])
            own = crc32(Path(name).name.encode())
            key = np.random.SeedSequence([self.seed, own, int(prepared["draw"])])
            simulation.set_random_state(seed=int(key.generate_state(1)[0]))
            prepared = simulation(prepared)
        return pick(self.normalizer(prepared))


def pick(case: Case) -> dict[Hashable, Any]:
    """Keep what a network learns from.

    Args:
        case: A case.

    Returns:
        Its ``image`` and ``label``, float32.
    """
    return {
        key: torch.as_tensor(case[key]).as_subclass(Tensor).float() for key in ("image", "label")
    }


def _synthesised(
    spacing: Sequence[float], arguments: Mapping[str, Any] | None
) -> list[RandAtrophyd | RandSynthesized]:
    given = {"spacing": _triple(spacing), "scheme": "auto", **(arguments or {})}
    share = given.pop("atrophy_share", 0.0)
    try:
        image = RandSynthesized(**given)
    except TypeError as error:
        known = "shares, lesion_share, atrophy_share or scheme"
        raise DataError(f"synthesis: {error}; use {known}") from error
    return [RandAtrophyd(share, given["scheme"]), image] if share else [image]


def _triple(values: Sequence[float]) -> Spacing:
    return float(values[0]), float(values[1]), float(values[2])
