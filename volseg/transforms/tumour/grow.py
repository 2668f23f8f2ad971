"""Grow a tumour: push the brain away, take its voxels, let oedema spread, paint every channel.

All of it happens in a box; outside of it image and label stay as they are. The label is what was
taken before edges are softened as partial volume softens them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from volseg.errors import DataError, GeometryError
from volseg.transforms.anatomy.maps import Anatomy
from volseg.transforms.resection.resect import Box
from volseg.transforms.resection.statistics import TissueStatistics, measure_statistics
from volseg.transforms.resection.streams import FIELDS, GLIOSIS, open_stream
from volseg.transforms.tumour.interior import divide_core
from volseg.transforms.tumour.paint import Painter, Parts
from volseg.transforms.tumour.palette import mix_tumour_palette
from volseg.transforms.tumour.scene import take_place, window_of
from volseg.transforms.tumour.spread import spread_oedema
from volseg.transforms.tumour.tumour import Part, Tumour


@dataclass(frozen=True)
class Grown:
    """A scan with a simulated tumour.

    Args:
        image: ``(C, D, H, W)``, of the dtype that was given.
        label: `Part` of each voxel, 0 elsewhere, ``(1, D, H, W)``, uint8.
        box: What was changed; `None`: nothing was.
    """

    image: Tensor
    label: Tensor
    box: Box | None = None


def grow(
    image: Tensor,
    anatomy: Anatomy,
    tumour: Tumour,
    contrasts: Sequence[str],
    statistics: Sequence[TissueStatistics] | None = None,
    *,
    in_place: bool = False,
) -> Grown:
    """Simulate a tumour, on the device where the image is.

    Args:
        image: Any number of sequences of one head or body, ``(C, D, H, W)``, of a floating type.
        anatomy: The maps on the same grid, on any device.
        tumour: What was drawn.
        contrasts: One of `CONTRASTS` for each channel.
        statistics: Of each channel; `None`: they are measured.
        in_place: Paint into ``image`` itself.

    Returns:
        The scan with the tumour; outside the box it is what was given.
    """
    _check(image, anatomy, contrasts, statistics)
    label = torch.zeros((1, *image.shape[1:]), dtype=torch.uint8, device=image.device)
    result = image if in_place else image.clone()
    if not tumour.is_ok or not tumour.solids:
        return Grown(result, label)
    anatomy = anatomy.to(image.device)
    if statistics is None:
        statistics = [measure_statistics(channel, anatomy) for channel in image]
    scene = take_place(image, anatomy, tumour, statistics)
    if scene is None:
        return Grown(result, label)
    close = scene.close_box(tumour)
    window = window_of(*close)
    parts = _lay_out(scene.maps.crop(*close), scene.core[window], tumour)
    for index, (contrast, scale) in enumerate(zip(contrasts, statistics, strict=True)):
        palette = mix_tumour_palette(contrast, scale, tumour)
        painter = Painter(scene.maps, tumour, parts, scale, palette, index)
        scene.image[index][window] = painter.paint(scene.image[index][window])
    result[:, *window_of(*scene.box)] = scene.image.to(result.dtype)
    label[0][window_of(*scene.box)][window] = _label_of(parts)
    return Grown(result, label, scene.box)


def _check(
    image: Tensor,
    anatomy: Anatomy,
    contrasts: Sequence[str],
    statistics: Sequence[TissueStatistics] | None,
) -> None:
    if image.ndim != 4 or image.shape[1:] != anatomy.tissue.shape:
        raise GeometryError(
            f"image has the shape {tuple(image.shape)} and the anatomy"
            f" {tuple(anatomy.tissue.shape)}; use (C, D, H, W) and (D, H, W) on one grid"
        )
    if not image.is_floating_point():
        raise DataError(f"image is {image.dtype}; use a floating type")
    counts = {len(image), len(contrasts), len(image if statistics is None else statistics)}
    if len(counts) > 1:
        raise DataError(f"image has {len(image)} channels; give a contrast and statistics for each")


def _lay_out(maps: Anatomy, core: Tensor, tumour: Tumour) -> Parts:
    """Lay out the parts in their box."""
    interior = divide_core(maps, core, tumour, open_stream(tumour.seed, FIELDS))
    nothing = torch.zeros_like(core, dtype=torch.float32), torch.zeros_like(core)
    if min(tumour.oedema, tumour.oedema_strength) <= 0:
        return Parts(core, interior, *nothing)
    generator = open_stream(tumour.seed, GLIOSIS)
    return Parts(core, interior, *spread_oedema(maps, core, tumour.oedema, generator))


def _label_of(parts: Parts) -> Tensor:
    label = parts.core.to(torch.uint8) * int(Part.CORE)
    label[parts.swollen] = int(Part.OEDEMA)
    label[parts.interior.enhancing] = int(Part.ENHANCING)
    return label
