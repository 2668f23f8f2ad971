"""How bright tissues are on each MRI contrast, and contrasts that no scanner has.

Domain randomisation (Billot et al. 2023, https://doi.org/10.1016/j.media.2023.102789) draws every
label's mean afresh, so that a network cannot rely on any contrast. We depart from it in that most
draws keep the order of tissues of T1, T2, FLAIR or proton density, whose ranges stand below in
units of the brightest tissue of the brain: what is bright on a real scan is worth learning too.
"""

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

import numpy as np

from volseg.errors import DataError
from volseg.transforms.label_kinds import Kind

CONTRASTS = ("T1", "T1c", "T2", "FLAIR", "PD")

Range = tuple[float, float]

RANGES: Mapping[Kind, tuple[Range, Range, Range, Range, Range]] = {
    Kind.AIR: ((0, 0.02), (0, 0.02), (0, 0.02), (0, 0.02), (0, 0.02)),
    Kind.WHITE: ((0.80, 1.0), (0.72, 0.92), (0.28, 0.42), (0.52, 0.62), (0.60, 0.72)),
    Kind.GREY: ((0.50, 0.70), (0.48, 0.64), (0.46, 0.62), (0.63, 0.75), (0.74, 0.90)),
    Kind.DEEP: ((0.60, 0.76), (0.54, 0.70), (0.38, 0.54), (0.56, 0.74), (0.68, 0.86)),
    Kind.PALLIDUM: ((0.72, 0.92), (0.66, 0.86), (0.18, 0.34), (0.40, 0.58), (0.52, 0.68)),
    Kind.STEM: ((0.70, 0.92), (0.64, 0.84), (0.32, 0.46), (0.48, 0.66), (0.62, 0.78)),
    Kind.FLUID: ((0.06, 0.26), (0.06, 0.26), (0.85, 1.0), (0.03, 0.22), (0.70, 1.0)),
    Kind.LESION: ((0.40, 0.74), (0.40, 0.70), (0.55, 0.85), (0.80, 1.05), (0.76, 0.98)),
    Kind.PLEXUS: ((0.36, 0.60), (0.80, 1.30), (0.60, 0.90), (0.40, 0.70), (0.60, 0.90)),
    Kind.ARTERY: ((0.08, 1.10), (0.90, 1.50), (0.02, 0.20), (0.04, 0.30), (0.05, 0.40)),
    Kind.VEIN: ((0.20, 0.55), (0.90, 1.60), (0.08, 0.40), (0.20, 0.50), (0.20, 0.70)),
    Kind.NERVE: ((0.60, 0.85), (0.60, 0.85), (0.25, 0.45), (0.40, 0.65), (0.50, 0.75)),
    Kind.EYE: ((0.08, 0.28), (0.08, 0.28), (0.85, 1.05), (0.03, 0.22), (0.70, 1.0)),
    Kind.SOFT: ((0.30, 0.55), (0.32, 0.60), (0.10, 0.28), (0.20, 0.42), (0.35, 0.60)),
    Kind.FAT: ((0.85, 1.50), (0.60, 1.40), (0.30, 0.90), (0.25, 0.95), (0.55, 1.05)),
    Kind.SKIN: ((0.40, 0.90), (0.50, 1.00), (0.20, 0.55), (0.30, 0.70), (0.45, 0.80)),
    Kind.MUCOSA: ((0.40, 0.65), (0.80, 1.30), (0.55, 1.00), (0.50, 0.95), (0.60, 0.95)),
    Kind.BONE: ((0.0, 0.12), (0.0, 0.12), (0.0, 0.10), (0.0, 0.12), (0.0, 0.15)),
    Kind.MARROW: ((0.50, 1.20), (0.50, 1.20), (0.20, 0.60), (0.20, 0.65), (0.40, 0.85)),
    Kind.OTHER: ((0.0, 1.0), (0.0, 1.0), (0.0, 1.0), (0.0, 1.0), (0.0, 1.0)),
}
"""Lowest and highest mean of each kind on T1, T1 with contrast agent, T2, FLAIR and PD."""

DEFAULT_SHARES: Mapping[str, float] = MappingProxyType(
    {"T1": 0.29, "T1c": 0.15, "T2": 0.21, "FLAIR": 0.22, "PD": 0.05, "unknown": 0.08}
)
"""How often each contrast is drawn; ``unknown`` is a contrast that no scanner has."""

FOLIA_GREY = 0.75
"""Part of the cerebellar cortex of a label map that is grey; its white blades are too thin."""

LEAST_GAPS: Mapping[Kind, float] = MappingProxyType({Kind.WHITE: 0.2, Kind.GREY: 0.1})
"""On an unknown contrast fluid differs by as much from each, or its cavities would hide."""


def require_contrasts(names: Iterable[str]) -> None:
    """Refuse names of contrasts that no image is made of, such as that of CT.

    Args:
        names: Contrasts.

    Raises:
        DataError: If one is neither of `CONTRASTS` nor ``unknown``.
    """
    known = (*CONTRASTS, "unknown")
    if unknown := [name for name in names if name not in known]:
        raise DataError(f"contrast {unknown[0]!r} is not known; use {', '.join(known)}")


def draw_kind_means(contrast: str, random: np.random.RandomState) -> dict[Kind, float]:
    """Draw how bright each kind of tissue is.

    Args:
        contrast: One of `CONTRASTS`, or ``unknown`` for one that no scanner has.
        random: Source of randomness.

    Returns:
        The mean of each kind, about 0 to 1.
    """
    places = random.uniform(size=len(RANGES))
    if contrast in CONTRASTS:
        column = CONTRASTS.index(contrast)
        ranges = (each[column] for each in RANGES.values())
        means = {
            kind: low + (high - low) * float(place)
            for kind, (low, high), place in zip(RANGES, ranges, places, strict=True)
        }
        return _complete(means)
    means = dict(zip(RANGES, places.tolist(), strict=True))
    means[Kind.AIR] *= 0.05
    taken = [(means[kind] - gap, means[kind] + gap) for kind, gap in LEAST_GAPS.items()]
    means[Kind.FLUID] = _place_outside(taken, means[Kind.FLUID])
    return _complete(means)


def _place_outside(taken: Sequence[Range], place: float) -> float:
    """Spread a place in 0 to 1 over what some ranges leave free of it."""
    free, end = [], 0.0
    for low, high in sorted(taken):
        free.append((end, max(end, low)))
        end = max(end, high)
    free.append((end, max(end, 1.0)))
    rest = place * sum(high - low for low, high in free)
    for low, high in free:
        if rest <= high - low:
            return low + rest
        rest -= high - low
    return free[-1][1]


def _complete(means: dict[Kind, float]) -> dict[Kind, float]:
    """Add the kinds that follow from others: fluid is one, folia are grey about thin white."""
    folia = FOLIA_GREY * means[Kind.GREY] + (1 - FOLIA_GREY) * means[Kind.WHITE]
    return {**means, Kind.VENTRICLE: means[Kind.FLUID], Kind.FOLIA: folia}
