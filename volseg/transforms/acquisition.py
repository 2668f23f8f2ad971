"""What a scanner does to a patch: coil, motion, thick slices, noise, and a display's curve.

The order is that of a scan. The noise is added on the acquired grid, before slices are read at the
patch's own spacing, so that noise of thick slices is as smooth as it is on real scans. Every step
is a few products along single axes, many times as fast on one thread as MONAI's transforms of
whole spectra; ghosts and spikes are written in closed form instead of in k-space.
"""

from collections.abc import Hashable, Mapping, Sequence
from math import ceil, log, pi, sqrt
from typing import Any

import torch
from monai.transforms import MapTransform, RandomizableTransform
from torch import Tensor

from volseg.transforms.acquisition_draw import (
    Acquisition,
    AcquisitionRanges,
    sample_acquisition,
)
from volseg.transforms.resection.noise import band_noise
from volseg.types import Size, Spacing

__all__ = [
    "Acquisition",
    "AcquisitionRanges",
    "RandAcquisitiond",
    "acquire",
    "resampling",
    "sample_acquisition",
]

COIL_WAVELENGTH = 90.0
"""Shortest wavelength of the bias field, in mm."""

WIDTH_OF_SIGMA = 2 * sqrt(2 * log(2))
"""Full width at half maximum of a Gaussian, in standard deviations."""


def acquire(patch: Tensor, drawn: Acquisition, spacing: Spacing) -> Tensor:
    """Let a scanner see a patch.

    Args:
        patch: Intensities of any scale and sign, ``(C, D, H, W)``.
        drawn: The acquisition; each channel gets its own noise.
        spacing: Voxel edge along each axis, in mm.

    Returns:
        What it sees, ``(C, D, H, W)``, float32.
    """
    generator = torch.Generator().manual_seed(drawn.seed)
    channels = [_acquire(each.float(), drawn, spacing, generator) for each in patch]
    return torch.stack(channels)


def _acquire(
    channel: Tensor, drawn: Acquisition, spacing: Spacing, generator: torch.Generator
) -> Tensor:
    """Let a scanner see one channel, ``(D, H, W)``."""
    floor = channel.min()
    deviation = float(channel.std())
    signal = channel - floor
    size: Size = (channel.shape[0], channel.shape[1], channel.shape[2])
    if drawn.bias > 0:
        field_ = band_noise(size, spacing, COIL_WAVELENGTH, generator).to(signal)
        signal = signal * field_.mul_(drawn.bias).exp_()
    if drawn.motion > 0:
        signal = _move(signal, drawn, spacing)
    if drawn.ghosts:
        signal = _add_ghosts(signal, drawn)
    if drawn.spike > 0:
        signal = signal + _wave(size, drawn.wave).to(signal) * (drawn.spike * deviation)
    signal = _scan(signal, drawn, spacing, drawn.noise * deviation, generator)
    return _curve(signal, drawn.gamma) + floor


def _scan(
    signal: Tensor,
    drawn: Acquisition,
    spacing: Spacing,
    noise: float,
    generator: torch.Generator,
) -> Tensor:
    """Sample a signal on the acquired grid, add the noise there, and read it on its own grid."""
    ups = []
    for axis, (width, phase, edge) in enumerate(
        zip(drawn.resolution, drawn.phase, spacing, strict=True)
    ):
        if width > edge:
            down, up = resampling(signal.shape[axis], width / edge, phase)
            signal = _along(signal, down, axis)
            ups.append((axis, up))
    if noise > 0:
        real = torch.randn(signal.shape, generator=generator).to(signal) * noise
        if drawn.is_rician:
            imaginary = torch.randn(signal.shape, generator=generator).to(signal) * noise
            signal = torch.hypot(signal + real, imaginary)
        else:
            signal = signal + real
    for axis, up in ups:
        signal = _along(signal, up, axis)
    return signal


def resampling(count: int, width: float, phase: float) -> tuple[Tensor, Tensor]:
    """Weights that sample an axis coarsely, and those that read the samples linearly.

    Args:
        count: Voxels along the axis.
        width: Distance of the samples and full width of what each sees, in voxels.
        phase: Where the first sample lies, as a part of ``width``.

    Returns:
        ``(samples, count)`` and ``(count, samples)``; the rows of both sum to 1.
    """
    samples = max(2, ceil((count - phase * width) / width))
    places = torch.arange(samples) * width + phase * width - 0.5
    voxels = torch.arange(count)
    sigma = width / WIDTH_OF_SIGMA
    down = torch.exp(-0.5 * ((voxels[None] - places[:, None]) / sigma) ** 2)
    down = down / down.sum(dim=1, keepdim=True)
    position = ((voxels - places[0]) / width).clamp(0, samples - 1)
    up = (1 - (position[:, None] - torch.arange(samples)[None]).abs()).clamp_(min=0)
    return down, up


def _along(volume: Tensor, weights: Tensor, axis: int) -> Tensor:
    """Multiply an axis with a matrix, ``(new, old)``."""
    moved = torch.tensordot(weights.to(volume), volume, dims=([1], [axis]))
    result: Tensor = moved.movedim(0, axis)
    return result


def _move(signal: Tensor, drawn: Acquisition, spacing: Spacing) -> Tensor:
    """Take the outer lines of the spectrum from a displaced patient."""
    axis = drawn.motion_axis
    other = (axis + 1) % 3
    shift = max(1, round(drawn.motion / spacing[other]))
    displaced = signal.roll(shift, other)
    count = signal.shape[axis]
    frequency = torch.fft.fftfreq(count, device=signal.device)
    is_late = frequency > 0.5 - 0.5 * drawn.motion_share
    view = [1, 1, 1]
    view[axis] = -1
    difference = torch.fft.fft(displaced - signal, dim=axis) * is_late.view(view)
    moved: Tensor = (signal + torch.fft.ifft(difference, dim=axis)).abs()
    return moved


def _add_ghosts(signal: Tensor, drawn: Acquisition) -> Tensor:
    """Weaken every ``ghosts``-th line of the spectrum: copies appear at equal distances."""
    count = signal.shape[drawn.motion_axis]
    total = signal
    for ghost in range(1, drawn.ghosts):
        shift = round(ghost * count / drawn.ghosts)
        total = total - signal.roll(shift, drawn.motion_axis) * drawn.ghost_strength
    return total.abs()


def _wave(size: Size, waves: tuple[int, int, int]) -> Tensor:
    """A plane wave of amplitude 1, ``(D, H, W)``."""
    phase = torch.zeros(())
    for axis, (count, number) in enumerate(zip(size, waves, strict=True)):
        view = [1, 1, 1]
        view[axis] = -1
        phase = phase + (torch.arange(count) * (2 * pi * number / count)).view(view)
    return torch.cos(phase)


def _curve(signal: Tensor, gamma: float) -> Tensor:
    """Bend the scale of a signal; lowest and highest value stay."""
    if gamma == 1.0:
        return signal
    low, high = signal.min(), signal.max()
    scale = (high - low).clamp(min=1e-12)
    return ((signal - low) / scale).pow(gamma) * scale + low


class RandAcquisitiond(RandomizableTransform, MapTransform):
    """Shows patches as random scanners would see them.

    Args:
        keys: Keys of the patches, ``(C, D, H, W)`` each; all see one scanner.
        spacing: Voxel edge along each axis, in mm.
        ranges: How often a scanner does what; `None`: the defaults.
    """

    def __init__(
        self,
        keys: Sequence[Hashable] | Hashable,
        spacing: Spacing = (1.0, 1.0, 1.0),
        ranges: AcquisitionRanges | None = None,
    ) -> None:
        MapTransform.__init__(self, keys)
        RandomizableTransform.__init__(self, 1.0)
        self.spacing: Spacing = (spacing[0], spacing[1], spacing[2])
        self.ranges = ranges or AcquisitionRanges()

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Scan one case.

        Args:
            data: The case.

        Returns:
            The case with its patches as plain tensors, float32.
        """
        result = dict(data)
        drawn = sample_acquisition(self.R, self.ranges)
        for key in self.key_iterator(result):
            patch = torch.as_tensor(result[key]).as_subclass(Tensor)
            result[key] = acquire(patch, drawn, self.spacing)
        return result
