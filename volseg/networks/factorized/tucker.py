"""Tucker: a smaller kernel between two matrices that mix channels.

Kim et al. 2016 (https://arxiv.org/abs/1511.06530): a convolution becomes 1x1x1, a convolution of
the same size over fewer channels, and 1x1x1. The axes of the kernel stay whole.
"""

from math import prod

from volseg.networks.factorized.chain import Array, Chain, KernelShape, Link
from volseg.networks.factorized.method import Factorization, Ranks, tensorly_decomposition


class Tucker(Factorization):
    """Tucker factors of the channels.

    Args:
        sweeps: Sweeps of higher-order orthogonal iteration.
    """

    name = "tucker"

    def __init__(self, sweeps: int = 25) -> None:
        self.sweeps = sweeps

    def kernel_steps(self, kernel: KernelShape) -> int:
        """Count one step a channel of the wider side."""
        return max(kernel.outputs, kernel.inputs)

    def kernel_ranks(self, kernel: KernelShape, step: int) -> Ranks:
        """Give output and input ranks in the proportion of the channels."""
        widest, taps = max(kernel.outputs, kernel.inputs), prod(kernel.taps)
        outputs = max(1, kernel.outputs * step // widest)
        inputs = max(1, kernel.inputs * step // widest)
        return (min(outputs, taps * inputs), min(inputs, taps * outputs))

    def kernel_chain(self, kernel: KernelShape, ranks: Ranks) -> Chain:
        """Lay out the smaller kernel between the two matrices."""
        outputs, inputs = ranks
        return (
            Link("reduce", inputs, kernel.inputs),
            Link("core", outputs, inputs, tuple(range(len(kernel.taps)))),
            Link("expand", kernel.outputs, outputs),
        )

    def decompose_kernel(self, kernel: Array, ranks: Ranks) -> list[Array]:
        """Decompose by higher-order orthogonal iteration."""
        with tensorly_decomposition() as decomposition:
            (core, (outputs, inputs)), _ = decomposition.partial_tucker(
                kernel, list(ranks), modes=[0, 1], n_iter_max=self.sweeps
            )
        return [inputs.T, core, outputs]
