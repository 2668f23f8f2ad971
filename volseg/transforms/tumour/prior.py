"""How often which tumour is simulated, and the law of its volume."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from volseg.errors import DataError
from volseg.transforms.resection.prior import SITES
from volseg.transforms.tumour.tumour import KINDS

KIND_WEIGHTS = {
    "glioblastoma": 0.5,
    "low_grade": 0.2,
    "metastasis": 0.12,
    "meningioma": 0.08,
    "none": 0.1,
}
"""Of tumours of the brain."""

VOLUMES = {
    "glioblastoma": (25.0, 0.85),
    "low_grade": (30.0, 0.85),
    "metastasis": (2.0, 1.1),
    "meningioma": (12.0, 0.9),
    "mass": (60.0, 1.2),
}
"""Median volume of each kind in mL, oedema not counted, and the spread of its logarithm. Priors
from what such tumours measure when they are found; none was fitted."""


@dataclass(frozen=True)
class TumourPrior:
    """How often what is simulated.

    Args:
        kinds: Weight of each kind; those that are not named have none.
        sites: ``uniform``, ``epilepsy`` or ``tumour``: which lobes of the brain.
        infratentorial: Share of metastases that lie in the cerebellum.
        small_share: Share of the volumes that are drawn log-uniformly, so that small tumours are
            seen more often.
        min_ml: Smallest volume, in mL.
        max_ml: Largest volume, in mL.
    """

    kinds: Mapping[str, float] = field(default_factory=lambda: dict(KIND_WEIGHTS))
    sites: str = "tumour"
    infratentorial: float = 0.15
    small_share: float = 0.15
    min_ml: float = 0.3
    max_ml: float = 140.0

    def __post_init__(self) -> None:
        """Refuse unknown names and weights that cannot be drawn from."""
        unknown = sorted(set(self.kinds) - set(KINDS))
        if unknown:
            raise DataError(f"kind {unknown[0]!r} is not known; use {', '.join(KINDS)}")
        if min(self.kinds.values(), default=0) < 0 or sum(self.kinds.values()) <= 0:
            raise DataError(f"kinds have the weights {dict(self.kinds)}; use some above 0")
        if self.sites not in SITES:
            raise DataError(f"sites are {self.sites!r}; use {', '.join(SITES)}")
        if not 0 < self.min_ml <= self.max_ml or not 0 <= self.small_share <= 1:
            raise DataError(
                f"volumes reach from {self.min_ml} to {self.max_ml} mL with a share of"
                f" {self.small_share} small ones; use 0 < min_ml <= max_ml and a share in 0 to 1"
            )

    def draw_kind(self, random: np.random.RandomState) -> str:
        """Draw a kind.

        Args:
            random: Source of the draw.

        Returns:
            One of `KINDS`.
        """
        names = sorted(self.kinds)
        weights = np.array([self.kinds[name] for name in names])
        return names[int(random.choice(len(names), p=weights / weights.sum()))]

    def draw_lobe(self, random: np.random.RandomState) -> int:
        """Draw where in the cerebrum a tumour lies.

        Args:
            random: Source of the draw.

        Returns:
            A `Lobe`; 0: anywhere.
        """
        place, weights = random.uniform(), SITES[self.sites]
        if not weights:
            return 0
        lobes, ends = list(weights), np.cumsum(list(weights.values()))
        return int(lobes[int(np.searchsorted(ends, place * ends[-1], side="right"))])

    def draw_volume(self, kind: str, random: np.random.RandomState) -> float:
        """Draw a volume.

        Args:
            kind: One of `KINDS`, but ``none``.
            random: Source of the draw.

        Returns:
            In mL.
        """
        median, spread = VOLUMES[kind]
        is_small = random.uniform() < self.small_share
        common = float(median * np.exp(random.normal(0, spread)))
        rare = float(np.exp(random.uniform(np.log(self.min_ml), np.log(self.max_ml))))
        return min(max(rare if is_small else common, self.min_ml), self.max_ml)
