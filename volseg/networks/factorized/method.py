"""What every factorisation must say: its ranks, its chain, and how it decomposes a kernel."""

from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import numpy as np

from volseg.errors import WeightsError
from volseg.networks.factorized.chain import Array, Chain, KernelShape, Link, count

Ranks = tuple[int, ...]


class Factorization(ABC):
    """A way to write a kernel as a chain of smaller ones.

    Ranks follow from shapes alone, never from values, so that a network built from its config has
    the shapes of the decomposed network whose weights it takes.
    """

    name: str

    def largest_ranks(self, kernel: KernelShape, limit: float) -> Ranks | None:
        """Find the largest ranks that keep a kernel within a number of parameters.

        Args:
            kernel: The kernel.
            limit: The number.

        Returns:
            The ranks; the smallest if even they are too many; `None` if the smallest save nothing.
        """
        chosen = self.ranks(kernel, self.largest_step(kernel, limit))
        return chosen if self.count(kernel, chosen) < kernel.size else None

    def largest_step(self, kernel: KernelShape, limit: float) -> int:
        """Find the largest step of the ranks that keeps within a number of parameters.

        Args:
            kernel: The kernel.
            limit: The number.

        Returns:
            The step; 1 if even that is too much.
        """
        steps = range(1, self.steps(kernel) + 1)
        found = bisect_right(
            steps, limit, key=lambda step: self.count(kernel, self.ranks(kernel, step))
        )
        return max(found, 1)

    def count(self, kernel: KernelShape, ranks: Ranks) -> int:
        """Count the parameters at certain ranks.

        Args:
            kernel: The kernel.
            ranks: The ranks.

        Returns:
            The number, without bias.
        """
        return count(self.chain(kernel, ranks), kernel)

    def steps(self, kernel: KernelShape) -> int:
        """Count the steps of the ranks, from 1 up to where any kernel is met exactly.

        Args:
            kernel: The kernel.

        Returns:
            The number of steps.
        """
        return self.kernel_steps(kernel) if kernel.taps else min(kernel.outputs, kernel.inputs)

    def ranks(self, kernel: KernelShape, step: int) -> Ranks:
        """Give the ranks of a step; they grow from step to step.

        Args:
            kernel: The kernel.
            step: The step, from 1.

        Returns:
            The ranks.
        """
        return self.kernel_ranks(kernel, step) if kernel.taps else (step,)

    def chain(self, kernel: KernelShape, ranks: Ranks) -> Chain:
        """Lay out the chain.

        Args:
            kernel: The kernel.
            ranks: The ranks.

        Returns:
            Its links.
        """
        return self.kernel_chain(kernel, ranks) if kernel.taps else matrix_chain(kernel, ranks)

    def decompose(self, kernel: Array, ranks: Ranks) -> list[Array]:
        """Find the factors that come near a kernel.

        Args:
            kernel: The kernel, ``(O, I, *taps)``; without taps it is a matrix, and the singular
                values give the nearest there is.
            ranks: The ranks.

        Returns:
            The kernel of each link.
        """
        if kernel.ndim > 2:
            return self.decompose_kernel(kernel, ranks)
        left, values, right = np.linalg.svd(kernel, full_matrices=False)
        root = np.sqrt(values[: ranks[0]])
        return [root[:, None] * right[: ranks[0]], left[:, : ranks[0]] * root]

    @abstractmethod
    def kernel_steps(self, kernel: KernelShape) -> int:
        """Count the steps for a kernel that reads along at least one axis, see `steps`."""

    @abstractmethod
    def kernel_ranks(self, kernel: KernelShape, step: int) -> Ranks:
        """Give the ranks for a kernel that reads along at least one axis, see `ranks`."""

    @abstractmethod
    def kernel_chain(self, kernel: KernelShape, ranks: Ranks) -> Chain:
        """Lay out the chain of a kernel that reads along at least one axis, see `chain`."""

    @abstractmethod
    def decompose_kernel(self, kernel: Array, ranks: Ranks) -> list[Array]:
        """Find the factors of a kernel that reads along at least one axis, see `decompose`."""


def matrix_chain(kernel: KernelShape, ranks: Ranks) -> Chain:
    """Lay out a matrix of low rank: CP, Tucker and the tensor train of a matrix are all this."""
    (rank,) = ranks
    return (Link("reduce", rank, kernel.inputs), Link("expand", kernel.outputs, rank))


@contextmanager
def tensorly_decomposition() -> Iterator[Any]:
    """Give ``tensorly.decomposition`` over NumPy, whatever backend the process has chosen.

    Yields:
        The module.

    Raises:
        WeightsError: If tensorly is not installed.
    """
    try:
        tensorly = import_module("tensorly")
        decomposition = import_module("tensorly.decomposition")
    except ModuleNotFoundError as error:
        raise WeightsError(
            f"decomposing weights needs {error.name}; install it with pip install"
            " 'volseg[compress]'"
        ) from error
    with tensorly.backend_context("numpy", local_threadsafe=True):
        yield decomposition
