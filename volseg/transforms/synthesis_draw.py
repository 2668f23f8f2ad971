"""What is drawn for an image of random contrast.

The idea is that of SynthSeg (Billot et al. 2023, https://doi.org/10.1016/j.media.2023.102789):
every label gets a random brightness, so that a network learns shapes and not a contrast. We depart
from it in drawing most contrasts near real ones, in textures and bias fields of each tissue, and in
lesions that are not cavities. Noise, slices and bias of a scanner are the business of
`volseg.transforms.acquisition`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import exp
from typing import Any, Self

import numpy as np

from volseg.transforms.anatomy.maps import Tissue
from volseg.transforms.contrast_priors import DEFAULT_SHARES, draw_kind_means, require_contrasts
from volseg.transforms.distractors import Lesion, draw_lesions
from volseg.transforms.label_kinds import BRAIN, Kind, Look, read_labels

LESION_SHARE = 0.2
"""How often a head has lesions that are not cavities."""

ASYMMETRIC_SHARE = 0.05
"""How often left and right differ, by a few percent."""


@dataclass(frozen=True)
class Synthesis:
    """All that was drawn for one synthetic image.

    Args:
        contrast: The real contrast whose order of tissues it keeps, or ``unknown``.
        kinds: `Kind` of each label.
        means: Brightness of each label.
        deviations: Standard deviation of the grain in each label.
        drifts: Standard deviation of the slow drift in each label.
        streaks: Brightness of fat and its share, for each label that is streaked with it.
        blur: Standard deviation of the point spread, in mm.
        noise: Standard deviation of the noise that is not blurred.
        lesions: Lesions that are not cavities.
        view: ``head``; ``brain`` and its fluid as a skull stripper leaves it; ``tissue``: no
            outer fluid either.
        margins: What remains around the brain before the first and behind the last voxel along
            each axis, in mm; negative: everything.
        seed: Seed of grain, drift and streaks.
    """

    contrast: str
    kinds: Mapping[int, str]
    means: Mapping[int, float]
    deviations: Mapping[int, float]
    drifts: Mapping[int, float]
    streaks: Mapping[int, tuple[float, float]]
    blur: float
    noise: float
    lesions: tuple[Lesion, ...]
    view: str
    margins: tuple[float, ...]
    seed: int

    def as_dict(self) -> dict[str, Any]:
        """Give everything as JSON can hold it."""
        return {
            key: {str(k): v for k, v in value.items()} if isinstance(value, dict) else value
            for key, value in asdict(self).items()
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Undo `as_dict`, also after a journey through JSON.

        Args:
            values: What it gave.

        Returns:
            The same synthesis.
        """
        read = dict(values)
        for key in ("kinds", "means", "deviations", "drifts", "streaks"):
            read[key] = {int(k): v for k, v in values[key].items()}
        read["streaks"] = {k: tuple(v) for k, v in read["streaks"].items()}
        read["margins"] = tuple(values["margins"])
        read["lesions"] = tuple(Lesion(**each) for each in values["lesions"])
        return cls(**read)


def sample_synthesis(
    label_values: Sequence[int],
    random: np.random.RandomState,
    shares: Mapping[str, float] | None = None,
    *,
    scheme: str | Mapping[int, Tissue] | None = None,
    lesion_share: float = LESION_SHARE,
    stripped_share: float = 0.35,
) -> Synthesis:
    """Draw how a label map will look.

    Left and right labels of a structure look alike, save for one draw in twenty in which they
    differ by a few percent.

    Args:
        label_values: The labels of the map.
        random: Source of randomness.
        shares: How often each contrast is drawn; `None`: `DEFAULT_SHARES`. A contrast that is not
            known is refused as a `DataError`.
        scheme: What the labels' numbers mean, as in `read_labels`.
        lesion_share: Probability of lesions that are not cavities.
        stripped_share: Probability that nothing outside the brain remains.

    Returns:
        The draw.
    """
    shares = DEFAULT_SHARES if shares is None else shares
    require_contrasts(shares)
    weights = np.asarray(list(shares.values()), dtype=np.float64)
    contrast = list(shares)[int(random.choice(len(weights), p=weights / weights.sum()))]
    kinds = draw_kind_means(contrast, random)
    tissues = _draw_labels(read_labels(label_values, scheme), kinds, contrast, random)
    has_lesions = random.uniform() < lesion_share
    lesions = draw_lesions(contrast, kinds, random) if has_lesions else ()
    is_stripped = random.uniform() < stripped_share
    stripped_view = "brain" if random.uniform() < 0.75 else "tissue"
    is_cut = random.uniform(size=6) < 0.2
    margins = np.where(is_cut, random.uniform(0, 50, size=6), -1.0)
    return replace(
        tissues,
        lesions=lesions,
        view=stripped_view if is_stripped else "head",
        margins=tuple(margins.tolist()),
        blur=float(random.uniform(0.3, 1.1)),
        noise=float(abs(random.normal(0, 0.015))),
        seed=int(random.randint(2**31)),
    )


def _draw_labels(
    looks: Mapping[int, Look],
    brightness: Mapping[Kind, float],
    contrast: str,
    random: np.random.RandomState,
) -> Synthesis:
    """Draw brightness and texture of every label."""
    groups: dict[str, tuple[float, float, float]] = {}
    means, deviations, drifts, streaks = {}, {}, {}, {}
    asymmetry = 0.03 if random.uniform() < ASYMMETRIC_SHARE else 0.0
    grain = float(random.uniform(0.005, 0.03))
    for value, (kind, group) in sorted(looks.items()):
        if group not in groups:
            jitter = exp(random.normal(0, _spread(kind, contrast)))
            deviation = grain * _roughness(kind) * float(random.uniform(0.5, 1.5))
            groups[group] = (brightness[kind] * jitter, deviation, float(random.uniform(0, 0.04)))
        mean, deviation, drift = groups[group]
        means[value] = mean * (1 + asymmetry * float(random.normal()))
        deviations[value] = deviation
        drifts[value] = drift * means[value]
        if kind is Kind.SOFT:
            streaks[value] = (brightness[Kind.FAT], float(random.uniform(0.2, 0.6)))
    kinds = {value: look.kind.value for value, look in looks.items()}
    return Synthesis(
        contrast, kinds, means, deviations, drifts, streaks, 0.0, 0.0, (), "head", (-1.0,) * 6, 0
    )


def _spread(kind: Kind, contrast: str) -> float:
    """How far the labels of a kind differ, as the spread of a logarithm."""
    if kind in (Kind.FLUID, Kind.VENTRICLE, Kind.AIR):
        return 0.02
    return 0.1 if contrast == "unknown" else 0.04


def _roughness(kind: Kind) -> float:
    """How grainy a kind is, compared with the brain."""
    if kind is Kind.AIR:
        return 0.3
    return 1.0 if kind in BRAIN or kind in (Kind.FLUID, Kind.VENTRICLE) else 3.0
