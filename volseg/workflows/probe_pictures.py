"""The pictures of a probe, as PNG."""

from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from io import BytesIO
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from volseg.data.volumes import read_volume
from volseg.errors import VolsegError
from volseg.evaluation.probing.comparison import EncoderComparison
from volseg.evaluation.probing.geometry import reduce_vectors
from volseg.evaluation.probing.retrieval import RetrievalIndex
from volseg.evaluation.probing.samples import Sample

QUERIES, NEIGHBOURS = 4, 5


def draw_scores(comparison: EncoderComparison, keys: Sequence[str]) -> bytes:
    """Draw scores with their intervals.

    Args:
        comparison: What was found.
        keys: Names of the scores.

    Returns:
        A PNG.
    """
    answers = comparison.answers
    figure = Figure(figsize=(2.6 * len(keys), 1 + 0.35 * len(answers)), layout="constrained")
    chance = {"accuracy": 1 / len(comparison.classes), "AUC": 0.5, "kappa": 0.0}
    for axes, key in zip(np.ravel(figure.subplots(1, len(keys), sharey=True)), keys, strict=True):
        for row, answer in enumerate(answers):
            score = answer.scores[key]
            colour = "#1f77b4" if answer.facts.get("is_trained", True) else "#888"
            axes.plot([score.low, score.high], [row, row], color=colour, linewidth=3, alpha=0.4)
            axes.plot(score.mean, row, "o", color=colour)
        by_chance = next((value for end, value in chance.items() if key.endswith(end)), None)
        if by_chance is not None:
            axes.axvline(by_chance, color="#444", linestyle=":")
        axes.set(title=key, yticks=range(len(answers)), yticklabels=[a.name for a in answers])
        axes.set_ylim(len(answers) - 0.5, -0.5)
        axes.grid(axis="x", alpha=0.3)
    return png(figure)


def draw_points(comparison: EncoderComparison) -> bytes:
    """Draw the features of each encoder in a plane.

    Args:
        comparison: What was found.

    Returns:
        A PNG.
    """
    rows: dict[str, Any] = {"PCA": lambda vectors: reduce_vectors(vectors, 2)}
    if find_spec("umap") is not None:
        rows["UMAP"] = _umap
    answers, labels = comparison.answers, np.array(list(comparison.question.labels))
    size = (3 * len(answers), 3.1 * len(rows))
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(len(rows), len(answers), squeeze=False)
    for line, (title, place) in zip(grid, rows.items(), strict=True):
        for axes, answer in zip(line, answers, strict=True):
            points = place(answer.features.vectors)
            for name in comparison.classes:
                axes.scatter(*points[labels == name][:, :2].T, s=8, alpha=0.7, label=name)
            axes.set(title=f"{answer.name}: {title}", xticks=[], yticks=[])
    grid[0, 0].legend(fontsize=8)
    return png(figure)


def draw_alignment(alignment: Mapping[str, Mapping[str, float]]) -> bytes:
    """Draw the CKA of each pair.

    Args:
        alignment: CKA by name by name.

    Returns:
        A PNG.
    """
    names = list(alignment)
    values = np.array([[alignment[one][other] for other in names] for one in names])
    return _draw_matrices({"CKA": values}, names, "{:.2f}")


def draw_confusion(comparison: EncoderComparison) -> bytes:
    """Draw what the linear probe of each encoder confuses.

    Args:
        comparison: What was found.

    Returns:
        A PNG.
    """
    tables = {answer.name: answer.confusion for answer in comparison.answers}
    return _draw_matrices(tables, comparison.classes, "{:.0f}")


def draw_retrieval(comparison: EncoderComparison, samples: Sequence[Sample]) -> bytes | None:
    """Draw a query of each of some classes and what the first encoder finds for it.

    Args:
        comparison: What was found.
        samples: What was described, in the order of the features.

    Returns:
        A PNG; `None` if a volume cannot be drawn.
    """
    question, vectors = comparison.question, comparison.answers[0].features.vectors
    index = RetrievalIndex(vectors, question.names, question.labels, question.groups)
    labels = list(question.labels)
    queries = [labels.index(name) for name in comparison.classes[:QUERIES]]
    by_name = {sample.name: sample for sample in samples}
    figure = Figure(figsize=(1.6 * (NEIGHBOURS + 1), 1.9 * len(queries)), layout="constrained")
    grid = figure.subplots(len(queries), NEIGHBOURS + 1, squeeze=False)
    try:
        for line, query in zip(grid, queries, strict=True):
            hits = index.search(vectors[query], NEIGHBOURS, question.groups[query])
            names = [question.names[query], *(hit.name for hit in hits)]
            for axes in line[len(names) :]:
                axes.axis("off")
            for axes, name in zip(line, names, strict=False):
                axes.imshow(_slice(by_name[name]), cmap="gray")
                label = by_name[name].label
                is_query, is_like = axes is line[0], label == labels[query]
                colour = "black" if is_query else "#2a7d2a" if is_like else "#b22222"
                axes.set_title(f"{name}\n{label}", fontsize=6, color=colour)
                axes.axis("off")
    except (VolsegError, OSError):
        return None
    return png(figure)


def _slice(sample: Sample) -> NDArray[Any]:
    """Take the axial slice through the middle of what is described."""
    values, affine, _ = read_volume(sample.case.images[0])
    place = values.shape[2] // 2
    if sample.centre is not None:
        place = round((np.linalg.inv(affine) @ [*sample.centre, 1.0])[2])
    elif sample.values is not None and sample.case.label is not None:
        labels, _, _ = read_volume(sample.case.label)
        slices = np.flatnonzero(np.isin(np.rint(labels), sample.values).any(axis=(0, 1)))
        place = int(slices[len(slices) // 2])
    picture: NDArray[Any] = values[:, :, place].T[::-1]
    return picture


def _umap(vectors: NDArray[np.floating]) -> NDArray[np.floating]:
    umap = import_module("umap")
    points = umap.UMAP(random_state=0, n_jobs=1).fit_transform(reduce_vectors(vectors))
    return np.asarray(points)


def _draw_matrices(
    tables: Mapping[str, NDArray[np.floating]], names: Sequence[str], form: str
) -> bytes:
    edge = 1.4 + 0.45 * len(names)
    figure = Figure(figsize=(edge * len(tables), edge), layout="constrained")
    for axes, (title, values) in zip(
        np.ravel(figure.subplots(1, len(tables))), tables.items(), strict=True
    ):
        axes.imshow(values, cmap="Blues", vmin=0)
        for (row, column), value in np.ndenumerate(values):
            is_dark = value > 0.6 * np.nanmax(values)
            colour = "white" if is_dark else "black"
            axes.text(column, row, form.format(value), ha="center", va="center", color=colour)
        axes.set_xticks(range(len(names)), names, rotation=45, ha="right", fontsize=8)
        axes.set_yticks(range(len(names)), names, fontsize=8)
        axes.set_title(title, fontsize=9)
    return png(figure)


def png(figure: Figure) -> bytes:
    """Render a figure.

    Args:
        figure: The figure.

    Returns:
        A PNG.
    """
    FigureCanvasAgg(figure)
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()
