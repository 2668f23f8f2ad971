"""Tensor train: a kernel as a chain of one core an axis, each passing on a few channels.

Oseledets 2011 (https://doi.org/10.1137/090752286); the order is input channels, axes, output
channels, so that the train is 1x1x1, one convolution an axis, and 1x1x1.

A linear layer is a matrix, whose train is a product of two. The other tensor train of a matrix,
which first folds its sides (Novikov et al. 2015, https://arxiv.org/abs/1509.06569), is not here: it
saves parameters and costs operations. 192 to 192 channels folded to 4, 6 and 8, at 0.3 of the
parameters, take 9 times the multiplications of the whole matrix.
"""

from math import prod

import numpy as np

from volseg.networks.factorized.chain import Array, Chain, KernelShape, Link
from volseg.networks.factorized.cp import AXES
from volseg.networks.factorized.method import Factorization, Ranks, tensorly_decomposition


class TensorTrain(Factorization):
    """Cores of a tensor train."""

    name = "tt"

    def kernel_steps(self, kernel: KernelShape) -> int:
        """Count the ranks up to the highest that a cut can have."""
        return max(_highest(kernel))

    def kernel_ranks(self, kernel: KernelShape, step: int) -> Ranks:
        """Give a train of one rank, lower where a cut has no more."""
        return tuple(min(step, most) for most in _highest(kernel))

    def kernel_chain(self, kernel: KernelShape, ranks: Ranks) -> Chain:
        """Lay out one link an axis between the two that mix channels."""
        return (
            Link("reduce", ranks[0], kernel.inputs),
            *(
                Link(AXES[axis], ranks[axis + 1], ranks[axis], (axis,))
                for axis in range(len(kernel.taps))
            ),
            Link("expand", kernel.outputs, ranks[-1]),
        )

    def decompose_kernel(self, kernel: Array, ranks: Ranks) -> list[Array]:
        """Decompose by one singular value decomposition an axis."""
        order = (1, *range(2, kernel.ndim), 0)
        with tensorly_decomposition() as decomposition:
            cores = list(decomposition.tensor_train(kernel.transpose(order), [1, *ranks, 1]))
        first, *middle, last = (np.asarray(core) for core in cores)
        return [first[0].T, *(core.transpose(2, 0, 1) for core in middle), last[..., 0].T]


def _highest(kernel: KernelShape) -> list[int]:
    """Give the highest rank that each cut of a train can have: that of the unfolding there."""
    lengths = (kernel.inputs, *kernel.taps, kernel.outputs)
    cuts = range(1, len(lengths))
    return [min(prod(lengths[:cut]), prod(lengths[cut:])) for cut in cuts]
