"""The pipelines of a network that learns tumours from healthy heads: its data are simulated.

As with cavities (`volseg.data.simulation`), what is the same in every draw is done once and kept.
Then, draw by draw: a label map becomes one image for each sequence, a tumour grows in all of them
at once, and intensities are normalised over the whole volume as they will be in a real scan. Cases
of real tumours go the way of `volseg.data.pipelines.preprocessing`, and both are cropped, turned
and deprived of sequences alike.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Any
from zlib import crc32

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import (
    EnsureChannelFirstd,
    LoadImaged,
    Orientationd,
    RandomizableTransform,
    Transform,
)
from torch import Tensor

from volseg.data.case import stem
from volseg.data.channels import PlaceChannelsd
from volseg.data.head_box import head_box
from volseg.data.labels import RoundLabeld
from volseg.data.loading import Pipeline, RequireSameGridd
from volseg.data.simulation import pick
from volseg.data.spacing import IsolatedSpacingd
from volseg.transforms.acquisition import AcquisitionRanges, RandAcquisitiond
from volseg.transforms.anatomy.from_image import anatomy_from_brain, anatomy_from_image
from volseg.transforms.anatomy.from_labels import anatomy_from_labels
from volseg.transforms.anatomy.maps import Anatomy
from volseg.transforms.intensity import ReplaceNonFinited
from volseg.transforms.resection.naming import guess_contrast
from volseg.transforms.synthesis import sample_synthesis, synthesize
from volseg.transforms.tumour.case import RandTumourCased
from volseg.transforms.tumour.prior import TumourPrior
from volseg.types import Spacing

Case = Mapping[Hashable, Any]

FILES = ("image", "labels", "brain")


class PrepareTumourCase(Transform):
    """Reads a case: a real tumour as every bundle does, a healthy head with maps of its anatomy.

    Args:
        real: Prepares a case with a label, a `volseg.data.pipelines.preprocessing`.
        spacing: Voxel edge along each axis, in mm.
        scheme: What the numbers of the label maps mean, as of `anatomy_from_labels`.
        is_stripped: Whether all but the brain is taken out of healthy heads.
    """

    def __init__(
        self,
        real: Callable[[Any], Any],
        spacing: Sequence[float],
        scheme: str = "auto",
        *,
        is_stripped: bool = True,
    ) -> None:
        self.real = real
        self.spacing = tuple(spacing)
        self.scheme = scheme
        self.is_stripped = is_stripped

    def __call__(self, case: Case) -> dict[Hashable, Any]:
        """Read one case.

        Args:
            case: Paths, as `volseg.data.tumour_cases.tumour_items` lists them.

        Returns:
            For a real tumour ``image`` and ``label``. For a healthy head plain tensors, cut to what
            is seen of it: ``image``, ``(C, D, H, W)``, float32, and its ``channels``, or else
            ``labels``, int16; then ``anatomy``, ``(4, D, H, W)``, uint8, and ``affine``.
        """
        if "label" in case:
            known = ("image", "label", "channels")
            return dict(self.real({key: case[key] for key in known if key in case}))
        loaded = self._load(case)
        first = next(iter(loaded.values()))
        affine = np.asarray(first.affine.cpu(), dtype=np.float64)
        volumes = {key: value.as_subclass(Tensor) for key, value in loaded.items()}
        anatomy = self._map(volumes, affine)
        seen = anatomy.depth if self.is_stripped else next(iter(volumes.values()))[0]
        box = head_box(seen, tuple(anatomy.spacing.tolist()))
        low, high = ([each.start for each in box], [each.stop for each in box])
        cut = anatomy.crop((low[0], low[1], low[2]), (high[0], high[1], high[2]))
        key = "image" if "image" in volumes else "labels"
        volume = volumes[key][(slice(None), *box)]
        if key == "image" and self.is_stripped:
            floor = volume.flatten(1).amin(1).view(-1, 1, 1, 1)
            volume = torch.where(cut.depth > 0, volume, floor)
        kept: dict[Hashable, Any] = {key: volume.contiguous(), "anatomy": cut.stack()}
        kept["affine"] = cut.affine
        return {**kept, "channels": case["channels"]} if key == "image" else kept

    def _load(self, case: Case) -> dict[Hashable, MetaTensor]:
        keys = [key for key in FILES if key in case]
        images, masks = keys[: keys.count("image")], keys[keys.count("image") :]
        modes = ["bilinear" if key == "image" else "nearest" for key in keys]
        rounding = [RoundLabeld(masks)] if masks else []
        loaded = Pipeline(
            [
                LoadImaged(keys=keys, image_only=True),
                EnsureChannelFirstd(keys=keys),
                *[RequireSameGridd(keys[0], key) for key in keys[1:]],
                *rounding,
                *([ReplaceNonFinited(images)] if images else []),
                Orientationd(keys=keys, axcodes="RAS", labels=None),
                IsolatedSpacingd(keys, self.spacing, mode=modes),
                *rounding,
            ]
        )({key: case[key] for key in keys})
        kinds = {key: torch.float32 if key == "image" else torch.int16 for key in keys}
        return {key: loaded[key].to(kind) for key, kind in kinds.items()}

    def _map(self, volumes: Mapping[Hashable, Tensor], affine: Any) -> Anatomy:
        if "labels" in volumes:
            return anatomy_from_labels(volumes["labels"][0], affine, self.scheme)
        if "brain" in volumes:
            return anatomy_from_brain(volumes["image"][0], volumes["brain"][0] > 0, affine)
        return anatomy_from_image(volumes["image"][0], affine)


class SimulateTumour(RandomizableTransform):
    """Turns a prepared healthy head into a scan with a tumour; real tumours are left alone.

    Args:
        channels: What the network takes, in its order.
        spacing: Voxel edge along each axis, in mm.
        normalizer: Normalises the whole image.
        prior: What grows how often; a mapping is taken as the arguments of `TumourPrior`.
        acquisition: What scanners do to synthetic images how often.
        scheme: What the numbers of the label maps mean, as of `anatomy_from_labels`.
        is_stripped: Whether synthetic images show the brain alone.
    """

    def __init__(
        self,
        channels: Sequence[str],
        spacing: Sequence[float],
        normalizer: Callable[[Any], Any],
        prior: TumourPrior | Mapping[str, Any] | None = None,
        acquisition: AcquisitionRanges | None = None,
        scheme: str = "auto",
        *,
        is_stripped: bool = True,
    ) -> None:
        super().__init__(1.0)
        self.channels = tuple(channels)
        self.spacing: Spacing = (float(spacing[0]), float(spacing[1]), float(spacing[2]))
        self.normalizer = normalizer
        self.growing = RandTumourCased(prior)
        self.scanner = RandAcquisitiond(["image"], self.spacing, acquisition)
        self.scheme = scheme
        self.is_stripped = is_stripped

    def __call__(self, case: Case) -> dict[Hashable, Any]:
        """Simulate one case.

        Args:
            case: What `PrepareTumourCase` gave.

        Returns:
            ``image``, ``(C, D, H, W)``, normalised, zeros where a sequence is missing; and
            ``label``, ``(1, D, H, W)``.
        """
        if "label" in case:
            return dict(case)
        for transform in (self.growing, self.scanner):
            transform.set_random_state(seed=int(self.R.randint(2**31 - 1)))
        is_synthetic = "labels" in case
        names = self.channels if is_synthetic else case["channels"]
        image = self._synthesize(case["labels"][0]) if is_synthetic else case["image"]
        facts: dict[Hashable, Any] = {key: case[key] for key in ("anatomy", "affine")}
        grown = self.growing({**facts, "image": image, "contrast": names})
        scan: dict[Hashable, Any] = {key: grown[key] for key in ("image", "label")}
        scan = self.scanner(scan) if is_synthetic else scan
        placed = PlaceChannelsd(["image"], self.channels)(
            {**self.normalizer(scan), "channels": list(names)}
        )
        return {key: torch.as_tensor(placed[key]).as_subclass(Tensor) for key in scan}

    def _synthesize(self, labels: Tensor) -> Tensor:
        """Make one image for each channel, all of one head and without lesions of their own."""
        present, view = torch.unique(labels).tolist(), "brain" if self.is_stripped else "head"
        images = []
        for name in self.channels:
            shares = {guess_contrast(name): 1.0}
            drawn = sample_synthesis(present, self.R, shares, scheme=self.scheme, lesion_share=0.0)
            shown = replace(drawn, view=view, margins=(-1.0,) * 6)
            images.append(synthesize(labels, shown, self.spacing))
        return torch.cat(images)


def augmentation(simulation: SimulateTumour, real: Callable[[Any], Any]) -> Pipeline:
    """Build the random transform from a prepared case to a training crop.

    Args:
        simulation: Simulates tumours in healthy heads.
        real: What crops of real tumours go through, a `volseg.data.pipelines.augmentation`.

    Returns:
        The transform, with ``set_random_state``.
    """
    return Pipeline([simulation, *getattr(real, "transforms", [real])])


class FixedTumour(Transform):
    """A preparation that ends in one tumour, the same each time: for validation.

    Args:
        preparation: Reads a case, a `PrepareTumourCase`.
        simulation: Simulates tumours in healthy heads.
        seed: The source of the draws, with the name of a case's file and its ``draw``.
    """

    def __init__(
        self, preparation: Callable[[Any], Any], simulation: SimulateTumour, seed: int = 0
    ) -> None:
        self.preparation = preparation
        self.simulation = simulation
        self.seed = seed

    def __call__(self, case: Case) -> dict[Hashable, Any]:
        """Prepare one case.

        Args:
            case: Paths, and ``draw``.

        Returns:
            ``image`` and ``label``, float32.
        """
        simulation = deepcopy(self.simulation)
        name = str(case["labels"] if "labels" in case else case["image"][0])
        own = crc32(stem(name).rpartition("/")[2].encode())
        key = np.random.SeedSequence([self.seed, own, int(case.get("draw", 0))])
        simulation.set_random_state(seed=int(key.generate_state(1)[0]))
        return pick(simulation(self.preparation(case)))
