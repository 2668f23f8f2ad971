"""Shifts of MRI: coil, noise, contrast, motion, ghosts and ringing; the grid stays.

Bias field, Rician noise, the contrast's exponent and Gibbs ringing are MONAI's; it has neither
motion nor ghosts, which are those that volseg trains with. A seed draws one field or one noise, and
the strength only scales it, so that the steps of a ladder differ in nothing else.
"""

import numpy as np
from monai.transforms import AdjustContrast, GibbsNoise, RandBiasField, RandRicianNoise
from numpy.typing import NDArray

from volseg.data.scan import Scan
from volseg.evaluation.shifts.shift import as_array, as_tensor, edges, slice_axis
from volseg.transforms.acquisition import Acquisition, acquire

GHOSTS = 4
"""Ghosts across the field of view: one a quarter of it, as of a pulsating vessel."""

LATE = 0.8
"""Share of the spectrum's lines that are taken after the patient has moved."""


def bias(scan: Scan, coefficient: float, seed: int) -> Scan:
    """Add a bias field: the exponential of a polynomial of third degree.

    Args:
        scan: The scan.
        coefficient: Largest size of the polynomial's coefficients.
        seed: Of the coefficients.

    Returns:
        The scan as an uneven coil sees it.
    """
    field = RandBiasField(degree=3, coeff_range=(-coefficient, coefficient), prob=1.0)
    field.set_random_state(seed)
    floor = float(scan.values.min())
    return _with(scan, as_array(field(as_tensor(scan.values - floor))) + floor)


def noise(scan: Scan, share: float, seed: int) -> Scan:
    """Add Rician noise: a weaker field or a shorter scan.

    Args:
        scan: The scan.
        share: Standard deviation of the noise, in those of the scan.
        seed: Of the noise.

    Returns:
        The noisy scan.
    """
    rician = RandRicianNoise(prob=1.0, std=share, relative=True, sample_std=False)
    rician.set_random_state(seed)
    floor = float(scan.values.min())
    return _with(scan, as_array(rician(as_tensor(scan.values - floor))) + floor)


def gamma(scan: Scan, exponent: float) -> Scan:
    """Bend the contrast; the lowest and the highest value stay.

    Args:
        scan: The scan.
        exponent: Of the values scaled to 0 to 1.

    Returns:
        The scan in another contrast.
    """
    return _with(scan, as_array(AdjustContrast(gamma=exponent)(as_tensor(scan.values))))


def motion(scan: Scan, millimetres: float) -> Scan:
    """Move the patient before most of one half of the spectrum is acquired.

    Args:
        scan: The scan.
        millimetres: How far.

    Returns:
        The blurred and ringing scan.
    """
    axis = (slice_axis(scan.affine) + 1) % 3
    drawn = Acquisition(motion_axis=axis, motion=millimetres, motion_share=LATE)
    return _with(scan, as_array(acquire(as_tensor(scan.values), drawn, edges(scan.affine))))


def ghosts(scan: Scan, share: float) -> Scan:
    """Add ghosts along the phase encoding.

    Args:
        scan: The scan.
        share: Their brightness, as a part of the scan's.

    Returns:
        The scan with ghosts.
    """
    axis = (slice_axis(scan.affine) + 1) % 3
    drawn = Acquisition(motion_axis=axis, ghosts=GHOSTS, ghost_strength=share)
    return _with(scan, as_array(acquire(as_tensor(scan.values), drawn, edges(scan.affine))))


def ringing(scan: Scan, alpha: float) -> Scan:
    """Cut the outer part of the spectrum off.

    Args:
        scan: The scan.
        alpha: How much of it, 0 to 1.

    Returns:
        The scan with Gibbs ringing.
    """
    return _with(scan, as_array(GibbsNoise(alpha=alpha)(as_tensor(scan.values))))


def _with(scan: Scan, values: NDArray[np.float32]) -> Scan:
    return Scan(values, scan.affine)
