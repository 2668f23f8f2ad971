"""Whether what a network calls a resection cavity can be one, and what is done about it.

A network that has learned from operated brains tends to find a cavity in every brain. So each
connected part of the answer is weighed: its *evidence* is its volume times how far its mean
probability lies above one half, ``volume x (2 confidence - 1)``, in mL. A certain part counts with
its whole volume, one that hangs in the balance with nothing. What lies on both sides alike is wide
fluid, however certain. Everything that is changed is said.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from volseg.data.geometry import Grid
from volseg.errors import BundleError, DataError
from volseg.inference.cavity_parts import Chances, Part, find_parts
from volseg.inference.outline import Outline
from volseg.inference.twins import ALIKE

STAGES = ("preop", "postop", "auto")
"""What is known of the patient: not operated yet, operated, or unknown."""

EPISURG_ML = (0.84, 83.8)
"""First and 99th percentile of the labelled cavities of EPISURG (Perez-Garcia et al. 2021)."""

SHOWN = 5
"""Parts that a line names one by one."""

Labels = NDArray[np.integer]


@dataclass(frozen=True)
class Evidence:
    """What a guard may look at.

    Args:
        labels: Label of each voxel of the image's own grid.
        grid: That grid.
        probabilities: Of each class on the network's grid, ``(K, X, Y, Z)``.
        image: What the network saw, ``(C, X, Y, Z)``.
        affine: From the voxel indices of the network's grid to RAS mm, ``(4, 4)``.
    """

    labels: Labels
    grid: Grid
    probabilities: Tensor
    image: Tensor
    affine: NDArray[np.float64]


@dataclass(frozen=True)
class Verdict:
    """What a guard says.

    Args:
        labels: Label of each voxel after what was removed.
        findings: Everything that was measured, as plain values; ``summary`` is one line.
        warnings: What a person should look at.
    """

    labels: Labels
    findings: Mapping[str, Any]
    warnings: Sequence[str] = ()


class Guard(Protocol):
    """Judges a label map before it is written."""

    def judge(self, evidence: Evidence) -> Verdict:
        """Judge a label map.

        Args:
            evidence: The label map and what led to it.

        Returns:
            The label map to write, what was found and what was done.
        """


@dataclass(frozen=True)
class CavityGuard:
    """Judges a resection cavity by its volume, its site and the network's own confidence.

    Args:
        stage: ``preop``: any cavity is implausible, and the mask is written empty. ``postop``:
            nothing is removed, and an empty mask is warned of. ``auto``: parts with less evidence
            than ``least_ml`` are removed, and those that lie on both sides alike. What is removed
            is always named.
        usual_ml: Volumes between which most cavities lie, in mL.
        least_ml: Evidence that a part needs to be kept under ``auto``, in mL.
        convincing_ml: Evidence that the largest part needs, in mL, or else the scan looks like one
            from before surgery.
        value: Label value of the cavity.
        alike: Share of a part that must be marked on the other side as well for it to be taken for
            fluid; above 1: never.

    Raises:
        BundleError: If the stage is unknown or the limits are not in order.
    """

    stage: str = "auto"
    usual_ml: Sequence[float] = EPISURG_ML
    least_ml: float = 0.3
    convincing_ml: float = 0.6
    value: int = 1
    alike: float = ALIKE

    def __post_init__(self) -> None:
        """Refuse limits that mean nothing."""
        if self.stage not in STAGES:
            raise BundleError(f"stage is {self.stage!r}; use one of {', '.join(STAGES)}")
        if not self.alike > 0:
            raise BundleError(
                f"alike is {self.alike}; use a share above 0, or above 1 to take nothing for fluid"
            )
        low, high = self.usual_ml
        if not (0 <= self.least_ml <= self.convincing_ml and 0 <= low < high):
            raise BundleError(
                f"limits are least {self.least_ml}, convincing {self.convincing_ml}, usual"
                f" {list(self.usual_ml)} mL; each must be at least 0 and the one before"
            )

    def judge(self, evidence: Evidence) -> Verdict:
        """Judge the cavity of a label map.

        Args:
            evidence: The label map and what led to it.

        Returns:
            The label map to write, what was found and what was done.
        """
        numbers, parts = self._find_parts(evidence)
        kept = [self._keeps(part) for part in parts]
        labels = evidence.labels
        if not all(kept):
            labels = labels.copy()
            gone = np.flatnonzero(np.logical_not(kept)) + 1
            labels[np.isin(numbers, gone)] = 0
        judged = [replace(part, is_kept=is_kept) for part, is_kept in zip(parts, kept, strict=True)]
        judged.sort(key=lambda part: -part.ml)
        return Verdict(labels, self._describe(judged), self._warn(judged))

    def looks_preoperative(self, parts: Sequence[Part]) -> bool:
        """Tell whether the evidence for a cavity is too weak to call a scan postoperative.

        Args:
            parts: What was found.

        Returns:
            Whether no part that lies on one side has evidence of ``convincing_ml``.
        """
        sure = (part.evidence_ml for part in parts if not part.has_twin)
        return max(sure, default=0.0) < self.convincing_ml

    def _find_parts(self, evidence: Evidence) -> tuple[NDArray[Any], list[Part]]:
        marked = evidence.labels == self.value
        if not marked.any():
            return marked.astype(np.int32), []
        chance = evidence.probabilities[self.value].float().cpu().numpy()
        outline = _outline(evidence, chance)
        chances = Chances(chance, evidence.affine)
        return find_parts(marked, evidence.grid.matrix(), chances, outline, self.alike)

    def _keeps(self, part: Part) -> bool:
        if self.stage == "auto":
            return part.evidence_ml >= self.least_ml and not part.has_twin
        return self.stage == "postop"

    def _describe(self, parts: Sequence[Part]) -> dict[str, Any]:
        kept = [part for part in parts if part.is_kept]
        total = sum(part.ml for part in kept)
        removed = sum(part.ml for part in parts if not part.is_kept)
        return {
            "stage": self.stage,
            "cavity_ml": round(total, 4),
            "removed_ml": round(removed, 4),
            "is_usual_volume": not self._warn_of_volume(total),
            "looks_preoperative": self.looks_preoperative(parts),
            "parts": [part.to_json() for part in parts],
            "summary": _summarise(kept),
        }

    def _warn(self, parts: Sequence[Part]) -> list[str]:
        kept = [part for part in parts if part.is_kept]
        return [
            *self._warn_of_removal([part for part in parts if not part.is_kept]),
            *self._warn_of_stage(parts, is_empty=not kept),
            *self._warn_of_volume(sum(part.ml for part in kept)),
            *(f"a part of {part} {odd}" for part in kept if (odd := part.oddity)),
        ]

    def _warn_of_removal(self, gone: Sequence[Part]) -> list[str]:
        if self.stage == "preop":
            return _removal(gone, "implausible before surgery; the mask is empty")
        alone = [part for part in gone if not part.has_twin]
        return [
            *_removal(alone, f"their evidence is below {self.least_ml:g} mL each"),
            *_removal(
                [part for part in gone if part.has_twin],
                "they lie on both sides alike, as wide fluid does; --stage postop keeps them",
            ),
        ]

    def _warn_of_stage(self, parts: Sequence[Part], *, is_empty: bool) -> list[str]:
        if self.stage == "preop" or not self.looks_preoperative(parts):
            return []
        found = f"largest part {parts[0]}" if parts else "no cavity was found"
        if self.stage == "postop" and is_empty:
            return [f"{found}, though the scan is said to be postoperative"]
        return [f"looks like a preoperative scan: {found}"]

    def _warn_of_volume(self, total: float) -> list[str]:
        low, high = self.usual_ml
        if total == 0 or low <= total <= high:
            return []
        return [f"cavity of {total:.2f} mL is outside the usual range of {low:g} to {high:g} mL"]


def _outline(evidence: Evidence, chance: NDArray[np.floating]) -> Outline | None:
    """Outline the brain; `None` if the image shows none, as one of another organ."""
    try:
        return Outline.of(evidence.image[0].cpu(), chance > 0.5, evidence.affine)
    except DataError:
        return None


def _removal(gone: Sequence[Part], why: str) -> list[str]:
    """Name what was removed, and why."""
    if not gone:
        return []
    sizes = ", ".join(f"{part.ml:.2f}" for part in gone[:SHOWN])
    more = f" and {len(gone) - SHOWN} more" if gone[SHOWN:] else ""
    total = sum(part.ml for part in gone)
    return [f"removed {total:.2f} mL of cavity (parts of {sizes}{more} mL): {why}"]


def _summarise(parts: Sequence[Part]) -> str:
    if not parts:
        return "no cavity"
    shown = "; ".join(str(part) for part in parts[:SHOWN])
    more = f"; {len(parts) - SHOWN} more" if parts[SHOWN:] else ""
    noun = "cavity" if len(parts) == 1 else f"{len(parts)} parts of a cavity:"
    return f"{noun} {shown}{more}"
