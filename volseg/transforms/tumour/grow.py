"""Grow a tumour: push the brain away, take its voxels, let oedema spread, paint every channel.

All of it happens in a box; outside of it image and label stay as they are. The label is what was
taken before edges are softened as partial volume softens them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from volseg.errors import DataError, GeometryError
from volseg.transforms.anatomy.maps import Anatomy
from volseg.transforms.resection.appearance import make_texture
from volseg.transforms.resection.carve import carve
from volseg.transforms.resection.contrast import Palette
from volseg.transforms.resection.filters import as_spacing, blur
from volseg.transforms.resection.giving_way import Shifted, lost_noise, read_at
from volseg.transforms.resection.level import tight_box
from volseg.transforms.resection.noise import band_noise
from volseg.transforms.resection.resect import Box
from volseg.transforms.resection.solid import Index, enclose
from volseg.transforms.resection.statistics import TissueStatistics, measure_statistics
from volseg.transforms.resection.streams import FIELDS, GLIOSIS, TEXTURE, open_stream
from volseg.transforms.tumour.interior import Interior, divide_core
from volseg.transforms.tumour.palette import mix_tumour_palette
from volseg.transforms.tumour.push import push_field
from volseg.transforms.tumour.spread import spread_oedema
from volseg.transforms.tumour.tumour import Part, Tumour
from volseg.types import Size

USUAL_LEVEL = 1.5
"""Foci rarely reach further than this, in semi-axes, before a box is cut;"""

WIDER_LEVEL = 3.5
"""and if one does, it is looked for up to here."""

PUSH_MARGIN = 20.0
"""Mass effect is worked out so far about the foci, in mm."""

LEAST_MARGIN = 4.0
"""What lies around the tumour in the box that is painted, in mm at least."""

SPOT_WAVELENGTH = 9.0
"""Brightness within the tumour varies over this many mm."""

OEDEMA_UNEVENNESS = 0.12
"""Brightness of oedema varies by this share of what tells it from white matter."""


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


@dataclass(frozen=True)
class _Parts:
    """The tumour in its box: weights and masks, ``(d, h, w)``."""

    core: Tensor
    interior: Interior
    oedema: Tensor
    swollen: Tensor


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
    scene = _take(image, anatomy, tumour, statistics)
    if scene is None:
        return Grown(result, label)
    window = _window(*_close_box(scene, tumour))
    parts = _lay_out(scene.maps.crop(*_close_box(scene, tumour)), scene.core[window], tumour)
    for index, (contrast, scale) in enumerate(zip(contrasts, statistics, strict=True)):
        palette = mix_tumour_palette(contrast, scale, tumour)
        painter = _Painter(scene.maps, tumour, parts, scale, palette, index)
        scene.image[index][window] = painter.paint(scene.image[index][window])
    result[:, *_window(*scene.box)] = scene.image.to(result.dtype)
    label[0][_window(*scene.box)][window] = _label_of(parts)
    return Grown(result, label, scene.box)


@dataclass(frozen=True)
class _Scene:
    """A box after the tumour has pushed the brain away: image and maps, and its own voxels."""

    box: Box
    image: Tensor
    maps: Anatomy
    core: Tensor


def _take(
    image: Tensor, anatomy: Anatomy, tumour: Tumour, statistics: Sequence[TissueStatistics]
) -> _Scene | None:
    """Push the brain away and take the tumour's voxels; `None` if there is no place for it."""
    scene = None
    for level in (USUAL_LEVEL, WIDER_LEVEL):
        box = _box_of(anatomy, tumour, level, max(tumour.oedema, 0) + LEAST_MARGIN)
        if box is None:
            return None
        crop = image[:, *_window(*box)].to(torch.float32, copy=True)
        maps = _push(crop, anatomy.crop(*box), tumour, statistics)
        carved = carve(maps, tumour.cavity)
        if carved is None:
            return None
        core = torch.zeros_like(maps.tissue, dtype=torch.bool)
        core[_window(carved.start, carved.stop)] = carved.mask
        scene = _Scene(box, crop, maps, core)
        if not _is_cut(carved.start, carved.stop, box, image.shape[1:]):
            break
    return scene


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


def _window(start: Index, stop: Index) -> tuple[slice, slice, slice]:
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
    near, window = maps.crop(*box), _window(*box)
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


def _close_box(scene: _Scene, tumour: Tumour) -> Box:
    """Find the box of the tumour with its oedema, within the scene."""
    found = tight_box(scene.core)
    start, window = found or ((0, 0, 0), (slice(0, 1),) * 3)
    stop = [each.stop for each in window]
    reach = max(LEAST_MARGIN, 3 * tumour.blur + 1, tumour.oedema + 1)
    pad = np.ceil(reach / scene.maps.spacing).astype(int)
    low, high = np.maximum(np.array(start) - pad, 0), np.minimum(stop + pad, scene.core.shape)
    return _index(low), _index(high)


def _lay_out(maps: Anatomy, core: Tensor, tumour: Tumour) -> _Parts:
    """Lay out the parts in their box."""
    interior = divide_core(maps, core, tumour, open_stream(tumour.seed, FIELDS))
    nothing = torch.zeros_like(core, dtype=torch.float32), torch.zeros_like(core)
    if min(tumour.oedema, tumour.oedema_strength) <= 0:
        return _Parts(core, interior, *nothing)
    generator = open_stream(tumour.seed, GLIOSIS)
    return _Parts(core, interior, *spread_oedema(maps, core, tumour.oedema, generator))


def _label_of(parts: _Parts) -> Tensor:
    label = parts.core.to(torch.uint8) * int(Part.CORE)
    label[parts.swollen] = int(Part.OEDEMA)
    label[parts.interior.enhancing] = int(Part.ENHANCING)
    return label


@dataclass(frozen=True)
class _Painter:
    """Paints one channel."""

    maps: Anatomy
    tumour: Tumour
    parts: _Parts
    scale: TissueStatistics
    palette: Palette
    channel: int

    def paint(self, tissue: Tensor) -> Tensor:
        """Paint oedema, then the tumour.

        Args:
            tissue: Intensities of the box, ``(d, h, w)``.

        Returns:
            New ones, ``(d, h, w)``.
        """
        spots = self._spots(_size(tissue)).to(tissue.device)
        swollen = self._oedema(tissue, spots)
        content = self._content(spots)
        edge = [self.tumour.blur / float(each) for each in self.maps.spacing]
        cover = blur(self.parts.core.float(), edge) * (1 - self.tumour.infiltration)
        return torch.lerp(swollen, content, cover)

    def _spots(self, size: Size) -> Tensor:
        generator = open_stream(self.tumour.seed, TEXTURE, 2)
        return band_noise(size, as_spacing(self.maps.spacing), SPOT_WAVELENGTH, generator, 2)

    def _oedema(self, tissue: Tensor, spots: Tensor) -> Tensor:
        gain = self.tumour.oedema_strength * (self.palette.levels["oedema"] - self.palette.white)
        return tissue + gain * self.parts.oedema * (1 + OEDEMA_UNEVENNESS * spots)

    def _content(self, spots: Tensor) -> Tensor:
        """Brightness of the tumour wherever it may lie, its parts softened where they meet."""
        levels, interior = self.palette.levels, self.parts.interior
        edge = [self.tumour.blur / float(each) for each in self.maps.spacing]
        core = blur(self.parts.core.float(), edge).clamp_(min=1e-6)
        level, spread = torch.zeros_like(spots), torch.zeros_like(spots)
        for name, mask in (
            ("necrosis", interior.necrosis),
            ("enhancing", interior.enhancing),
            ("quiet", interior.quiet),
        ):
            share = blur(mask.float(), edge).div_(core)
            level += share * levels[name]
            spread += share * abs(levels[name] - self.palette.white)
        size, spacing = _size(spots), as_spacing(self.maps.spacing)
        generator = open_stream(self.tumour.seed, TEXTURE, 0, self.channel)
        texture = make_texture(size, spacing, self.scale, generator).to(spots.device)
        return level + self.tumour.heterogeneity * spread * spots + texture
