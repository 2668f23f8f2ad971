"""A simulated resection for the training of a network: one case in, the case and its label out."""

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.transforms import RandomizableTransform
from torch import Tensor

from volseg.transforms.anatomy.maps import Anatomy
from volseg.transforms.resection.cavity import Cavity
from volseg.transforms.resection.prior import Prior
from volseg.transforms.resection.resect import Resected, resect
from volseg.transforms.resection.sample import sample_cavity
from volseg.transforms.resection.source import hide_unseen


class RandCavityd(RandomizableTransform):
    """Resects a healthy case, and gives it the cavity as its label.

    It is `RandResectiond` without metadata, records and inversion. A case that has a label already
    is left alone: that label is of a real cavity.

    Args:
        prior: What is drawn how often; a mapping is taken as its arguments.
    """

    def __init__(self, prior: Prior | Mapping[str, Any] | None = None) -> None:
        super().__init__(1.0)
        self.prior = prior if isinstance(prior, Prior) else Prior(**(prior or {}))

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Operate on one case.

        Args:
            data: ``image``, ``(1, D, H, W)``; ``anatomy``, ``(4, D, H, W)``; ``affine``, from voxel
                indices to RAS mm; and ``contrast``, a name.

        Returns:
            The case with another image, and ``label``, ``(1, D, H, W)``, uint8.
        """
        result = dict(data)
        if "label" in result:
            return result
        image: Tensor = result["image"]
        anatomy = Anatomy.unstack(result["anatomy"], np.asarray(result["affine"]))
        anatomy = hide_unseen(anatomy, image[0])
        cavity = sample_cavity(anatomy, self.R, self.prior)
        done = operate(image, anatomy, cavity, str(result["contrast"]))
        result["image"], result["label"] = done.image, done.mask
        return result


def operate(image: Tensor, anatomy: Anatomy, cavity: Cavity, contrast: str) -> Resected:
    """Resect; what cannot be painted is left as it is.

    Args:
        image: ``(1, D, H, W)``.
        anatomy: The maps of the head.
        cavity: What was drawn.
        contrast: Name of the image's contrast.

    Returns:
        The scan, resected or as it was.
    """
    if cavity.is_ok and (cavity.solids or cavity.flap):
        return resect(image, anatomy, cavity, [contrast])
    return Resected(image, torch.zeros((1, *image.shape[1:]), dtype=torch.uint8))
