"""Shifts of CT: dose, kernel, calibration and contrast phase; the grid stays.

The models are simple on purpose, and are not a scanner's: noise has a texture but not that of one
reconstruction, kernels act within the slice, and the contrast phase scales what lies between soft
tissue and bone.
"""

import numpy as np
import torch
from monai.transforms import GaussianSmooth
from numpy.typing import NDArray

from volseg.data.scan import Scan
from volseg.evaluation.shifts.shift import as_array, as_tensor, edges, slice_axis

TEXTURE = 0.6
"""Standard deviation of the Gaussian that gives noise its grain, in mm."""

KERNEL = 0.8
"""Standard deviation of the Gaussian whose complement a sharp kernel lifts, in mm."""

TISSUE, ENHANCED, BONE = 50.0, 300.0, 500.0
"""In HU: soft tissue without contrast agent, the brightest that is sure to be agent, and bone."""


def noise(scan: Scan, deviation: float, seed: int) -> Scan:
    """Add the noise of a lower dose.

    Args:
        scan: The scan, in HU.
        deviation: Standard deviation of what is added, in HU.
        seed: Of the noise.

    Returns:
        The noisy scan.
    """
    generator = torch.Generator().manual_seed(seed)
    white = torch.randn(scan.values.shape, generator=generator).numpy()
    grain = _smooth(Scan(white, scan.affine), TEXTURE)
    return _with(scan, scan.values + grain * (deviation / float(grain.std())))


def smooth_kernel(scan: Scan, millimetres: float) -> Scan:
    """Reconstruct with a softer kernel.

    Args:
        scan: The scan.
        millimetres: Standard deviation of the Gaussian within the slice.

    Returns:
        The smoother scan.
    """
    return _with(scan, _smooth(scan, millimetres))


def sharp_kernel(scan: Scan, amount: float) -> Scan:
    """Reconstruct with a sharper kernel, which lifts edges and noise alike.

    Args:
        scan: The scan.
        amount: How often the fine detail is added again.

    Returns:
        The sharper scan.
    """
    return _with(scan, scan.values + amount * (scan.values - _smooth(scan, KERNEL)))


def offset(scan: Scan, units: float) -> Scan:
    """Miscalibrate the scale.

    Args:
        scan: The scan.
        units: What is added, in HU.

    Returns:
        The scan on another scale.
    """
    return _with(scan, scan.values + units)


def contrast_phase(scan: Scan, share: float) -> Scan:
    """Give more or less contrast agent: what is brighter than soft tissue changes.

    Args:
        scan: The scan, in HU.
        share: Relative change of the enhancement, above -1; it fades out towards bone.

    Returns:
        The scan in another phase.
    """
    values = scan.values.astype(np.float32)
    fading = np.clip((BONE - values) / (BONE - ENHANCED), 0, 1)
    enhancement = np.clip(values - TISSUE, 0, None)
    return _with(scan, values + share * enhancement * fading)


def _smooth(scan: Scan, millimetres: float) -> NDArray[np.float32]:
    """Smooth within the slice."""
    across = slice_axis(scan.affine)
    sigmas = [millimetres / edge for edge in edges(scan.affine)]
    sigmas[across] = 0.0
    return as_array(GaussianSmooth(sigma=sigmas, approx="erf")(as_tensor(scan.values)))


def _with(scan: Scan, values: NDArray[np.floating]) -> Scan:
    return Scan(values.astype(np.float32), scan.affine)
