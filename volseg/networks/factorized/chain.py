"""A kernel as a chain of links: small convolutions, one after the other, in place of a large one.

A link mixes channels, reads along some axes of the kernel, or both. Nothing stands between two
links, so the chain is one linear map, and `compose` gives its kernel.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class KernelShape:
    """What a kernel mixes and reads.

    Args:
        outputs: Output channels.
        inputs: Input channels.
        taps: Voxels that it reads along each axis where it reads more than one; none for a matrix.
    """

    outputs: int
    inputs: int
    taps: tuple[int, ...] = ()

    @property
    def size(self) -> int:
        """Parameters of the kernel as it is."""
        return self.outputs * self.inputs * prod(self.taps)


@dataclass(frozen=True)
class Link:
    """One small convolution of a chain.

    Args:
        name: Its name in the network.
        outputs: Output channels.
        inputs: Input channels.
        axes: Which of the kernel's ``taps`` it reads.
        is_depthwise: Whether each channel stays by itself.
    """

    name: str
    outputs: int
    inputs: int
    axes: tuple[int, ...] = ()
    is_depthwise: bool = False

    def shape(self, kernel: KernelShape) -> tuple[int, ...]:
        """Give the shape of its own kernel: outputs, inputs of an output, taps.

        Args:
            kernel: The kernel that the chain stands for.

        Returns:
            The shape.
        """
        taps = (kernel.taps[axis] for axis in self.axes)
        return (self.outputs, 1 if self.is_depthwise else self.inputs, *taps)


Chain = tuple[Link, ...]
"""Links in the order in which they are applied; between them they read each axis once, in order."""


def count(chain: Chain, kernel: KernelShape) -> int:
    """Count the parameters of a chain, without bias.

    Args:
        chain: The chain.
        kernel: The kernel that it stands for.

    Returns:
        The number.

    Examples:
        >>> chain = (Link("reduce", 2, 8), Link("core", 3, 2, (0, 1, 2)), Link("expand", 8, 3))
        >>> count(chain, KernelShape(8, 8, (3, 3, 3)))  # 2 * 8 + 3 * 2 * 27 + 8 * 3
        202
    """
    return sum(prod(link.shape(kernel)) for link in chain)


def compose(chain: Chain, factors: Sequence[Array]) -> Array:
    """Multiply a chain out.

    Args:
        chain: The chain.
        factors: The kernel of each link, in the shape that `Link.shape` gives.

    Returns:
        The kernel that it stands for, ``(O, I, *taps)``.

    Examples:
        >>> chain = (Link("reduce", 1, 2), Link("expand", 2, 1))
        >>> compose(chain, [np.array([[1.0, 2.0]]), np.array([[1.0], [10.0]])]).tolist()
        [[1.0, 2.0], [10.0, 20.0]]
    """
    kernel = factors[0]
    for link, factor in zip(chain[1:], factors[1:], strict=True):
        before, own = "dhw"[: kernel.ndim - 2], "xyz"[: len(link.axes)]
        pattern = (
            f"mi{before},mk{own}->mi{before}{own}"
            if link.is_depthwise
            else f"mi{before},om{own}->oi{before}{own}"
        )
        kernel = np.einsum(pattern, kernel, factor, optimize=True)
    return kernel


def relative_error(kernel: Array, approximation: Array) -> float:
    """Measure how far a kernel is from another, as a fraction of its norm.

    Args:
        kernel: The kernel.
        approximation: What stands for it.

    Returns:
        The fraction; 0 for a kernel that is zero.
    """
    size = float(np.linalg.norm(kernel))
    return float(np.linalg.norm(kernel - approximation)) / size if size else 0.0
