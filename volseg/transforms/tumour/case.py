"""A simulated tumour for the training of a network: one case in, the case and its label out."""

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
from monai.transforms import RandomizableTransform
from torch import Tensor

from volseg.transforms.anatomy.maps import Anatomy
from volseg.transforms.resection.naming import guess_contrast
from volseg.transforms.resection.source import hide_unseen
from volseg.transforms.tumour.grow import grow
from volseg.transforms.tumour.prior import TumourPrior
from volseg.transforms.tumour.sample import sample_tumour


class RandTumourCased(RandomizableTransform):
    """Grows a tumour in a healthy case, and gives it the tumour's parts as its label.

    It is `RandTumord` without metadata and records. A case that has a label already is left alone:
    that label is of a real tumour.

    Args:
        prior: What is drawn how often; a mapping is taken as its arguments.
    """

    def __init__(self, prior: TumourPrior | Mapping[str, Any] | None = None) -> None:
        super().__init__(1.0)
        self.prior = prior if isinstance(prior, TumourPrior) else TumourPrior(**(prior or {}))

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Grow a tumour in one case.

        Args:
            data: ``image``, ``(C, D, H, W)``; ``anatomy``, ``(4, D, H, W)``; ``affine``, from voxel
                indices to RAS mm; and ``contrast``, a name, or one for each channel.

        Returns:
            The case with another image, and ``label``, ``(1, D, H, W)``, uint8.
        """
        result = dict(data)
        if "label" in result:
            return result
        image: Tensor = result["image"]
        given = result["contrast"]
        names = [given] * len(image) if isinstance(given, str) else list(given)
        anatomy = Anatomy.unstack(result["anatomy"], np.asarray(result["affine"]))
        anatomy = hide_unseen(anatomy, image[0])
        tumour = sample_tumour(anatomy, self.R, self.prior)
        done = grow(image, anatomy, tumour, [guess_contrast(name) for name in names])
        result["image"], result["label"] = done.image, done.label
        return result
