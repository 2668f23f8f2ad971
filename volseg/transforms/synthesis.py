"""Images of random contrast from label maps.

What is drawn stands in `volseg.transforms.synthesis_draw`; here it becomes an image. Every voxel
takes the brightness of its label, with grain, a slow drift and fatty streaks; lesions are painted;
the point spread then mixes neighbouring tissues as partial volume does.
"""

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import MapTransform, RandomizableTransform
from torch import Tensor
from torch.nn import functional

from volseg.errors import DataError
from volseg.transforms.anatomy.maps import Tissue
from volseg.transforms.contrast_priors import require_contrasts
from volseg.transforms.distractors import paint_lesion
from volseg.transforms.filters import blur, blur_axis, close_gaps
from volseg.transforms.label_kinds import BRAIN, INNER, Kind
from volseg.transforms.resection.noise import band_noise
from volseg.transforms.synthesis_draw import LESION_SHARE, Synthesis, sample_synthesis
from volseg.types import Size, Spacing

__all__ = ["RandSynthesized", "Synthesis", "sample_synthesis", "synthesize"]

TEXTURE_WAVELENGTH = 9.0
"""Shortest wavelength of the fatty streaks in soft tissue, in mm."""

BIAS_WAVELENGTH = 80.0
"""Shortest wavelength of the drift within a tissue, in mm."""

FAT_DEPTH = 6.0
"""Depth to which the soft tissue under the skin is mostly fat, in mm."""

LEAST_BLUR = 0.4
"""Least standard deviation of the point spread in voxels: a voxel mixes what it holds."""

SULCUS = 8.0
"""Width of the furrows that a skull stripper leaves in, in mm."""


def synthesize(labels: Tensor, synthesis: Synthesis, spacing: Spacing) -> Tensor:
    """Turn a label map into an image.

    Args:
        labels: Labels, ``(D, H, W)``; refused if not whole or negative.
        synthesis: What was drawn; labels that it does not know are black.
        spacing: Voxel edge along each axis, in mm.

    Returns:
        Brightness, not negative, ``(1, D, H, W)``, float32, on the labels' device.
    """
    numbers = _whole_numbers(labels)
    tables = _tables(int(numbers.max()) + 1, synthesis)
    generator = torch.Generator().manual_seed(synthesis.seed)
    size: Size = (labels.shape[0], labels.shape[1], labels.shape[2])
    image = _read(tables["mean"], numbers)
    if synthesis.streaks:
        noise = band_noise(size, spacing, TEXTURE_WAVELENGTH, generator).to(image)
        noise.add_(_shallowness(_read(tables["head"], numbers), spacing))
        _add_streaks(image, numbers, synthesis, noise)
    grain = torch.randn(size, generator=generator).to(image)
    image.addcmul_(_read(tables["deviation"], numbers), grain)
    drift = band_noise(size, spacing, BIAS_WAVELENGTH, generator).to(image)
    image.addcmul_(_read(tables["drift"], numbers), drift)
    _add_lesions(image, numbers, tables, synthesis, spacing)
    for axis, edge in enumerate(spacing):
        image = blur_axis(image, max(synthesis.blur / edge, LEAST_BLUR), axis)
    if synthesis.noise > 0:
        image.add_(grain.roll((7, 5, 3), (0, 1, 2)), alpha=synthesis.noise)
    _hide(image, numbers, tables, synthesis, spacing)
    return image.abs_()[None]


def _whole_numbers(labels: Tensor) -> Tensor:
    """Labels as 64-bit numbers that index a table."""
    numbers = labels.round() if labels.is_floating_point() else labels
    if labels.is_floating_point() and bool((numbers - labels).abs().max() > 1e-3):
        raise DataError("labels are not whole numbers; give a label map, not an image")
    numbers = numbers.long()
    if int(numbers.min()) < 0:
        raise DataError(f"the smallest label is {int(numbers.min())}; use labels of 0 and above")
    return numbers


def _tables(count: int, synthesis: Synthesis) -> dict[str, Tensor]:
    """One value for each label number."""
    values = {"mean": synthesis.means, "deviation": synthesis.deviations, "drift": synthesis.drifts}
    tables = {}
    for name, mapping in values.items():
        tables[name] = torch.zeros(count)
        for number, value in mapping.items():
            if number < count:
                tables[name][number] = value
    sets = {
        "white": {Kind.WHITE},
        "solid": BRAIN,
        "fluid": {Kind.FLUID},
        "brain": BRAIN | {Kind.VENTRICLE},
        "inner": BRAIN | {Kind.VENTRICLE} | INNER,
        "head": set(Kind) - {Kind.AIR},
    }
    for name, kinds in sets.items():
        tables[name] = torch.zeros(count, dtype=torch.bool)
        for number, kind in synthesis.kinds.items():
            tables[name][number : number + 1] = kind in kinds
    return tables


def _read(table: Tensor, numbers: Tensor) -> Tensor:
    return table.to(numbers.device).index_select(0, numbers.flatten()).view(numbers.shape)


def _add_streaks(image: Tensor, numbers: Tensor, synthesis: Synthesis, noise: Tensor) -> None:
    """Mix fat into soft tissue, in place."""
    for number, (fat, share) in synthesis.streaks.items():
        threshold = float(torch.special.ndtri(torch.tensor(1 - share)))
        weight = torch.sigmoid(4 * (noise - threshold)) * (numbers == number)
        torch.lerp(image, torch.full_like(image, fat), weight, out=image)


def _shallowness(head: Tensor, spacing: Spacing) -> Tensor:
    """Score near the skin, where soft tissue is mostly fat: 2.5 there and -0.5 deep within."""
    steps = [max(1, round(3 / edge)) for edge in spacing]
    coarse = functional.avg_pool3d(head[None, None].float(), steps, ceil_mode=True)[0, 0]
    edges = [edge * step for edge, step in zip(spacing, steps, strict=True)]
    smooth = blur(coarse, FAT_DEPTH, (edges[0], edges[1], edges[2]))
    size = [n * step for n, step in zip(coarse.shape, steps, strict=True)]
    fine = functional.interpolate(smooth[None, None], size=size, mode="trilinear")[0, 0]
    inside = fine[tuple(slice(n) for n in head.shape)]
    return (5.5 - 6 * inside).clamp_(-0.5, 2.5)


def _add_lesions(
    image: Tensor,
    numbers: Tensor,
    tables: dict[str, Tensor],
    synthesis: Synthesis,
    spacing: Spacing,
) -> None:
    """Paint the lesions, in place."""
    if not synthesis.lesions:
        return
    white, solid, fluid = (_read(tables[name], numbers) for name in ("white", "solid", "fluid"))
    places = white.flatten().nonzero().flatten()
    for lesion in synthesis.lesions:
        paint_lesion(image, places, (white, solid, fluid), lesion, spacing)


def _hide(
    image: Tensor,
    numbers: Tensor,
    tables: dict[str, Tensor],
    synthesis: Synthesis,
    spacing: Spacing,
) -> None:
    """Blacken what the scan does not show, in place."""
    is_cut = max(synthesis.margins) >= 0
    if synthesis.view == "head" and not is_cut:
        return
    brain = _read(tables["brain"], numbers)
    if synthesis.view != "head":
        shown = brain
        if synthesis.view == "brain":
            shown = close_gaps(brain, SULCUS, spacing) & _read(tables["inner"], numbers)
        image.mul_(shown)
    if is_cut and bool(brain.any()):
        _cut(image, brain, synthesis.margins, spacing)


def _cut(image: Tensor, brain: Tensor, margins: tuple[float, ...], spacing: Spacing) -> None:
    """Blacken what lies far from the brain's box along an axis, in place."""
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        places = brain.any(dim=others[1]).any(dim=others[0]).nonzero().flatten()
        before, behind = margins[2 * axis], margins[2 * axis + 1]
        length = brain.shape[axis]
        if before >= 0:
            start = max(0, int(places[0]) - int(before / spacing[axis]))
            image.narrow(axis, 0, start).zero_()
        if behind >= 0:
            stop = min(length, int(places[-1]) + 1 + int(behind / spacing[axis]))
            image.narrow(axis, stop, length - stop).zero_()


class RandSynthesized(RandomizableTransform, MapTransform):
    """Adds an image of random contrast to a case that has a label map.

    A case without a label map is left alone. The contrast's name is kept under ``contrast_key``.

    Args:
        labels_key: Key of the label map, ``(1, D, H, W)``.
        image_key: Key of the new image, ``(1, D, H, W)``, float32.
        contrast_key: Key of the name of the drawn contrast.
        spacing: Voxel edge along each axis, in mm; `None`: that of the label map's affine.
        shares: How often each contrast is drawn; `None`: `DEFAULT_SHARES`.
        scheme: What the labels' numbers mean, as in `read_labels`.
        lesion_share: Probability of lesions that are not cavities.

    Raises:
        DataError: If a contrast is not known, or ``lesion_share`` is no probability.
    """

    def __init__(
        self,
        labels_key: Hashable = "labels",
        image_key: Hashable = "image",
        contrast_key: Hashable = "contrast",
        spacing: Spacing | None = None,
        shares: Mapping[str, float] | None = None,
        scheme: str | Mapping[int, Tissue] | None = None,
        lesion_share: float = LESION_SHARE,
    ) -> None:
        MapTransform.__init__(self, labels_key, allow_missing_keys=True)
        RandomizableTransform.__init__(self, 1.0)
        require_contrasts(shares or ())
        if not 0 <= lesion_share <= 1:
            raise DataError(f"lesion_share is {lesion_share}; use a probability from 0 to 1")
        self.labels_key = labels_key
        self.image_key = image_key
        self.contrast_key = contrast_key
        self.spacing = spacing
        self.shares = shares
        self.scheme = scheme
        self.lesion_share = lesion_share

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Synthesise one case.

        Args:
            data: The case.

        Returns:
            The case with an image.
        """
        result = dict(data)
        if result.get(self.labels_key) is None:
            return result
        volume = result[self.labels_key]
        labels = torch.as_tensor(volume)[0].as_subclass(Tensor)
        synthesis = sample_synthesis(
            _present(labels),
            self.R,
            self.shares,
            scheme=self.scheme,
            lesion_share=self.lesion_share,
        )
        image = synthesize(labels, synthesis, self.spacing or _spacing(volume))
        if isinstance(volume, MetaTensor):
            image = MetaTensor(image, affine=volume.affine)
        result[self.image_key] = image
        result[self.contrast_key] = synthesis.contrast
        return result


def _present(labels: Tensor) -> list[int]:
    """The labels that occur, in order."""
    counts: Tensor = torch.bincount(_whole_numbers(labels).flatten())
    return [int(number) for number in counts.nonzero().flatten()]


def _spacing(volume: Any) -> Spacing:
    """Voxel edges of a volume in mm; 1 if it does not know them."""
    if not isinstance(volume, MetaTensor):
        return (1.0, 1.0, 1.0)
    edges = np.linalg.norm(np.asarray(volume.affine)[:3, :3], axis=0)
    return (float(edges[0]), float(edges[1]), float(edges[2]))
