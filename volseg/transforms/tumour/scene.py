"""Make place for a tumour: cut a box, push what is in it away, take the tumour's own voxels."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from volseg.transforms.anatomy.maps import Anatomy
from volseg.transforms.resection.appearance import make_texture
from volseg.transforms.resection.carve import carve
from volseg.transforms.resection.filters import as_spacing
from volseg.transforms.resection.giving_way import Shifted, lost_noise, read_at
from volseg.transforms.resection.level import tight_box
from volseg.transforms.resection.resect import Box
from volseg.transforms.resection.solid import Index, enclose
from volseg.transforms.resection.statistics import TissueStatistics
from volseg.transforms.resection.streams import TEXTURE, open_stream
from volseg.transforms.tumour.push import push_field
from volseg.transforms.tumour.tumour import Tumour
from volseg.types import Size

USUAL_LEVEL = 1.5
"""Foci rarely reach further than this, in semi-axes, before a box is cut;"""

WIDER_LEVEL = 3.5
"""and if one does, it is looked for up to here."""

PUSH_MARGIN = 20.0
"""Mass effect is worked out so far about the foci, in mm."""

LEAST_MARGIN = 4.0
"""What lies around the tumour in the box that is painted, in mm at least."""


@dataclass(frozen=True)
class Scene:
    """A box after the tumour has pushed away what is in it.

    Args:
        box: Where it lies in the scan.
        image: ``(C, d, h, w)``, float32.
        maps: The maps of the box.
        core: The tumour's own voxels, ``(d, h, w)``, bool.
    """

    box: Box
    image: Tensor
    maps: Anatomy
    core: Tensor

    def close_box(self, tumour: Tumour) -> Box:
        """Find the box of the tumour with its oedema, within this one.

        Args:
            tumour: What was drawn.

        Returns:
            Its first voxel, and the one after its last.
        """
        found = tight_box(self.core)
        start, window = found or ((0, 0, 0), (slice(0, 1),) * 3)
        stop = [each.stop for each in window]
        reach = max(LEAST_MARGIN, 3 * tumour.blur + 1, tumour.oedema + 1)
        pad = np.ceil(reach / self.maps.spacing).astype(int)
        low, high = np.maximum(np.array(start) - pad, 0), np.minimum(stop + pad, self.core.shape)
        return _index(low), _index(high)


def take_place(
    image: Tensor, anatomy: Anatomy, tumour: Tumour, statistics: Sequence[TissueStatistics]
) -> Scene | None:
    """Push the brain away and take the tumour's voxels.

    Args:
        image: ``(C, D, H, W)``.
        anatomy: The maps on the same grid.
        tumour: What was drawn.
        statistics: Of each channel.

    Returns:
        The box; `None` if there is no place for the tumour.
    """
    scene = None
    for level in (USUAL_LEVEL, WIDER_LEVEL):
        box = _box_of(anatomy, tumour, level, max(tumour.oedema, 0) + LEAST_MARGIN)
        if box is None:
            return None
        crop = image[:, *window_of(*box)].to(torch.float32, copy=True)
        maps = _push(crop, anatomy.crop(*box), tumour, statistics)
        carved = carve(maps, tumour.cavity)
        if carved is None:
            return None
        core = torch.zeros_like(maps.tissue, dtype=torch.bool)
        core[window_of(carved.start, carved.stop)] = carved.mask
        scene = Scene(box, crop, maps, core)
        if not _is_cut(carved.start, carved.stop, box, image.shape[1:]):
            break
    return scene


def window_of(start: Index, stop: Index) -> tuple[slice, slice, slice]:
    """Give the slices of a box.

    Args:
        start: Its first voxel.
        stop: The voxel after its last.

    Returns:
        A slice along each axis.
    """
    first, second, third = (slice(a, b) for a, b in zip(start, stop, strict=True))
    return first, second, third


def _index(values: np.ndarray) -> Index:
    return int(values[0]), int(values[1]), int(values[2])


def _box_of(anatomy: Anatomy, tumour: Tumour, level: float, margin: float) -> Box | None:
    """Find the box that holds the foci of a level, and so many mm more."""
    shape = _index(np.array(anatomy.tissue.shape))
    found = [enclose(solid, anatomy.affine, shape, level) for solid in tumour.solids]
    boxes = [each for each in found if each is not None]
    if not boxes:
        return None
    pad = np.ceil(margin / anatomy.spacing).astype(int)
    low = np.min([start for start, _ in boxes], axis=0) - pad
    high = np.max([stop for _, stop in boxes], axis=0) + pad
    return _index(np.maximum(low, 0)), _index(np.minimum(high, shape))


def _is_cut(start: Index, stop: Index, box: Box, shape: Sequence[int]) -> bool:
    """Tell whether a core may have been cut off by its box."""
    size = np.subtract(box[1], box[0])
    low = (np.array(start) <= 0) & (np.array(box[0]) > 0)
    high = (np.array(stop) >= size) & (np.array(box[1]) < np.array(shape))
    return bool((low | high).any())


def _push(
    image: Tensor, maps: Anatomy, tumour: Tumour, statistics: Sequence[TissueStatistics]
) -> Anatomy:
    """Move image and maps together, the image in place; give the maps.

    Reading between voxels averages their noise away, and it is given back.
    """
    box = _box_of(maps, tumour, 1.0, PUSH_MARGIN)
    if tumour.mass_effect <= 0 or box is None:
        return maps
    near, window = maps.crop(*box), window_of(*box)
    field = push_field(near, tumour)
    tissue = read_at(near.tissue[None].float(), field, "nearest")[0].to(torch.uint8)
    moved = read_at(image[:, *window], field, "bilinear")
    shifted = Shifted(moved, near, near.depth > 0, field=field)
    for index, scale in enumerate(statistics):
        fine = replace(scale, lag1=scale.fine_lag1, slow=0.0)
        generator = open_stream(tumour.seed, TEXTURE, 1, index)
        texture = make_texture(_size(tissue), as_spacing(maps.spacing), fine, generator)
        moved[index] += texture.to(moved.device) * lost_noise(shifted, scale)
    image[:, *window] = torch.where(near.depth > 0, moved, image[:, *window])
    whole = maps.tissue.clone()
    whole[window] = torch.where(near.depth > 0, tissue, near.tissue)
    return replace(maps, tissue=whole)


def _size(volume: Tensor) -> Size:
    return volume.shape[0], volume.shape[1], volume.shape[2]
