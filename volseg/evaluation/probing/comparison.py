"""Several encoders on the same samples: every score with its interval, and the gain of training."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from volseg.evaluation.cka import align_all
from volseg.evaluation.intervals import Interval, mean_intervals
from volseg.evaluation.probing.classification import PROBES, Folds, predict_out_of_fold
from volseg.evaluation.probing.features import Features
from volseg.evaluation.probing.geometry import count_dimensions, describe_clusters
from volseg.evaluation.probing.resampling import (
    DRAWS,
    group_draws,
    interval_of,
    scores_of_draws,
)
from volseg.evaluation.probing.retrieval import RANKS, RetrievalIndex, rank_all
from volseg.evaluation.probing.scores import (
    area_under_curve,
    balanced_accuracy,
    encode,
    quadratic_kappa,
)


@dataclass(frozen=True)
class Question:
    """What features are asked.

    Args:
        names: Name of each sample.
        labels: Label of each sample.
        groups: Group of each sample.
        is_graded: Whether labels are numbers whose order counts.
        folds: How samples are divided.
        draws: Draws of a bootstrap.
    """

    names: Sequence[str]
    labels: Sequence[str]
    groups: Sequence[str]
    is_graded: bool = False
    folds: Folds = field(default_factory=Folds)
    draws: int = DRAWS

    def require_answerable(self) -> None:
        """Refuse labels that no probe can learn and judge, before features are computed.

        Fewer than two classes, or fewer than four groups of one, are a `DataError`.
        """
        truth, _ = encode(self.labels, is_graded=self.is_graded)
        self.folds.fitting(truth, self.groups)


@dataclass(frozen=True)
class Answer:
    """What the features of one encoder say.

    Args:
        name: The encoder.
        scores: Each score, such as ``linear balanced accuracy``.
        gains: Each score minus that of the same encoder untrained, draw by draw; empty for what is
            not trained.
        clusters: See `describe_clusters`.
        effective_rank: Directions in which the features vary.
        features: Vectors and their cost.
        confusion: Of the linear probe, rows are true, mean over the repeats.
        facts: What else is known of the encoder.
    """

    name: str
    scores: Mapping[str, Interval]
    gains: Mapping[str, Interval]
    clusters: Mapping[str, float]
    effective_rank: float
    features: Features
    confusion: NDArray[np.floating]
    facts: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Give everything but the vectors as plain values."""
        return {
            "name": self.name,
            "scores": {key: value.to_json() for key, value in self.scores.items()},
            "gains": {key: value.to_json() for key, value in self.gains.items()},
            "clusters": dict(self.clusters),
            "effective_rank": self.effective_rank,
            "seconds": self.features.seconds,
            "memory_mib": self.features.memory_mib,
            "confusion": self.confusion.round(2).tolist(),
            **self.facts,
        }


@dataclass(frozen=True)
class EncoderComparison:
    """What was found.

    Args:
        classes: The labels, in order.
        question: The samples.
        answers: Of each encoder.
        alignment: CKA of each pair.
    """

    classes: Sequence[str]
    question: Question
    answers: Sequence[Answer]
    alignment: Mapping[str, Mapping[str, float]]


def compare(
    arms: Mapping[str, Features],
    question: Question,
    controls: Mapping[str, str],
    facts: Mapping[str, Mapping[str, Any]] | None = None,
) -> EncoderComparison:
    """Compare the features of several encoders on the same samples.

    Args:
        arms: Features by encoder, all of the same samples, none of them `nan`.
        question: Labels and groups.
        controls: For each trained encoder, the untrained one.
        facts: What else is known of each encoder.

    Returns:
        Every score.
    """
    truth, classes = encode(question.labels, is_graded=question.is_graded)
    draws = group_draws(question.groups, question.draws, question.folds.seed)
    found = {name: _score_arm(features, question, truth, draws) for name, features in arms.items()}
    answers = []
    for name, features in arms.items():
        own, control = found[name], controls.get(name)
        answers.append(
            Answer(
                name,
                own.scores,
                {} if control is None else _gains(own, found[control], question),
                describe_clusters(features.vectors, truth, question.folds.seed),
                count_dimensions(features.vectors),
                features,
                own.confusion,
                (facts or {}).get(name, {}),
            )
        )
    vectors = {name: features.vectors for name, features in arms.items()}
    return EncoderComparison(classes, question, answers, align_all(vectors))


@dataclass
class _Scored:
    scores: dict[str, Interval]
    drawn: dict[str, tuple[float, NDArray[np.floating]]]
    ranked: dict[str, NDArray[np.floating]]
    confusion: NDArray[np.floating]


def _score_arm(
    features: Features,
    question: Question,
    truth: NDArray[np.int64],
    draws: NDArray[np.floating],
) -> _Scored:
    drawn = {}
    kinds: dict[str, Callable[..., float]] = {
        "balanced accuracy": balanced_accuracy,
        "AUC": area_under_curve,
    }
    if question.is_graded:
        kinds["quadratic kappa"] = quadratic_kappa
    confusion = np.zeros((truth.max() + 1,) * 2)
    for probe in PROBES:
        predicted = predict_out_of_fold(
            features.vectors, truth, question.groups, question.folds, probe
        )
        for kind, score in kinds.items():
            drawn[f"{probe} {kind}"] = scores_of_draws(partial(score, truth), predicted, draws)
        if probe == "linear":
            for repeat in predicted:
                np.add.at(confusion, (truth, repeat.argmax(1)), 1 / len(predicted))
    scores = {key: interval_of(*value, len(truth)) for key, value in drawn.items()}
    ranked = _rank(features, question)
    table = np.stack(list(ranked.values()), axis=1)
    intervals = mean_intervals(table, question.groups, seed=question.folds.seed)
    return _Scored(
        {**scores, **dict(zip(ranked, intervals, strict=True))}, drawn, ranked, confusion
    )


def _rank(features: Features, question: Question) -> dict[str, NDArray[np.floating]]:
    index = RetrievalIndex(features.vectors, question.names, question.labels, question.groups)
    rankings = rank_all(index)
    return {
        "mAP": rankings.average_precision,
        **{f"recall@{k}": rankings.recall[k] for k in RANKS},
        **{f"precision@{k}": rankings.precision[k] for k in RANKS},
    }


def _gains(own: _Scored, control: _Scored, question: Question) -> dict[str, Interval]:
    """Subtract draw by draw, query by query."""
    gains = {}
    for key, (mean, each) in own.drawn.items():
        other_mean, other = control.drawn[key]
        gains[key] = interval_of(mean - other_mean, each - other, len(question.labels))
    table = np.stack([own.ranked[key] - control.ranked[key] for key in own.ranked], axis=1)
    intervals = mean_intervals(table, question.groups, seed=question.folds.seed)
    return {**gains, **dict(zip(own.ranked, intervals, strict=True))}
