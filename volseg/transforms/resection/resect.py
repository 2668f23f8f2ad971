"""Resect: carve the cavity out, let the brain shift, paint every channel, in the cavity's box only.

The mask is taken before the partial-volume blur: it is what was carved out, fluid, clot and air
together, after the brain has shifted.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor
from torch.nn import functional

from volseg.errors import DataError, GeometryError
from volseg.transforms.anatomy.maps import Anatomy
from volseg.transforms.resection.appearance import make_texture, paint, paint_flap
from volseg.transforms.resection.carve import Carved, carve
from volseg.transforms.resection.cavity import Cavity
from volseg.transforms.resection.compat_paint import paint_compat
from volseg.transforms.resection.contrast import Palette, draw_places, mix_palette
from volseg.transforms.resection.fields import (
    Fields,
    make_fields,
    make_gliosis,
    near_reach,
    reach,
)
from volseg.transforms.resection.filters import as_spacing, blur
from volseg.transforms.resection.flap import FlapFields, make_flap
from volseg.transforms.resection.giving_way import Shifted, give_way, lost_noise
from volseg.transforms.resection.statistics import (
    TissueStatistics,
    deepest,
    measure_statistics,
)
from volseg.transforms.resection.streams import TEXTURE, open_stream
from volseg.types import Size, Spacing

Box = tuple[tuple[int, int, int], tuple[int, int, int]]
"""First voxel, and first voxel beyond, along each axis."""

MINIMUM_MARGIN = 3.0
"""The box reaches so far beyond the cavity at least, in mm."""

COLLECTIONS: tuple[str, ...] = ("extradural", "subgaleal")

CONTENT, LOST, CRANIOTOMY = range(3)
"""Textures of one channel that must not be the same."""


@dataclass(frozen=True)
class Resected:
    """A scan after a simulated resection.

    Args:
        image: ``(C, D, H, W)``, of the dtype that was given.
        mask: The cavity, ``(1, D, H, W)``, uint8.
        box: What was changed; `None`: nothing was.
        layers: Further masks within the box, ``(d, h, w)``, bool: ``collection``, ``clot``,
            ``air``, ``gliosis``, ``extradural`` and ``subgaleal``, those that there are.
    """

    image: Tensor
    mask: Tensor
    box: Box | None = None
    layers: Mapping[str, Tensor] = field(default_factory=dict)


_Drawn = tuple[Box, dict[str, Tensor]]
"""A box that was painted, and the layers in it."""


@dataclass(frozen=True)
class _Scan:
    """What is painted on, and with what."""

    image: Tensor
    mask: Tensor
    scales: Sequence[tuple[Palette, TissueStatistics]]
    cavity: Cavity
    spacing: Spacing

    def crop(self, start: Sequence[int], stop: Sequence[int]) -> Tensor:
        """Give a view of a box."""
        (z, y, x), (deep, high, wide) = start, stop
        return self.image[:, z:deep, y:high, x:wide]

    def texture(self, like: Tensor, scale: TissueStatistics, *stream: int) -> Tensor:
        """Draw noise for a box; each stream is a source of its own."""
        generator = open_stream(self.cavity.seed, TEXTURE, *stream)
        within = deepest(like.cpu()) if stream[0] == CONTENT else None
        texture = make_texture(_size(like), self.spacing, scale, generator, within)
        return texture.to(like.device)


def resect(
    image: Tensor,
    anatomy: Anatomy,
    cavity: Cavity,
    contrasts: Sequence[str],
    statistics: Sequence[TissueStatistics] | None = None,
    *,
    in_place: bool = False,
) -> Resected:
    """Simulate a resection, on the device where the image is.

    All noise is drawn on the CPU, so that a cavity is the same on every device, up to rounding.
    Parts are connected, distances measured and bone flaps laid out on the CPU, in the box only.

    Args:
        image: Any number of sequences of one head, ``(C, D, H, W)``, of a floating type.
        anatomy: The maps of the head on the same grid, on any device.
        cavity: What was drawn.
        contrasts: One of `CONTRASTS` for each channel.
        statistics: Of each channel; `None`: they are measured.
        in_place: Paint into ``image`` itself.

    Returns:
        The resected scan; outside the box it is what was given.
    """
    _check(image, anatomy, contrasts, statistics)
    result = image if in_place else image.clone()
    mask = torch.zeros((1, *image.shape[1:]), dtype=torch.uint8, device=image.device)
    anatomy = anatomy.to(image.device)
    carved = carve(anatomy, cavity, margin=_margin(cavity)) if cavity.is_ok else None
    flap = make_flap(anatomy, cavity.flap, cavity.seed) if cavity.is_ok and cavity.flap else None
    if carved is None and flap is None:
        return Resected(result, mask)
    if carved is not None and cavity.compat is not None:
        mask[0][tuple(map(slice, carved.start, carved.stop))] = carved.mask.to(torch.uint8)
        return Resected(result, mask, *paint_compat(result, anatomy, cavity, carved))
    if statistics is None:
        statistics = [measure_statistics(channel, anatomy) for channel in image]
    places = draw_places(cavity.seed)
    scan = _Scan(
        result,
        mask[0],
        [
            (mix_palette(contrast, scale, places, cavity.stage), scale)
            for contrast, scale in zip(contrasts, statistics, strict=True)
        ],
        cavity,
        as_spacing(anatomy.spacing),
    )
    drawn: list[_Drawn] = []
    if carved is not None:
        drawn.append(_paint_cavity(scan, anatomy, carved))
    if flap is not None:
        drawn.append(_paint_flap(scan, flap))
    return Resected(result, mask, *_unite(drawn))


def _paint_cavity(scan: _Scan, anatomy: Anatomy, carved: Carved) -> _Drawn:
    """Paint what reaches far into the whole box, then the cavity into a box about itself."""
    crop = scan.crop(carved.start, carved.stop)
    box = anatomy.crop(carved.start, carved.stop)
    shifted = give_way(crop.float(), box, carved.mask, scan.cavity.shift)
    floors = _least(scan.image)
    if shifted.field is not None:
        _restore_noise(scan, shifted, floors)
    gliosis = make_gliosis(shifted.anatomy, shifted.mask, scan.cavity)
    if gliosis is not None:
        for channel, (palette, _) in zip(shifted.image, scan.scales, strict=True):
            channel.add_(gliosis, alpha=palette.levels["gliosis"] - palette.white)
    start, stop = _close_box(shifted, near_reach(scan.cavity.content))
    (z, y, x), (deep, high, wide) = start, stop
    mask = shifted.mask[z:deep, y:high, x:wide]
    fields = make_fields(shifted.anatomy.crop(start, stop), mask, scan.cavity)
    if shifted.gap is not None:
        edge = [scan.cavity.content.blur / each for each in scan.spacing]
        gap = blur(shifted.gap[z:deep, y:high, x:wide].float(), edge)
        fields = replace(fields, cavity=torch.maximum(fields.cavity, gap))
    for index, (palette, scale) in enumerate(scan.scales):
        close = shifted.image[index, z:deep, y:high, x:wide]
        close.copy_(paint(close, fields, palette, scan.texture(mask, scale, CONTENT, index)))
    crop.copy_(shifted.image.maximum(floors))
    scan.mask[tuple(map(slice, carved.start, carved.stop))] = shifted.mask.to(torch.uint8)
    layers = _layers(shifted, gliosis)
    whole: Box = (0, 0, 0), _size(shifted.mask)
    layers.update(_embed(_content_layers(fields, mask), (start, stop), whole))
    return (carved.start, carved.stop), layers


def _least(image: Tensor) -> Tensor:
    """Find the least number of each channel, ``(C, 1, 1, 1)``, float32."""
    least = image.flatten(1).amin(dim=1)
    if bool(least.isnan().any()):
        least = image.nan_to_num(nan=math.inf).flatten(1).amin(dim=1)
    return least.float().reshape(-1, 1, 1, 1)


def _restore_noise(scan: _Scan, shifted: Shifted, floors: Tensor) -> None:
    """Add what linear reading took away, save where there is no signal, as around a bare brain."""
    for index, (_, scale) in enumerate(scan.scales):
        fine = replace(scale, lag1=scale.fine_lag1, slow=0.0)
        noise = scan.texture(shifted.mask, fine, LOST, index) * lost_noise(shifted, scale)
        shifted.image[index] += noise * (shifted.image[index] > floors[index])


def _close_box(shifted: Shifted, margin: float) -> Box:
    """Find the box of cavity and gap, and so many mm more."""
    marked = shifted.mask if shifted.gap is None else shifted.mask | shifted.gap
    start, stop = [], []
    for axis in range(3):
        others = tuple(each for each in range(3) if each != axis)
        line = marked.amax(dim=others).nonzero().flatten()
        pad = math.ceil(margin / shifted.anatomy.spacing[axis])
        start.append(max(0, int(line[0]) - pad))
        stop.append(min(marked.shape[axis], int(line[-1]) + 1 + pad))
    return (start[0], start[1], start[2]), (stop[0], stop[1], stop[2])


def _paint_flap(scan: _Scan, flap: FlapFields) -> _Drawn:
    """Paint the flap; what is cavity stays so."""
    crop = scan.crop(flap.start, flap.stop)
    (z, y, x), (deep, high, wide) = flap.start, flap.stop
    spared = scan.mask[z:deep, y:high, x:wide] == 0
    weights = {part: weight * spared for part, weight in flap.weights.items()}
    for index, (palette, scale) in enumerate(scan.scales):
        texture = scan.texture(spared, scale, CRANIOTOMY, index)
        crop[index] = paint_flap(crop[index].float(), weights, palette, texture).to(crop.dtype)
    layers = {part: weights[part] > 0.5 for part in COLLECTIONS if part in weights}
    return (flap.start, flap.stop), layers


def _unite(drawn: Sequence[_Drawn]) -> tuple[Box, dict[str, Tensor]]:
    """Find the box that holds all that was painted, and bring the layers to it."""
    starts, stops = ([box[edge] for box, _ in drawn] for edge in (0, 1))
    start, stop = (
        tuple(pick(each) for each in zip(*corners, strict=True))
        for pick, corners in ((min, starts), (max, stops))
    )
    box = (start[0], start[1], start[2]), (stop[0], stop[1], stop[2])
    layers: dict[str, Tensor] = {}
    for (first, last), some in drawn:
        layers.update(_embed(some, (first, last), box))
    return box, layers


def _embed(layers: Mapping[str, Tensor], box: Box, larger: Box) -> dict[str, Tensor]:
    """Bring layers from a box to a larger one."""
    pads = []
    for axis in (2, 1, 0):
        pads += [box[0][axis] - larger[0][axis], larger[1][axis] - box[1][axis]]
    return {name: functional.pad(layer, pads) for name, layer in layers.items()}


def _size(volume: Tensor) -> Size:
    return volume.shape[0], volume.shape[1], volume.shape[2]


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
    count = len(image)
    if len(contrasts) != count or (statistics is not None and len(statistics) != count):
        raise DataError(f"image has {count} channels; give a contrast and statistics for each")


def _margin(cavity: Cavity) -> float:
    shift = max(4 * cavity.shift.collapse, 2 * cavity.shift.sag)
    return max(MINIMUM_MARGIN, reach(cavity.content), shift)


def _layers(shifted: Shifted, gliosis: Tensor | None) -> dict[str, Tensor]:
    layers = {} if shifted.gap is None else {"collection": shifted.gap}
    if gliosis is not None:
        layers["gliosis"] = (gliosis > 0.1) & ~shifted.mask
    return layers


def _content_layers(fields: Fields, mask: Tensor) -> dict[str, Tensor]:
    found = {"clot": fields.clot, "air": fields.air}
    return {name: (each > 0.5) & mask for name, each in found.items() if each is not None}
