"""Test-time augmentation: a window is looked at flipped as well, and the logits are averaged.

All combinations of the axes are taken, window by window, as in nnU-Net (Isensee et al. 2021,
https://doi.org/10.1038/s41592-020-01008-z). The variance is that of the probabilities over these
views, of the class for which it is greatest; it is blended over windows as logits are, and so no
more is held than one channel besides them.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import combinations
from typing import Any

import torch
from torch import Tensor


class FlippedViews:
    """A network that looks at each window from several sides.

    Args:
        network: From windows ``(N, C, d, h, w)`` to logits ``(N, K, d, h, w)``.
        axes: Axes of a window, 0 to 2, along which it may be flipped.
        with_variance: Whether to append the variance over views as another channel.
    """

    def __init__(
        self, network: Callable[[Tensor], Any], axes: Sequence[int], *, with_variance: bool = False
    ) -> None:
        self.network = network
        self.axes = tuple(axes)
        self.with_variance = with_variance

    def __call__(self, windows: Tensor) -> Tensor:
        """Average the logits of all views.

        Args:
            windows: ``(N, C, d, h, w)``.

        Returns:
            Mean logits, ``(N, K, d, h, w)``, and after them the variance if that is asked for.
        """
        total: Tensor = torch.zeros((), device=windows.device)
        chances = squares = total
        for count, axes in enumerate(self._subsets(), start=1):
            dims = [axis + 2 for axis in axes]
            logits: Tensor = self.network(windows.flip(dims)).flip(dims).float()
            total = total + logits
            if self.with_variance:  # Welford's way: differences, not differences of squares
                found = logits.softmax(1)
                gap = found - chances
                chances = chances + gap / count
                squares = squares + gap * (found - chances)
        number = 2 ** len(self.axes)
        if self.with_variance:
            total = torch.cat([total, squares.amax(1, keepdim=True)], dim=1)
        mean: Tensor = total / number
        return mean

    def _subsets(self) -> Iterator[tuple[int, ...]]:
        for length in range(len(self.axes) + 1):
            yield from combinations(self.axes, length)
