"""What is drawn for a scan: its resolution, coil, motion, noise and display."""

from dataclasses import dataclass
from math import exp
from typing import Any

import numpy as np

from volseg.types import Spacing


@dataclass(frozen=True)
class AcquisitionRanges:
    """How often a scanner does what, and how strongly.

    Args:
        slices: Probability of thick slices along one axis.
        thickness: Thinnest and thickest of them, in mm.
        soft: Probability of a coarser resolution along the other axes.
        resolution: Coarsest of it, in mm.
        bias: Probability of a bias field.
        bias_strength: Largest standard deviation of its logarithm.
        motion: Probability of motion.
        ghosts: Probability of ghosts.
        spike: Probability of a spike in k-space.
        noise: Probability of noise.
        noise_strength: Largest standard deviation of it, in those of the patch.
        gamma: Probability of a display's curve.
        gamma_strength: Largest logarithm of its exponent.
    """

    slices: float = 0.4
    thickness: tuple[float, float] = (2.0, 6.5)
    soft: float = 0.35
    resolution: float = 2.5
    bias: float = 0.6
    bias_strength: float = 0.3
    motion: float = 0.08
    ghosts: float = 0.08
    spike: float = 0.04
    noise: float = 0.7
    noise_strength: float = 0.2
    gamma: float = 0.5
    gamma_strength: float = 0.4


@dataclass(frozen=True)
class Acquisition:
    """What was drawn for one patch.

    Args:
        resolution: Full width of what one sample sees along each axis, in mm; 0: all is kept.
        phase: Where the first sample lies along each axis, as a part of a sample.
        bias: Standard deviation of the bias field's logarithm; 0: none.
        motion_axis: Axis of the phase encoding.
        motion: Displacement of the patient, in mm, for a share of the lines; 0: none.
        motion_share: That share, counted from the spectrum's outer end.
        ghosts: Number of ghosts along the axis of the phase encoding; 0: none.
        ghost_strength: Their brightness, as a part of the patch.
        spike: Amplitude of a spike in standard deviations of the patch; 0: none.
        wave: Waves of the spike across the patch along each axis.
        noise: Standard deviation of the noise in those of the patch; 0: none.
        is_rician: Whether the noise is that of a magnitude image.
        gamma: Exponent of the display's curve.
        seed: Seed of bias field and noise.
    """

    resolution: Spacing = (0.0, 0.0, 0.0)
    phase: Spacing = (0.5, 0.5, 0.5)
    bias: float = 0.0
    motion_axis: int = 0
    motion: float = 0.0
    motion_share: float = 0.0
    ghosts: int = 0
    ghost_strength: float = 0.0
    spike: float = 0.0
    wave: tuple[int, int, int] = (0, 0, 0)
    noise: float = 0.0
    is_rician: bool = False
    gamma: float = 1.0
    seed: int = 0


def sample_acquisition(
    random: np.random.RandomState, ranges: AcquisitionRanges | None = None
) -> Acquisition:
    """Draw an acquisition.

    Args:
        random: Source of randomness.
        ranges: How often a scanner does what; `None`: the defaults.

    Returns:
        The draw.
    """
    law = ranges or AcquisitionRanges()
    happens = random.uniform(size=7)
    amount = random.uniform(size=12)
    axis, motion_axis = (int(each) for each in random.randint(3, size=2))
    resolution = [0.0, 0.0, 0.0]
    if happens[0] < law.soft:
        width = law.resolution * float(amount[0])
        resolution = [width, width, width]
    if happens[1] < law.slices:
        thin, thick = law.thickness
        resolution[axis] = thin + (thick - thin) * float(amount[1])
    return Acquisition(
        resolution=(resolution[0], resolution[1], resolution[2]),
        phase=(float(amount[2]), float(amount[3]), float(amount[4])),
        bias=law.bias_strength * float(amount[5]) if happens[2] < law.bias else 0.0,
        motion_axis=motion_axis,
        motion=1 + 4 * float(amount[6]) if happens[3] < law.motion else 0.0,
        motion_share=0.3 + 0.4 * float(amount[7]),
        ghosts=int(random.randint(2, 6)) if happens[4] < law.ghosts else 0,
        ghost_strength=0.03 + 0.12 * float(amount[8]),
        spike=0.1 + 0.4 * float(amount[9]) if happens[5] < law.spike else 0.0,
        wave=_triple(random.randint(-20, 21, size=3)),
        noise=law.noise_strength * float(amount[10]) if happens[6] < law.noise else 0.0,
        is_rician=bool(random.uniform() < 0.5),
        gamma=exp(law.gamma_strength * (2 * float(amount[11]) - 1))
        if random.uniform() < law.gamma
        else 1.0,
        seed=int(random.randint(2**31)),
    )


def _triple(values: Any) -> tuple[int, int, int]:
    return int(values[0]), int(values[1]), int(values[2])
