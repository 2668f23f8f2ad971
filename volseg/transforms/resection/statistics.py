"""What a channel's tissues look like, robustly: the scale to which a resection is painted.

MRI has no unit, so that every intensity of a simulated cavity is said relative to the fluid, the
grey and the white matter of the channel itself, and its texture relative to the noise of the
channel's own ventricles: its spread and its correlation between neighbours along each axis.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from volseg.transforms.anatomy.maps import Anatomy, Tissue

Lags = tuple[float, float, float]
"""Correlation between neighbours along each axis."""

Level = tuple[float, float]
"""Median and robust standard deviation."""

MAD_TO_DEVIATION = 1.4826
"""From the median absolute deviation to the standard deviation of a normal law."""

MINIMUM_VOXELS = 40
"""Fewer voxels than this say nothing about a tissue."""

THIN_VOXELS = 600_000
"""Larger volumes are read every second or third voxel along each axis."""

DEEP_VOXELS = 1000
"""As many suffice to measure the texture of fluid, if they lie deep within it."""

SAMPLES = 20_000
"""A median of this many voxels is as good as one of millions."""

MAXIMUM_NOISE = 1.0
"""The spread within fluid is at most so many times that within grey or white matter, or else its
voxels were not all fluid."""

FAR_STEP = 3
"""The slow part of a texture is what still correlates so many voxels apart."""

SLOW_CORRELATION = 0.9
"""Its own correlation at that step."""

MIXED = 1.3
"""Fluid that spreads so many times as much as its pure side is mixed with tissue."""

WHITE = (Tissue.WHITE, Tissue.CALLOSUM, Tissue.CEREBELLUM_WHITE)
GREY = (Tissue.CORTEX, Tissue.LIMBIC, Tissue.DEEP, Tissue.CEREBELLUM_CORTEX)


@dataclass(frozen=True)
class TissueStatistics:
    """Intensities of one channel.

    Args:
        fluid: Median and robust standard deviation of the cerebrospinal fluid.
        grey: The same of the grey matter.
        white: The same of the white matter.
        low: First percentile of the volume, as of air.
        high: Its 99th percentile.
        skull: Median of the bone; the first percentile if no bone is known.
        noise: Standard deviation of the texture within the fluid.
        lag1: Correlation of that texture between neighbours along each axis.
        slow: Share of its variance that varies over many voxels, as flow and shading do.
    """

    fluid: Level
    grey: Level
    white: Level
    low: float
    high: float
    skull: float
    noise: float
    lag1: Lags
    slow: float = 0.0

    @property
    def fine_lag1(self) -> Lags:
        """Correlation between neighbours of what is not slow."""
        first, second, third = (
            min(max((each - self.slow) / (1 - self.slow), 0.0), 0.98) for each in self.lag1
        )
        return first, second, third


def measure_statistics(channel: Tensor, anatomy: Anatomy) -> TissueStatistics:
    """Measure a channel.

    Args:
        channel: Intensities, ``(D, H, W)``.
        anatomy: The maps on the same grid.

    Returns:
        Its statistics; where a tissue is absent, they are guessed from the others.
    """
    values, tissue = _thin(channel), _thin(anatomy.tissue)
    low, high = _percentiles(values)
    white, grey = _level(values, tissue, WHITE), _level(values, tissue, GREY)
    if white is None or grey is None:
        white = grey = white or grey or ((low + high) / 2, (high - low) / 6)
    core, crop = _fluid_core(channel, anatomy)
    inside = crop[core].float()
    if inside.numel() >= MINIMUM_VOXELS:
        fluid = _purest(inside, grey[0])
        noise, lag1, slow = _texture(crop, core, fluid)
        noise = min(noise, MAXIMUM_NOISE * max(white[1], grey[1]))
    else:
        fluid, noise = _guess_fluid(grey, white, low, high)
        lag1, slow = (0.5, 0.5, 0.5), 0.0
    skull = _level(values, tissue, (Tissue.SKULL,)) or (low, 0.0)
    return TissueStatistics(fluid, grey, white, low, high, skull[0], noise, lag1, slow)


def neighbour_correlation(values: Tensor, mask: Tensor, axis: int, step: int = 1) -> float:
    """Correlate neighbours along an axis.

    Args:
        values: ``(D, H, W)``.
        mask: Which voxels count; both of a pair must, ``(D, H, W)``.
        axis: 0, 1 or 2.
        step: How many voxels the neighbours are apart.

    Returns:
        Pearson's correlation; 0 where there are too few pairs to tell.
    """
    length = values.shape[axis] - step
    if length < 1:
        return 0.0
    pairs = mask.narrow(axis, 0, length) & mask.narrow(axis, step, length)
    first = values.narrow(axis, 0, length)[pairs].double()
    second = values.narrow(axis, step, length)[pairs].double()
    if first.numel() < MINIMUM_VOXELS // 2:
        return 0.0
    first, second = first - first.mean(), second - second.mean()
    scale = float((first.square().sum() * second.square().sum()).sqrt())
    return float((first * second).sum()) / scale if scale > 0 else 0.0


def _thin(volume: Tensor) -> Tensor:
    step = min(3, max(1, round((volume.numel() / THIN_VOXELS) ** (1 / 3))))
    return volume[::step, ::step, ::step].contiguous()


def _percentiles(values: Tensor) -> tuple[float, float]:
    some = values.reshape(-1)
    some = some[:: max(1, some.numel() // SAMPLES)].float()
    some = some[torch.isfinite(some)]
    low, high = torch.quantile(some, torch.tensor([0.01, 0.99]).to(some.device))
    return float(low), float(high)


def _level(values: Tensor, tissue: Tensor, kinds: tuple[Tissue, ...]) -> Level | None:
    marked = tissue == kinds[0]
    for kind in kinds[1:]:
        marked |= tissue == kind
    found = values[marked]
    return None if found.numel() < MINIMUM_VOXELS else _robust(found)


def _robust(values: Tensor) -> Level:
    some = values[:: max(1, values.numel() // SAMPLES)].float()
    median = some.median()
    deviation = MAD_TO_DEVIATION * (some - median).abs().median()
    return float(median), float(deviation)


def _purest(values: Tensor, tissue: float) -> Level:
    """Find centre and spread of fluid, even if partial volume draws it towards the tissue's level.

    If it does, the centre is that of the shortest interval that holds half of the voxels, and the
    spread is measured on the side away from the tissue.
    """
    plain = _robust(values)
    some = values[:: max(1, values.numel() // SAMPLES)].float().sort().values
    half = some.numel() // 2
    first = int((some[half:] - some[: some.numel() - half]).argmin())
    centre = float(some[first : first + half + 1].median())
    away = some - centre
    away = away[away <= 0] if tissue > centre else away[away >= 0]
    spread = MAD_TO_DEVIATION * float(away.abs().median())
    return (centre, spread) if plain[1] > MIXED * spread else plain


def _fluid_core(channel: Tensor, anatomy: Anatomy) -> tuple[Tensor, Tensor]:
    """Find the voxels that are surely fluid, in the box that holds them."""
    for kind in (Tissue.VENTRICLE, Tissue.FLUID):
        window = _bounding(anatomy.tissue, kind)
        if window is None:
            continue
        mask = anatomy.tissue[window] == kind
        if kind == Tissue.FLUID:
            mask &= anatomy.depth[window] > 0
        if int(mask.sum()) >= MINIMUM_VOXELS:
            return deepest(mask), channel[window]
    empty = channel[:1, :1, :1]
    return torch.zeros_like(empty, dtype=torch.bool), empty


def deepest(mask: Tensor) -> Tensor:
    """Go inward for as long as enough is left: walls, plexus and septum are not fluid.

    Args:
        mask: ``(D, H, W)``, bool.

    Returns:
        Its core, ``(D, H, W)``, bool.
    """
    for enough in (MINIMUM_VOXELS, DEEP_VOXELS, DEEP_VOXELS):
        core = erode(mask)
        if int(core.sum()) < enough:
            break
        mask = core
    return mask


def _bounding(tissue: Tensor, kind: Tissue) -> tuple[slice, slice, slice] | None:
    step = 2 if tissue.numel() > 500_000 else 1
    found = tissue[::step, ::step, ::step] == kind
    spans = []
    for axis in range(3):
        others = tuple(each for each in range(3) if each != axis)
        line = found.amax(dim=others).nonzero().flatten() * step
        if not len(line):
            return None
        spans.append(slice(max(0, int(line[0]) - 2), int(line[-1]) + 3))
    return spans[0], spans[1], spans[2]


def erode(mask: Tensor) -> Tensor:
    """Keep the voxels whose six neighbours are marked too.

    Args:
        mask: ``(D, H, W)``, bool.

    Returns:
        The core, ``(D, H, W)``, bool; what lies beyond the grid counts as not marked.
    """
    core = mask.clone()
    for axis in range(3):
        length = mask.shape[axis] - 1
        core.narrow(axis, 0, length).logical_and_(mask.narrow(axis, 1, length))
        core.narrow(axis, 1, length).logical_and_(mask.narrow(axis, 0, length))
        core.narrow(axis, 0, 1).fill_(False)  # noqa: FBT003 a value, not a flag
        core.narrow(axis, length, 1).fill_(False)  # noqa: FBT003 a value, not a flag
    return core


def _texture(crop: Tensor, core: Tensor, fluid: Level) -> tuple[float, Lags, float]:
    """Measure spread and correlation, without plexus, vessels and the walls."""
    values = crop.float()
    median, deviation = fluid
    calm = core & ((values - median).abs() <= 3 * deviation)
    lags = [neighbour_correlation(values, calm, axis) for axis in range(3)]
    far = [neighbour_correlation(values, calm, axis, FAR_STEP) for axis in range(3)]
    noise = float(values[calm].std()) if int(calm.sum()) > 1 else 0.0
    noise = min(noise, 1.2 * deviation) if deviation > 0 else noise
    slow = min(_slow_share(sum(lags) / 3, sum(far) / 3), max(min(lags), 0.0))
    return noise, (lags[0], lags[1], lags[2]), slow


def _slow_share(near: float, far: float) -> float:
    """Part a texture into a slow one and a fine one that Gaussian filtering explains.

    A Gaussian filter that gives neighbours the correlation ``r`` gives ``r ** 9`` three voxels
    apart; what correlates more than that varies slowly, with `SLOW_CORRELATION` at that step.
    """
    share = 0.0
    for _ in range(20):
        fine = min(max((near - share) / (1 - share), 0.0), 1.0)
        share = (far - (1 - share) * fine ** (FAR_STEP**2)) / SLOW_CORRELATION
        share = min(max(share, 0.0), max(near, 0.0), 0.95)
    return share


def _guess_fluid(grey: Level, white: Level, low: float, high: float) -> tuple[Level, float]:
    """Continue the way from white to grey matter as far again, within the volume's range."""
    median = min(max(2 * grey[0] - white[0], low), high)
    noise = min(grey[1], white[1]) / 2
    return (median, noise), noise
