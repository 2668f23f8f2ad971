"""How well frozen features tell labels apart: a linear probe and nearest neighbours.

Nested cross-validation by group: the outer folds judge, and within what they leave the inner folds
choose the strength of the regularisation or the number of neighbours. Features are standardised
with the mean and spread of the training folds alone. All of it is scikit-learn's.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from volseg.errors import DataError

STRENGTHS = (1e-2, 1e-1, 1e-3, 1.0, 1e-4)
"""Inverse regularisation of the linear probe; of those that do as well, the first is chosen."""

NEIGHBOURS = (1, 5, 15)

PROBES = ("linear", "nearest")


@dataclass(frozen=True)
class Folds:
    """How samples are divided.

    Args:
        outer: Folds that judge; fewer if a class has fewer groups.
        inner: Folds that choose.
        repeats: How often all of it is done, with other folds.
        seed: Of the folds.
    """

    outer: int = 5
    inner: int = 3
    repeats: int = 3
    seed: int = 0

    def fitting(self, truth: NDArray[np.int64], groups: Sequence[str]) -> "Folds":
        """Give folds that leave every class somewhere to be learned and somewhere to be judged.

        Args:
            truth: Class of each sample.
            groups: Group of each sample.

        Returns:
            The folds.

        Raises:
            DataError: If a class has fewer than four groups.
        """
        owners = np.array(list(groups))
        fewest = min(len(set(owners[truth == value])) for value in np.unique(truth))
        if fewest < 4 or len(np.unique(truth)) < 2:
            raise DataError(
                f"{len(np.unique(truth))} classes, the rarest of {fewest} group(s): a probe needs"
                " two classes, each of at least 4 groups; give more cases or other labels"
            )
        return Folds(min(self.outer, fewest), min(self.inner, fewest // 2), self.repeats, self.seed)


def predict_out_of_fold(
    vectors: NDArray[np.floating],
    truth: NDArray[np.int64],
    groups: Sequence[str],
    folds: Folds,
    probe: str = "linear",
) -> NDArray[np.floating]:
    """Predict every sample by a probe that has seen no sample of its group.

    Args:
        vectors: Features, ``(N, F)``.
        truth: Class of each sample, from 0, without gaps.
        groups: Group of each sample.
        folds: How they are divided.
        probe: ``linear`` or ``nearest``.

    Returns:
        Probability of each class in each repeat, ``(R, N, K)``.
    """
    fitting = folds.fitting(truth, groups)
    owners = np.array(list(groups))
    found = np.zeros((fitting.repeats, len(truth), int(truth.max()) + 1))
    for repeat in range(fitting.repeats):
        outer = StratifiedGroupKFold(
            fitting.outer, shuffle=True, random_state=fitting.seed + repeat
        )
        for train, test in outer.split(vectors, truth, owners):
            model = _search(probe, fitting, fitting.seed + repeat, len(train))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                model.fit(vectors[train], truth[train], groups=owners[train])
            found[repeat][np.ix_(test, model.classes_)] = model.predict_proba(vectors[test])
    return found


def _search(probe: str, folds: Folds, seed: int, count: int) -> Any:
    """Make a probe that chooses its own setting."""
    model: Any
    if probe == "linear":
        model = LogisticRegression(max_iter=1000, class_weight="balanced")
        grid: dict[str, Any] = {"logisticregression__C": STRENGTHS}
    else:
        model = KNeighborsClassifier(metric="cosine", weights="distance")
        # the inner training folds hold at least half of the samples
        grid = {"kneighborsclassifier__n_neighbors": [k for k in NEIGHBOURS if k <= count // 2]}
    inner = StratifiedGroupKFold(folds.inner, shuffle=True, random_state=seed)
    pipeline = make_pipeline(StandardScaler(), model)
    return GridSearchCV(pipeline, grid, scoring="balanced_accuracy", cv=inner)
