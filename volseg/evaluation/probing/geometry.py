"""The shape of a cloud of features: clusters and dimensions."""

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
