"""The contract of every pretext task: a batch of unlabelled volumes in, a loss out."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from volseg.networks.encoder import Encoder
from volseg.types import Size

View = Callable[[Mapping[str, Any]], dict[str, Any]]
"""A random host-side transform of one case; it has ``set_random_state(seed)``, as MONAI's have."""


@dataclass(frozen=True)
class PretextResult:
    """What one step of a pretext task gives.

    Args:
        loss: What to minimise, a scalar.
        parts: The terms of the loss by name, detached scalars.
        monitors: Health figures by name, detached scalars, such as the spread of features.
        panels: Pictures by name, ``(B, 1, D, H, W)`` each, detached; empty unless asked for.
    """

    loss: Tensor
    parts: Mapping[str, Tensor] = field(default_factory=dict)
    monitors: Mapping[str, Tensor] = field(default_factory=dict)
    panels: Mapping[str, Tensor] = field(default_factory=dict)


class PretextTask(nn.Module, ABC):
    """A task that trains an encoder without labels.

    It knows no optimizer, device, epoch or file. Its constructor refuses an encoder that it cannot
    train, and says which it could.

    Args:
        encoder: The network to train.
    """

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    @abstractmethod
    def views(self, patch_size: Size) -> View:
        """Make the random host-side transform from a preprocessed case to what `forward` takes.

        Args:
            patch_size: Voxels of a crop along each axis.

        Returns:
            A transform of ``{"image": (C, X, Y, Z)}`` into tensors of equal shape for every case.
        """

    @abstractmethod
    def forward(self, batch: Mapping[str, Tensor], *, panels: bool = False) -> PretextResult:
        """Compute the loss of a batch.

        Args:
            batch: Collated views, on the device.
            panels: Whether to return pictures too.

        Returns:
            The loss, what it is made of, and figures of health.
        """

    def after_step(self, step: int, total: int) -> None:
        """Update what is not learned by gradient, such as a teacher, after an optimizer step.

        Args:
            step: Steps done.
            total: Steps in all.
        """

    def trained(self) -> dict[str, nn.Module]:
        """Name the parts worth keeping: ``encoder``, and a trained pyramid ``decoder``."""
        return {"encoder": self.encoder}
