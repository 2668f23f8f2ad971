"""The demo's pictures: curves, a reconstruction, masks on slices."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

COLOURS = ((0.0, 0.0, 0.0, 0.0), (0.90, 0.45, 0.25, 0.55), (0.25, 0.60, 0.90, 0.55))
"""Background, grey matter, white matter: red, green, blue, opacity."""
CUT_COLOUR = "#f2d13d"


def draw_curves(
    path: Path, pretraining: Sequence[float], arms: Mapping[str, Sequence[float]], steps: int
) -> None:
    """Draw the losses of the three runs.

    Args:
        path: The PNG file.
        pretraining: Loss of each epoch without labels.
        arms: Loss of each epoch with labels, by arm.
        steps: Steps of an epoch.
    """
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot(_ends(pretraining, steps), pretraining, marker="o", color="#444")
    left.set(title="Pretraining, no labels", ylabel="squared error, hidden voxels")
    for name, losses in arms.items():
        right.plot(_ends(losses, steps), losses, marker="o", label=name)
    right.set(title="Fine-tuning", ylabel="Dice + cross-entropy loss")
    right.legend()
    for axes in (left, right):
        axes.set_xlabel("step")
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
    _save(figure, path)


def draw_panels(path: Path, panels: Mapping[str, Tensor]) -> None:
    """Draw the middle axial slice of each picture, on one grey scale.

    Args:
        path: The PNG file.
        panels: Pictures by name, ``(1, 1, D, H, W)`` each.
    """
    slices = {name: _axial_middle(volume) for name, volume in panels.items()}
    low, high = np.percentile(next(iter(slices.values())), (0.5, 99.5))
    figure = Figure(figsize=(3 * len(slices), 3.3), layout="constrained")
    for axes, (name, picture) in zip(figure.subplots(1, len(slices)), slices.items(), strict=True):
        axes.imshow(picture, cmap="gray", vmin=low, vmax=high)
        axes.set_title(name)
        axes.axis("off")
    _save(figure, path)


def draw_overlays(
    path: Path, image: NDArray[Any], masks: Mapping[str, NDArray[Any]], cut: float
) -> None:
    """Draw masks on a sagittal, a coronal and an axial slice.

    Args:
        path: The PNG file.
        image: The volume, ``(X, Y, Z)``, in RAS order, cubic voxels.
        masks: Label maps on its grid by name, one row each.
        cut: Index along Y of the border between training and test.
    """
    places = [0.42, 0.33, 0.5]
    index = [int(share * length) for share, length in zip(places, image.shape, strict=True)]
    figure = Figure(figsize=(10, 3.3 * len(masks)), layout="constrained")
    figure.set_facecolor("white")
    rows = figure.subplots(len(masks), 3, squeeze=False)
    for row, (name, mask) in zip(rows, masks.items(), strict=True):
        for axis, axes in enumerate(row):
            axes.imshow(_cut_open(image, axis, index[axis]), cmap="gray")
            axes.imshow(np.array(COLOURS)[_cut_open(mask, axis, index[axis])])
            axes.set(xticks=[], yticks=[])
        row[0].axvline(cut, color=CUT_COLOUR, linestyle="--", linewidth=1)
        row[2].axhline(image.shape[1] - 1 - cut, color=CUT_COLOUR, linestyle="--", linewidth=1)
        row[0].set_ylabel(name)
    _save(figure, path)


def _ends(losses: Sequence[float], steps: int) -> list[int]:
    return [steps * (epoch + 1) for epoch in range(len(losses))]


def _axial_middle(volume: Tensor) -> NDArray[Any]:
    return _cut_open(volume[0, 0].numpy(), 2, volume.shape[-1] // 2)


def _cut_open(volume: NDArray[Any], axis: int, index: int) -> NDArray[Any]:
    """Take a slice with up upwards (sagittal, coronal) or the front upwards (axial)."""
    picture: NDArray[Any] = np.take(volume, index, axis=axis).T[::-1]
    return picture


def _save(figure: Figure, path: Path) -> None:
    FigureCanvasAgg(figure)
    figure.savefig(path, dpi=110)
