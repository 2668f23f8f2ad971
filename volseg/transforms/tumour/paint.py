"""Paint a tumour and its oedema into one channel."""

from dataclasses import dataclass

import torch
from torch import Tensor

from volseg.transforms.anatomy.maps import Anatomy
from volseg.transforms.resection.appearance import make_texture
from volseg.transforms.resection.contrast import Palette
from volseg.transforms.resection.filters import as_spacing, blur
from volseg.transforms.resection.noise import band_noise
from volseg.transforms.resection.statistics import TissueStatistics
from volseg.transforms.resection.streams import TEXTURE, open_stream
from volseg.transforms.tumour.interior import Interior
from volseg.transforms.tumour.tumour import Tumour
from volseg.types import Size

SPOT_WAVELENGTH = 9.0
"""Brightness within the tumour varies over this many mm."""

OEDEMA_UNEVENNESS = 0.12
"""Brightness of oedema varies by this share of what tells it from white matter."""


@dataclass(frozen=True)
class Parts:
    """The parts of a tumour in their box.

    Args:
        core: The tumour's own voxels, ``(d, h, w)``, bool.
        interior: What they are made of.
        oedema: Weight of the oedema, 0 to 1, ``(d, h, w)``.
        swollen: The voxels of the oedema, ``(d, h, w)``, bool.
    """

    core: Tensor
    interior: Interior
    oedema: Tensor
    swollen: Tensor


@dataclass(frozen=True)
class Painter:
    """Paints one channel.

    Args:
        maps: The maps of the box.
        tumour: What was drawn.
        parts: Its parts.
        scale: Levels and noise of the channel.
        palette: Brightness of the parts.
        channel: Number of the channel, the source of its texture.
    """

    maps: Anatomy
    tumour: Tumour
    parts: Parts
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


def _size(volume: Tensor) -> Size:
    return volume.shape[0], volume.shape[1], volume.shape[2]
