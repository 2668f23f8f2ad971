"""What ``volseg doctor`` computes: three small runs whose right answer is known."""

import tempfile
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from monai.transforms import Identityd
from numpy.typing import NDArray
from torch import Tensor, nn

from volseg.data.pipelines import preprocessing
from volseg.engines.segment import dice_and_cross_entropy
from volseg.errors import VolsegError
from volseg.inference.predictor import Predictor
from volseg.inference.sliding_window import SlidingWindow
from volseg.networks.residual import ResidualEncoder
from volseg.networks.segmenter import Segmenter

STEPS = 10
TOLERANCE = 1e-4
"""Blending sums up to 27 windows of values near 1 in 32-bit floats."""


class Threshold(nn.Module):
    """Class 1 wherever the volume is positive: a network whose answer is known."""

    def forward(self, x: Tensor) -> Tensor:
        """Give the logits.

        Args:
            x: Volumes, ``(B, 1, D, H, W)``.

        Returns:
            Logits, ``(B, 2, D, H, W)``.
        """
        return torch.cat([-x, x], dim=1)


def learn(device: torch.device) -> str:
    """Train a tiny network on one ball, which must lower the loss.

    Args:
        device: Where.

    Returns:
        The first and the last loss.

    Raises:
        VolsegError: If the loss does not fall.
    """
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(0)
        network = Segmenter(ResidualEncoder(1, (4, 8, 16)), num_classes=2).to(device)
        label = ball(24).to(device)[None, None]
        image = label + 0.1 * torch.randn(label.shape).to(device)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-2)
    loss_function, losses = dice_and_cross_entropy(), []
    for _ in range(STEPS):
        loss = loss_function(network(image), label)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    if not losses[-1] < 0.8 * losses[0]:
        raise VolsegError(
            f"the loss went from {losses[0]:.3f} to {losses[-1]:.3f} in {STEPS} steps"
        )
    return f"{losses[0]:.3f} to {losses[-1]:.3f} in {STEPS} steps"


def slide(device: torch.device) -> str:
    """Apply a voxelwise network through windows, which must equal applying it at once.

    Args:
        device: Where.

    Returns:
        The largest difference.

    Raises:
        VolsegError: If they differ.
    """
    volume = torch.linspace(-1, 1, 41 * 33 * 26).reshape(1, 1, 41, 33, 26).to(device)
    network = Threshold()
    blended = SlidingWindow((16, 16, 16))(volume, network)
    difference = float((blended - network(volume)).abs().max())
    if not difference < TOLERANCE:
        raise VolsegError(f"they differ by {difference:.2g}, more than {TOLERANCE:g}")
    return f"largest difference {difference:.1g}"


def round_trip(device: torch.device) -> str:
    """Segment a turned, anisotropic volume from file to file by a threshold.

    Args:
        device: Where.

    Returns:
        What was compared.

    Raises:
        VolsegError: If a voxel differs; the predictor itself refuses another grid.
    """
    spacing = (1.0, 2.0, 1.5)
    expected = np.asarray(ball(24)[:, :16, :20], dtype=np.uint8)
    expected[2, 3, 4] = 1  # breaks every symmetry, so that a flip or a swap shows
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "image.nii.gz", Path(folder) / "mask.nii.gz"
        values = np.where(expected, 100, -100).astype(np.float32)
        nib.save(nib.Nifti1Image(values, turned_affine(spacing)), source)
        # The file's axes run along z, x and y, so RAS order has its spacing as y, z, x.
        in_ras = (spacing[1], spacing[2], spacing[0])
        predictor = Predictor(
            Threshold(),
            preprocessing(("image",), in_ras, normalizer=Identityd("image")),
            SlidingWindow((16, 16, 16)),
            {0: "background", 1: "ball"},
            device,
        )
        predictor.save(predictor.predict(source), target)
        found = np.asarray(nib.load(target).dataobj)
    wrong = int((found != expected).sum())
    if wrong:
        raise VolsegError(f"{wrong} of {expected.size} voxels are wrong")
    return f"{expected.size} voxels, shape, affine and codes are equal"


def ball(size: int) -> Tensor:
    """Mark a ball in a cube.

    Args:
        size: Voxels along each edge.

    Returns:
        1 inside, ``(D, H, W)``.
    """
    axis = torch.arange(size) - (size - 1) / 2
    squares = axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2
    return (squares <= (size / 3) ** 2).float()


def turned_affine(spacing: tuple[float, float, float]) -> NDArray[np.float64]:
    """Make an affine whose axes run down, to the right and to the back, off the origin.

    Args:
        spacing: Voxel edge along each axis of the file, in mm.

    Returns:
        From voxels to mm, ``(4, 4)``.
    """
    affine = np.zeros((4, 4))
    affine[2, 0], affine[0, 1], affine[1, 2] = -spacing[0], spacing[1], -spacing[2]
    affine[:, 3] = (-31.5, 40, 12.25, 1)
    return affine
