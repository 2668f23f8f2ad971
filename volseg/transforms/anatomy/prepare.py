"""`PrepareAnatomyd`: the maps of a head as one volume, made once for a case."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import MapTransform
from monai.utils import convert_to_tensor
from numpy.typing import NDArray
from torch import Tensor

from volseg.errors import DataError
from volseg.transforms.anatomy.from_image import anatomy_from_brain, anatomy_from_image
from volseg.transforms.anatomy.from_labels import anatomy_from_labels
from volseg.transforms.anatomy.maps import Anatomy, Tissue


class PrepareAnatomyd(MapTransform):
    """Makes the maps that a simulated resection asks for, from whatever a case has.

    A label map is preferred to a brain mask, and that to the image alone. Nothing is drawn at
    random, so that the result may be cached.

    Args:
        keys: Keys of the images, ``(C, D, H, W)``; the first that a case has is used.
        labels_key: Key of a label map, ``(1, D, H, W)``; `None` for none.
        brain_key: Key of a brain mask, ``(1, D, H, W)``; `None` for none.
        out_key: Key of the maps, ``(4, D, H, W)``, uint8: tissue, side, lobe and depth.
        scheme: What the labels mean, as of `tissue_of_labels`.
        allow_missing_keys: Whether a case may lack any of the images.
    """

    def __init__(
        self,
        keys: Sequence[Hashable] | Hashable = "image",
        *,
        labels_key: Hashable | None = "labels",
        brain_key: Hashable | None = "brain",
        out_key: Hashable = "anatomy",
        scheme: str | Mapping[int, Tissue] = "auto",
        allow_missing_keys: bool = True,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.labels_key = labels_key
        self.brain_key = brain_key
        self.out_key = out_key
        self.scheme = scheme

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Add the maps to a case.

        Args:
            data: The case.

        Returns:
            The case with its maps.
        """
        anatomy = self._prepare(data)
        return {**data, self.out_key: MetaTensor(anatomy.stack(), affine=_matrix(anatomy.affine))}

    def _prepare(self, data: Mapping[Hashable, Any]) -> Anatomy:
        if self.labels_key in data:
            labels, affine = _volume(data[self.labels_key])
            return anatomy_from_labels(labels, affine, self.scheme)
        present = [key for key in self.keys if key in data]
        if not present:
            raise DataError(
                f"the case has neither {self.labels_key!r} nor any of {list(self.keys)}; give a"
                " label map or an image"
            )
        image, affine = _volume(data[present[0]])
        if self.brain_key in data:
            brain, _ = _volume(data[self.brain_key])
            return anatomy_from_brain(image, brain > 0.5, affine)
        return anatomy_from_image(image, affine)


def _volume(value: Any) -> tuple[Tensor, NDArray[np.float64]]:
    """Give the first channel and the affine; a plain tensor has edges of 1 mm along RAS."""
    volume = convert_to_tensor(value, track_meta=True)
    affine = np.asarray(volume.affine.cpu(), dtype=np.float64)
    return volume.as_tensor().detach().cpu()[0], affine


def _matrix(affine: NDArray[np.float64]) -> Tensor:
    return torch.from_numpy(affine.copy())
