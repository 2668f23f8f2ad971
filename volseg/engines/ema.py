"""The running average of a network's weights.

Averaging weights over the last steps evens out their noise (Polyak & Juditsky 1992; for networks
Tarvainen & Valpola 2017, https://arxiv.org/abs/1703.01780).
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class WeightAverage:
    """An exponential average of every parameter and floating buffer.

    Early on the decay is ``(1 + step) / (10 + step)``, so that the initial weights are soon
    forgotten; whole-number buffers are copied.

    Args:
        module: The network that learns.
        decay: Weight of the past, just below 1.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.module = module
        self.decay = decay
        self.values = {name: value.detach().clone() for name, value in _tensors(module)}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Move towards the network's weights.

        Args:
            step: Steps done, from 1.
        """
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, value in _tensors(self.module):
            average = self.values[name]
            if average.is_floating_point():
                average.lerp_(value.detach(), 1 - decay)
            else:
                average.copy_(value)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Lend the network the averaged weights for a while."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def load(self, values: Mapping[str, Tensor]) -> None:
        """Go on from saved averages.

        Args:
            values: Averages by name.
        """
        for name, value in values.items():
            self.values[name].copy_(value)

    @torch.no_grad()
    def _swap(self) -> None:
        for name, value in _tensors(self.module):
            lent = self.values[name]
            kept = value.detach().clone()
            value.copy_(lent)
            lent.copy_(kept)


def _tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    saved = module.state_dict().keys()  # caches are buffers too, but are not saved
    yield from module.named_parameters()
    yield from (pair for pair in module.named_buffers() if pair[0] in saved)
