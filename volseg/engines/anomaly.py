"""Train an autoencoder on crops of normal volumes."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from tqdm import tqdm

from volseg.errors import DataError
from volseg.networks.heterogeneous import HeterogeneousAutoencoder, reconstruction_loss
from volseg.types import Size


@dataclass(frozen=True)
class AnomalyTraining:
    """How long it is trained, on what.

    Args:
        size: Voxels of a crop along each axis, multiples of the network's divisor.
        steps: Steps.
        batch_size: Crops a step.
        learning_rate: The largest; it falls to zero along a cosine.
        seed: Of weights and crops.
    """

    size: Size = (32, 32, 32)
    steps: int = 600
    batch_size: int = 4
    learning_rate: float = 2e-3
    seed: int = 0


def train_autoencoder(
    network: HeterogeneousAutoencoder,
    volumes: Sequence[Tensor],
    training: AnomalyTraining,
    device: torch.device,
    *,
    progress: bool = False,
) -> list[float]:
    """Train a network in place; on a CPU the same seed gives the same weights.

    Args:
        network: The network.
        volumes: Normal volumes, ``(D, H, W)`` each, standardised over the foreground.
        training: How.
        device: Where.
        progress: Whether to draw a bar on stderr.

    Returns:
        The loss of each step.

    Raises:
        DataError: If the loss is no longer finite.
    """
    generator = torch.Generator().manual_seed(training.seed)
    padded = [pad_to(volume, training.size) for volume in volumes]
    network.to(device).train()
    optimizer = torch.optim.AdamW(network.parameters(), training.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, training.steps)
    losses = []
    for step in tqdm(range(training.steps), desc="anomaly", unit="step", disable=not progress):
        crops = [_crop(padded, training.size, generator) for _ in range(training.batch_size)]
        batch = torch.stack(crops)[:, None].to(device)
        loss = reconstruction_loss(network(batch), batch)
        if not torch.isfinite(loss):
            raise DataError(f"the loss is {loss.item()} at step {step}; use a lower learning rate")
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        losses.append(float(loss.detach()))
    network.eval()
    return losses


def pad_to(volume: Tensor, size: Size) -> Tensor:
    """Pad a volume with its lowest value at the far ends, until a crop fits.

    Args:
        volume: The volume, ``(D, H, W)``.
        size: What must fit.

    Returns:
        The volume, padded where it is smaller.
    """
    lacking = [max(0, want - have) for want, have in zip(size, volume.shape, strict=True)]
    pads = [part for more in reversed(lacking) for part in (0, more)]
    return torch.nn.functional.pad(volume, pads, value=float(volume.min()))


def _crop(volumes: Sequence[Tensor], size: Size, generator: torch.Generator) -> Tensor:
    """Cut around a voxel of the foreground, as far as the volume reaches."""
    number = int(torch.randint(len(volumes), (1,), generator=generator))
    volume = volumes[number]
    inside = (volume > volume.min()).nonzero()
    place = inside[int(torch.randint(len(inside), (1,), generator=generator))].tolist()
    starts = [
        min(max(0, at - want // 2), have - want)
        for at, want, have in zip(place, size, volume.shape, strict=True)
    ]
    box = tuple(slice(start, start + want) for start, want in zip(starts, size, strict=True))
    return volume[box]
