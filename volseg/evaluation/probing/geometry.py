"""The shape of a cloud of features: clusters, dimensions, and how alike two clouds are."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.cluster import HDBSCAN, KMeans
from sklearn.decomposition import PCA
from sklearn.metrics import (
    adjusted_rand_score,
    calinski_harabasz_score,
    davies_bouldin_score,
    silhouette_score,
)
from sklearn.preprocessing import StandardScaler

from volseg.errors import DataError
from volseg.pretext.collapse import effective_rank

COMPONENTS = 50
"""Principal components in which clusters are looked for."""


def describe_clusters(
    vectors: NDArray[np.floating], truth: NDArray[np.int64], seed: int = 0
) -> dict[str, float]:
    """Score how far the labels are clusters, and how far clusters are the labels.

    Args:
        vectors: Features, ``(N, F)``.
        truth: Class of each sample.
        seed: Of k-means.

    Returns:
        By label: ``silhouette`` (-1 to 1), ``davies_bouldin`` (0 is best), ``calinski_harabasz``
        (larger is better). Without them: ``kmeans_rand``, agreement of as many k-means clusters as
        there are labels with the labels (1: equal, 0: by chance); ``hdbscan_clusters`` and
        ``hdbscan_noise``, the share of samples in no cluster.
    """
    points = reduce_vectors(vectors, seed=seed)
    number = len(np.unique(truth))
    guesses = KMeans(number, n_init=10, random_state=seed).fit_predict(points)
    found = HDBSCAN(min_cluster_size=max(5, len(points) // 20), copy=True).fit_predict(points)
    return {
        "silhouette": float(silhouette_score(points, truth)),
        "davies_bouldin": float(davies_bouldin_score(points, truth)),
        "calinski_harabasz": float(calinski_harabasz_score(points, truth)),
        "kmeans_rand": float(adjusted_rand_score(truth, guesses)),
        "hdbscan_clusters": float(len(set(found.tolist()) - {-1})),
        "hdbscan_noise": float(np.mean(found == -1)),
    }


def reduce_vectors(
    vectors: NDArray[np.floating], components: int = COMPONENTS, seed: int = 0
) -> NDArray[np.floating]:
    """Standardise features and keep their first principal components.

    Args:
        vectors: ``(N, F)``.
        components: How many; fewer if there are no more.
        seed: Of the solver.

    Returns:
        ``(N, components)``.
    """
    scaled = StandardScaler().fit_transform(vectors)
    most = min(components, *scaled.shape)
    points: NDArray[np.floating] = PCA(most, random_state=seed).fit_transform(scaled)
    return points


def count_dimensions(vectors: NDArray[np.floating]) -> float:
    """Count the directions in which features vary.

    Args:
        vectors: ``(N, F)``.

    Returns:
        The effective rank, see `volseg.pretext.collapse.effective_rank`.
    """
    return float(effective_rank(torch.from_numpy(np.asarray(vectors, np.float32))))


def linear_alignment(first: NDArray[np.floating], second: NDArray[np.floating]) -> float:
    """Compare two clouds of the same samples: linear CKA, without its bias.

    Kornblith et al. 2019 (https://arxiv.org/abs/1905.00414), with the unbiased estimate of HSIC of
    Song et al. 2012: the plain one is far from 0 for unrelated features as soon as there are more
    of them than samples.

    Args:
        first: ``(N, F)``, N at least 4.
        second: ``(N, G)``.

    Returns:
        1: equal but for rotation and scale; 0: unrelated, and a little below by chance; `nan` if
        one of them does not vary.

    Raises:
        DataError: If there are too few samples, or not the same number in both.

    Examples:
        >>> cloud = np.random.default_rng(0).standard_normal((50, 3))
        >>> round(linear_alignment(cloud, 2 * cloud[:, [2, 0, 1]]), 6)
        1.0
    """
    if len(first) != len(second) or len(first) < 4:
        raise DataError(f"CKA of {len(first)} and {len(second)} samples; give the same 4 or more")
    kernels = [_centred(np.asarray(vectors, np.float64)) for vectors in (first, second)]
    norms = [float((kernel * kernel).sum()) for kernel in kernels]
    if min(norms) <= 0:
        return float("nan")
    return float((kernels[0] * kernels[1]).sum() / np.sqrt(norms[0] * norms[1]))


def align_all(arms: Mapping[str, NDArray[np.floating]]) -> dict[str, dict[str, float]]:
    """Compare every cloud with every other.

    Args:
        arms: Features of the same samples, by name.

    Returns:
        CKA of each pair.
    """
    return {
        one: {other: linear_alignment(arms[one], arms[other]) for other in arms} for one in arms
    }


def _centred(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give the Gram matrix, centred so that its off-diagonal products are unbiased."""
    vectors = vectors - vectors.mean(axis=0)
    gram: NDArray[Any] = vectors @ vectors.T
    np.fill_diagonal(gram, 0)
    count = len(gram)
    sums = gram.sum(axis=0) / (count - 2)
    gram = gram - sums[:, None] - sums[None, :] + sums.sum() / (count - 1)
    np.fill_diagonal(gram, 0)
    return gram
