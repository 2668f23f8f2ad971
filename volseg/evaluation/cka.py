"""How alike two representations are: linear centred kernel alignment, without its bias.

Kornblith et al. 2019 (https://arxiv.org/abs/1905.00414) with the unbiased estimate of HSIC of Song
et al. 2012: the plain one is far from 0 for unrelated features as soon as there are more of them
than samples.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from volseg.errors import DataError

LEAST = 8
"""Fewest samples: of N, CKA without its bias sees N (N - 3) / 2 relations, 2 of 4 but 20 of 8."""


def require_samples(count: int) -> None:
    """Refuse a comparison of too few samples.

    Args:
        count: How many there are.

    Raises:
        DataError: If they are fewer than `LEAST`.
    """
    if count < LEAST:
        raise DataError(f"CKA of {count} samples needs at least {LEAST}; give more cases")


def linear_cka(first: NDArray[np.floating], second: NDArray[np.floating]) -> float:
    """Compare what two encoders say of the same samples.

    Args:
        first: Features, ``(N, F)``, N at least `LEAST`.
        second: Features of the same samples, ``(N, G)``.

    Returns:
        1 if one is a rotated and scaled copy of the other, near 0 if they have nothing in common,
        and a little below by chance; `nan` if one of them does not vary.

    Raises:
        DataError: If there are too few samples, or not the same number in both.

    Examples:
        >>> cloud = np.random.default_rng(0).standard_normal((50, 3))
        >>> round(linear_cka(cloud, 2 * cloud[:, [2, 0, 1]]), 6)
        1.0
    """
    if len(first) != len(second):
        raise DataError(
            f"CKA of {len(first)} and {len(second)} samples needs the same in both; describe the"
            " same cases with both encoders"
        )
    require_samples(len(first))
    grams = [_centred_gram(np.asarray(features, np.float64)) for features in (first, second)]
    norms = [float((gram * gram).sum()) for gram in grams]
    if min(norms) <= 0:
        return float("nan")
    return float((grams[0] * grams[1]).sum() / np.sqrt(norms[0] * norms[1]))


def align_all(arms: Mapping[str, NDArray[np.floating]]) -> dict[str, dict[str, float]]:
    """Compare every representation with every other.

    Args:
        arms: Features of the same samples, by name.

    Returns:
        CKA of each pair.
    """
    return {one: {other: linear_cka(arms[one], arms[other]) for other in arms} for one in arms}


def _centred_gram(features: NDArray[np.float64]) -> NDArray[np.float64]:
    """Centre a Gram matrix without its diagonal, so that products estimate HSIC without bias."""
    features = features - features.mean(axis=0)  # changes nothing but the rounding
    gram: NDArray[Any] = features @ features.T
    np.fill_diagonal(gram, 0)
    count = len(gram)
    means = gram.sum(axis=0) / (count - 2)
    gram = gram - means[:, None] - means + means.sum() / (count - 1)
    np.fill_diagonal(gram, 0)
    return gram
