"""Where the anatomy of a case comes from: whatever the case has, in a fixed order."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from numpy.typing import NDArray
from torch import Tensor

from volseg.errors import GeometryError
from volseg.transforms.anatomy.from_image import anatomy_from_brain, anatomy_from_image
from volseg.transforms.anatomy.from_labels import anatomy_from_labels
from volseg.transforms.anatomy.maps import Anatomy, Tissue

GRID_TOLERANCE = 0.1
"""How far the corners of one grid may lie apart, in voxels."""

SPARSE = 3
"""Whether a scan shows skull and scalp is judged on every so many voxels along each axis."""

BLACK = 0.005
"""What lies so close to the smallest intensity, as a share of the range, is blank."""

STRIPPED = 0.97
"""If this share of skull and scalp is blank, the scan has been stripped of them."""


@dataclass(frozen=True)
class Source:
    """Keys under which a case may say what its anatomy is; the first that it has is used.

    A case with none of the first three has its brain estimated from its first image.

    Args:
        anatomy: Maps that `PrepareAnatomyd` has made, ``(4, D, H, W)``.
        labels: Label map, ``(1, D, H, W)``.
        brain: Brain mask, ``(1, D, H, W)``.
        tumour: Tumour mask, ``(1, D, H, W)``, that a resection may follow.
        scheme: What the label map's numbers mean: a scheme's name, ``auto``, or the `Tissue` of
            each number.
    """

    anatomy: Hashable = "anatomy"
    labels: Hashable = "labels"
    brain: Hashable = "brain"
    tumour: Hashable = "tumour"
    scheme: str | Mapping[int, Tissue] = "auto"

    def find(self, data: Mapping[Hashable, Any], image: Hashable) -> Anatomy:
        """Give the anatomy of a case.

        Args:
            data: The case.
            image: Key of the image on whose grid it must lie, ``(C, D, H, W)``.

        Returns:
            Its maps.

        Raises:
            GeometryError: If what the case has lies on another grid than the image.
        """
        pixels = data[image]
        known = [key for key in (self.anatomy, self.labels, self.brain) if key in data]
        if not known:
            return anatomy_from_image(as_plain(pixels)[0], affine_of(pixels))
        require_grid(data[known[0]], pixels, f"{known[0]!r} and {image!r}")
        maps, affine = as_plain(data[known[0]]), affine_of(pixels)
        if known[0] == self.anatomy:
            if len(maps) != 4:
                raise GeometryError(
                    f"{self.anatomy!r} has the shape {tuple(maps.shape)}; use (4, D, H, W), as"
                    " PrepareAnatomyd makes it"
                )
            return hide_unseen(Anatomy.unstack(maps, affine), as_plain(pixels)[0])
        if known[0] == self.labels:
            anatomy = anatomy_from_labels(maps[0], affine, self.scheme)
            return hide_unseen(anatomy, as_plain(pixels)[0])
        return anatomy_from_brain(as_plain(pixels)[0], maps[0] > 0.5, affine)

    def find_tumour(self, data: Mapping[Hashable, Any], image: Hashable) -> Tensor | None:
        """Give the tumour of a case.

        Args:
            data: The case.
            image: Key of the image on whose grid it must lie.

        Returns:
            Boolean mask, ``(D, H, W)``; `None` if the case has none.
        """
        if self.tumour not in data:
            return None
        require_grid(data[self.tumour], data[image], f"{self.tumour!r} and {image!r}")
        tumour = as_plain(data[self.tumour])[0] > 0.5
        return tumour if bool(tumour.any()) else None


def hide_unseen(anatomy: Anatomy, image: Tensor) -> Anatomy:
    """Take skull and scalp out of the maps of a scan that was stripped of them.

    Args:
        anatomy: Maps that may come from a whole head.
        image: A scan on their grid, ``(D, H, W)``.

    Returns:
        The maps; without bone and scalp, no bone flap is drawn.
    """
    steps = (slice(None, None, SPARSE),) * 3
    tissue, some = anatomy.tissue[steps], image[steps].float()
    outer = (tissue == Tissue.HEAD) | (tissue == Tissue.SKULL)
    black = some.min() + BLACK * (some.max() - some.min())
    if not bool(outer.any()) or float((some[outer] <= black).float().mean()) < STRIPPED:
        return anatomy
    outer = (anatomy.tissue == Tissue.HEAD) | (anatomy.tissue == Tissue.SKULL)
    return replace(anatomy, tissue=anatomy.tissue.masked_fill(outer, Tissue.AIR))


def as_plain(value: Any) -> Tensor:
    """Give a tensor on the CPU without metadata.

    Args:
        value: A tensor, MONAI's or plain, or an array.

    Returns:
        The same values.
    """
    return torch.as_tensor(value).detach().as_subclass(Tensor).cpu()


def affine_of(value: Any) -> NDArray[np.float64]:
    """Give where the voxels of an image lie; a plain tensor has edges of 1 mm along RAS.

    Args:
        value: The image.

    Returns:
        From voxel indices to RAS mm, ``(4, 4)``.
    """
    if not isinstance(value, MetaTensor):
        return np.eye(4)
    return np.asarray(value.affine.cpu(), dtype=np.float64)


def require_grid(other: Any, image: Any, names: str) -> None:
    """Refuse two volumes whose voxels do not lie at the same places.

    Args:
        other: ``(C, D, H, W)``.
        image: ``(C, D, H, W)``.
        names: What to call the two.

    Raises:
        GeometryError: If shapes or, where both have one, affines differ.
    """
    if tuple(other.shape[1:]) != tuple(image.shape[1:]):
        raise GeometryError(
            f"{names} have the shapes {tuple(other.shape)} and {tuple(image.shape)}; they must"
            " share a grid"
        )
    if not (isinstance(other, MetaTensor) and isinstance(image, MetaTensor)):
        return
    ours, theirs = affine_of(other), affine_of(image)
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in image.shape[1:]])).reshape(3, -1)
    gaps = (ours - theirs)[:3, :3] @ corners + (ours - theirs)[:3, 3:]
    apart = float(np.linalg.norm(gaps, axis=0).max())
    if not apart <= GRID_TOLERANCE * np.linalg.norm(theirs[:3, :3], axis=0).min():
        raise GeometryError(f"{names} lie up to {apart:.3g} mm apart; they must share a grid")
