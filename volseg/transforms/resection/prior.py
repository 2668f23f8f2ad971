"""How often what is simulated: modes, stages, sites and the law of volumes."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from volseg.errors import DataError
from volseg.transforms.anatomy.maps import Lobe
from volseg.transforms.resection.cavity import MODES, RESECTOR, STAGES

LOG_MEAN = 9.636
"""Mean of the logarithm of the volumes in mm3 of the 133 labelled cavities of EPISURG."""

LOG_SPREAD = 1.055
"""Its standard deviation."""

MODE_WEIGHTS = {
    "lesionectomy": 0.35,
    "temporal_lobectomy": 0.25,
    "lobectomy": 0.12,
    "amygdalohippocampectomy": 0.05,
    "tumour": 0.35,
    "infratentorial": 0.04,
    "tract": 0.04,
    "two_cavities": 0.05,
    "none": 0.10,
    "flap_only": 0.05,
}
"""``tumour`` counts only where there is a tumour to follow."""

STAGE_WEIGHTS = {"intraoperative": 0.07, "early": 0.18, "subacute": 0.2, "chronic": 0.55}
"""Without ``unknown``, which is for training only."""

SITES = {
    "uniform": {},
    "epilepsy": {
        Lobe.TEMPORAL: 0.81,
        Lobe.FRONTAL: 0.13,
        Lobe.PARIETAL: 0.04,
        Lobe.OCCIPITAL: 0.02,
    },
    "tumour": {Lobe.FRONTAL: 0.42, Lobe.TEMPORAL: 0.28, Lobe.PARIETAL: 0.21, Lobe.OCCIPITAL: 0.09},
}
"""Lobes of the lesions; ``uniform``: every voxel of cortex is as likely."""


@dataclass(frozen=True)
class Prior:
    """How often what is simulated.

    Args:
        modes: Weight of each mode; those that are not named have none.
        stages: Weight of each stage.
        sites: ``uniform``, ``epilepsy`` or ``tumour``.
        small_share: Share of the volumes that are drawn log-uniformly, so that small cavities are
            seen more often than in EPISURG.
        min_ml: Smallest volume, in mL.
        max_ml: Largest volume, in mL.
        compat: ``resector`` draws by that simulator's law, whatever else is said here: always one
            cavity; empty for volseg's own.
        compat_share: Share of the draws that follow resector's law where ``compat`` is empty.
        compat_rich: Probability of resector's clot, and of its lesion of white matter, each.
        compat_smooth: Probability that its texture is blurred, which resector's is not.
    """

    modes: Mapping[str, float] = field(default_factory=lambda: dict(MODE_WEIGHTS))
    stages: Mapping[str, float] = field(default_factory=lambda: dict(STAGE_WEIGHTS))
    sites: str = "uniform"
    small_share: float = 0.3
    min_ml: float = 0.3
    max_ml: float = 142.0
    compat: str = ""
    compat_share: float = 0.0
    compat_rich: float = 0.0
    compat_smooth: float = 0.0

    def __post_init__(self) -> None:
        """Refuse unknown names and weights that cannot be drawn from."""
        for what, weights, known in (("mode", self.modes, MODES), ("stage", self.stages, STAGES)):
            unknown = sorted(set(weights) - set(known))
            if unknown:
                raise DataError(f"{what} {unknown[0]!r} is not known; use {', '.join(known)}")
            if min(weights.values(), default=0) < 0 or sum(weights.values()) <= 0:
                raise DataError(f"{what}s have the weights {dict(weights)}; use some above 0")
        if self.sites not in SITES:
            raise DataError(f"sites are {self.sites!r}; use {', '.join(SITES)}")
        if self.compat not in ("", RESECTOR):
            raise DataError(f"compat is {self.compat!r}; use {RESECTOR!r}, or leave it empty")
        self._check_shares()
        if not 0 < self.min_ml <= self.max_ml or not 0 <= self.small_share <= 1:
            raise DataError(
                f"volumes reach from {self.min_ml} to {self.max_ml} mL with a share of"
                f" {self.small_share} small ones; use 0 < min_ml <= max_ml and a share in 0 to 1"
            )

    def _check_shares(self) -> None:
        for name in ("compat_share", "compat_rich", "compat_smooth"):
            if not 0 <= getattr(self, name) <= 1:
                raise DataError(f"{name} is {getattr(self, name)}; use a probability from 0 to 1")

    def draw_mode(self, random: np.random.RandomState, *, has_tumour: bool) -> str:
        """Draw what is done.

        Args:
            random: Source of the draw.
            has_tumour: Whether there is a tumour to follow.

        Returns:
            One of `MODES`; ``none`` if nothing but a tumour may be followed and there is none.
        """
        weights = dict(self.modes)
        if not has_tumour:
            weights.pop("tumour", None)
        return _draw(weights, random) or "none"

    def draw_stage(self, random: np.random.RandomState) -> str:
        """Draw how long ago it was done.

        Args:
            random: Source of the draw.

        Returns:
            One of `STAGES`.
        """
        return _draw(self.stages, random)

    def draw_volume(self, random: np.random.RandomState) -> float:
        """Draw a volume.

        Args:
            random: Source of the draw.

        Returns:
            In mL.
        """
        is_small = random.uniform() < self.small_share
        common = float(random.lognormal(LOG_MEAN, LOG_SPREAD)) / 1000
        low, high = np.log([self.min_ml, self.max_ml])
        volume = float(np.exp(random.uniform(low, high))) if is_small else common
        return min(max(volume, self.min_ml), self.max_ml)

    def draw_lobe(self, random: np.random.RandomState) -> int:
        """Draw where a lesion lies.

        Args:
            random: Source of the draw.

        Returns:
            A `Lobe`; 0: anywhere.
        """
        weights = SITES[self.sites]
        names = {str(int(lobe)): weight for lobe, weight in weights.items()}
        return int(_draw(names, random) or 0)


def _draw(weights: Mapping[str, float], random: np.random.RandomState) -> str:
    """Draw a name by its weight; empty if nothing has any."""
    names = sorted(weights)
    ends = np.cumsum([weights[name] for name in names])
    place = random.uniform()
    if len(ends) == 0 or ends[-1] <= 0:
        return ""
    return names[int(np.searchsorted(ends, place * ends[-1], side="right"))]
