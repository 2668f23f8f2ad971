"""CP: a kernel as a sum of products of one vector an axis.

Lebedev et al. 2015 (https://arxiv.org/abs/1412.6553): a convolution becomes 1x1x1, then one
convolution an axis with each channel by itself, then 1x1x1.

The factors are found by alternating least squares (Kolda and Bader 2009,
https://doi.org/10.1137/07070111X, section 3.4). We start from the singular vectors of the taps,
after turning the kernel to its principal taps, in place of random numbers: the start is the same
every time and exact at full rank. tensorly's ``parafac`` takes such a start too, but multiplies the
other factors out for every axis, 590 MB for 128 channels at rank 500; each of ours shares the two
products with the kernel, and the tests hold it against tensorly's.
"""

from collections.abc import Sequence
from math import prod

import numpy as np

from volseg.networks.factorized.chain import Array, Chain, KernelShape, Link
from volseg.networks.factorized.method import Factorization, Ranks

AXES = ("first", "second", "third")

RIDGE = 1e-9
"""What is added to the normal equations, as a fraction of their mean diagonal: terms that are
nearly parallel would otherwise grow against each other without end."""


class CP(Factorization):
    """Canonical polyadic factors.

    Args:
        sweeps: Sweeps of alternating least squares over all factors.
    """

    name = "cp"

    def __init__(self, sweeps: int = 25) -> None:
        self.sweeps = sweeps

    def kernel_steps(self, kernel: KernelShape) -> int:
        """Count the ranks up to that of one matrix a tap."""
        return prod(kernel.taps) * min(kernel.outputs, kernel.inputs)

    def kernel_ranks(self, kernel: KernelShape, step: int) -> Ranks:  # noqa: ARG002 - the contract's
        """Give one rank a step."""
        return (step,)

    def kernel_chain(self, kernel: KernelShape, ranks: Ranks) -> Chain:
        """Lay out one link an axis between the two that mix channels."""
        (rank,) = ranks
        return (
            Link("reduce", rank, kernel.inputs),
            *(
                Link(AXES[axis], rank, rank, (axis,), is_depthwise=True)
                for axis in range(len(kernel.taps))
            ),
            Link("expand", kernel.outputs, rank),
        )

    def decompose_kernel(self, kernel: Array, ranks: Ranks) -> list[Array]:
        """Decompose by alternating least squares."""
        factors = principal_taps(kernel, *ranks)
        for _ in range(self.sweeps):
            _sweep(kernel, factors)
        outputs, inputs, *taps = _balance(factors)
        return [inputs.T, *(factor.T[:, None] for factor in taps), outputs]


def principal_taps(kernel: Array, rank: int) -> list[Array]:
    """Take the strongest singular vectors of the taps of a kernel.

    Args:
        kernel: The kernel, ``(O, I, *taps)``.
        rank: How many.

    Returns:
        One factor an axis, ``(length, rank)``.
    """
    turns = []
    turned = kernel
    for axis in range(2, kernel.ndim):
        flat = np.moveaxis(kernel, axis, 0).reshape(kernel.shape[axis], -1)
        turn = np.linalg.svd(flat, full_matrices=False)[0]
        turns.append(turn)
        turned = np.moveaxis(np.tensordot(turn.T, turned, (1, axis)), 0, axis)
    places = list(np.ndindex(*kernel.shape[2:]))
    found = [np.linalg.svd(turned[(..., *place)], full_matrices=False) for place in places]
    strengths = np.concatenate([values for _, values, _ in found])
    per_place = len(strengths) // len(places)
    order = np.argsort(-strengths, kind="stable")[:rank]
    factors = [np.empty((length, rank)) for length in kernel.shape]
    for column, index in enumerate(order):
        place, term = divmod(int(index), per_place)
        left, values, right = found[place]
        factors[0][:, column] = left[:, term] * values[term]
        factors[1][:, column] = right[term]
        for axis, turn in enumerate(turns):
            factors[2 + axis][:, column] = turn[:, places[place][axis]]
    return factors


def _sweep(kernel: Array, factors: list[Array]) -> None:
    """Solve for each factor in turn with the others fixed."""
    names = "abc"[: kernel.ndim - 2]
    shorter = np.tensordot(kernel, factors[1], (1, 0))  # (O, *taps, rank)
    factors[0] = _solve(_without_taps(shorter, factors[2:]), factors, 0)
    shorter = np.tensordot(kernel, factors[0], (0, 0))  # (I, *taps, rank)
    factors[1] = _solve(_without_taps(shorter, factors[2:]), factors, 1)
    small = np.einsum(f"i{names}r,ir->{names}r", shorter, factors[1])
    for axis, name in enumerate(names):
        others = [other for other in range(len(names)) if other != axis]
        pattern = ",".join([f"{names}r", *(f"{names[other]}r" for other in others)])
        product = np.einsum(f"{pattern}->{name}r", small, *(factors[2 + o] for o in others))
        factors[2 + axis] = _solve(product, factors, 2 + axis)


def _without_taps(product: Array, taps: Sequence[Array]) -> Array:
    """Contract the taps of a product with their factors, last axis first."""
    for factor in reversed(taps):
        product = np.einsum("...tr,tr->...r", product, factor)
    return product


def _solve(product: Array, factors: Sequence[Array], place: int) -> Array:
    """Solve the normal equations of one factor."""
    rank = product.shape[1]
    normal = np.ones((rank, rank))
    for other, factor in enumerate(factors):
        if other != place:
            normal = normal * (factor.T @ factor)
    ridge = RIDGE * max(float(np.trace(normal)) / rank, np.finfo(float).tiny)
    solved: Array = np.linalg.solve(normal + ridge * np.eye(rank), product.T).T
    return solved


def _balance(factors: Sequence[Array]) -> list[Array]:
    """Share the length of each term out over its vectors, so that none is large and none small."""
    lengths = np.stack([np.linalg.norm(factor, axis=0) for factor in factors])
    share = lengths.prod(axis=0) ** (1 / len(factors))
    return [
        factor / np.where(length > 0, length, 1) * share
        for factor, length in zip(factors, lengths, strict=True)
    ]
