"""Finding what is alike: rankings by cosine, and an index to search later.

Features are centred and scaled first, since the cosine of vectors with a large common offset says
nothing. A query never finds samples of its own group.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score
from sklearn.metrics.pairwise import cosine_similarity

from volseg.errors import DataError

RANKS = (1, 5, 10)


@dataclass(frozen=True)
class Hit:
    """A sample that was found.

    Args:
        name: Its name.
        label: Its label.
        similarity: Cosine, -1 to 1.
    """

    name: str
    label: str
    similarity: float


@dataclass(frozen=True)
class RetrievalIndex:
    """Vectors that can be searched.

    Args:
        vectors: As the encoder gave them, ``(N, F)``.
        names: Name of each.
        labels: Label of each.
        groups: Group of each.
    """

    vectors: NDArray[np.float32]
    names: Sequence[str]
    labels: Sequence[str]
    groups: Sequence[str]

    def scaled(self, vectors: NDArray[np.floating]) -> NDArray[np.floating]:
        """Centre and scale vectors as those of the index are.

        Args:
            vectors: ``(M, F)``.

        Returns:
            ``(M, F)``.
        """
        spread = self.vectors.std(axis=0)
        result: NDArray[np.floating] = (vectors - self.vectors.mean(axis=0)) / np.where(
            spread > 0, spread, 1
        )
        return result

    def search(
        self, vector: NDArray[np.floating], count: int = 5, other_than: str | None = None
    ) -> list[Hit]:
        """Find the most similar samples.

        Args:
            vector: As the encoder gave it, ``(F,)``.
            count: How many.
            other_than: Group that is left out.

        Returns:
            The samples, the most similar first.

        Raises:
            DataError: If the vector is of another length.
        """
        if vector.shape != self.vectors.shape[1:]:
            raise DataError(
                f"the vector has shape {vector.shape}, the index {self.vectors.shape}; embed with"
                " the encoder and the pooling that the index was made with"
            )
        similar = cosine_similarity(self.scaled(vector[None]), self.scaled(self.vectors))[0]
        order = [
            index
            for index in np.argsort(-similar, kind="stable").tolist()
            if other_than is None or self.groups[index] != other_than
        ]
        return [Hit(self.names[i], self.labels[i], float(similar[i])) for i in order[:count]]

    def save(self, path: Path) -> None:
        """Write the index.

        Args:
            path: The file, ``*.npz``.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        names, labels, groups = (
            np.array(texts, dtype=np.str_) for texts in (self.names, self.labels, self.groups)
        )
        np.savez(path, vectors=self.vectors, names=names, labels=labels, groups=groups)

    @classmethod
    def load(cls, path: str | Path) -> "RetrievalIndex":
        """Read an index; nothing is unpickled.

        Args:
            path: The file.

        Returns:
            The index.

        Raises:
            DataError: If it is none.
        """
        try:
            with np.load(path, allow_pickle=False) as stored:
                texts = {key: stored[key].tolist() for key in ("names", "labels", "groups")}
                return cls(stored["vectors"], **texts)
        except (OSError, ValueError, KeyError, BadZipFile) as error:
            raise DataError(f"{path} is no index that volseg probe has written: {error}") from error


@dataclass(frozen=True)
class Rankings:
    """How each query was answered.

    Args:
        average_precision: Of each query, ``(N,)``; `nan` where no other group has its label.
        recall: Whether one of the first k has its label, by k, ``(N,)`` each.
        precision: Share of the first k that has its label, by k, ``(N,)`` each.
    """

    average_precision: NDArray[np.floating]
    recall: dict[int, NDArray[np.floating]]
    precision: dict[int, NDArray[np.floating]]


def rank_all(index: RetrievalIndex) -> Rankings:
    """Take each sample as a query for those of other groups with its label.

    Args:
        index: The samples.

    Returns:
        How each query was answered.
    """
    scaled = index.scaled(index.vectors)
    similar = cosine_similarity(scaled)
    labels, groups = np.array(list(index.labels)), np.array(list(index.groups))
    count = len(labels)
    precisions = np.full(count, np.nan)
    hits = np.full((count, max(RANKS)), np.nan)
    for query in range(count):
        others = np.flatnonzero(groups != groups[query])
        is_like = labels[others] == labels[query]
        if not is_like.any():
            continue
        precisions[query] = average_precision_score(is_like, similar[query, others])
        first = np.argsort(-similar[query, others], kind="stable")[: max(RANKS)]
        hits[query, : len(first)] = is_like[first]
    return Rankings(
        precisions,
        {k: _over(hits[:, :k], np.nanmax) for k in RANKS},
        {k: _over(hits[:, :k], np.nanmean) for k in RANKS},
    )


def _over(hits: NDArray[np.floating], reduce: object) -> NDArray[np.floating]:
    found = np.full(len(hits), np.nan)
    known = ~np.isnan(hits).all(axis=1)
    if known.any():
        found[known] = reduce(hits[known], axis=1)  # type: ignore[operator]
    return found
