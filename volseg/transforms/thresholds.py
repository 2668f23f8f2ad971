"""Thresholds that split intensities into classes, by Otsu's criterion.

After Otsu 1979 (https://doi.org/10.1109/TSMC.1979.4310076): the thresholds maximise the variance
between classes. For several of them the best cut of the histogram is found exactly, by dynamic
programming over its bins as Liao, Chen and Chung 2001 describe, instead of trying all combinations.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from volseg.errors import GeometryError

BINS = 256


def otsu_thresholds(values: Tensor, num_classes: int = 2, bins: int = BINS) -> Tensor:
    """Find the thresholds that tell classes of intensity apart best.

    Args:
        values: Intensities, any shape, finite.
        num_classes: Classes, 2 or more.
        bins: Bins of the histogram, from the smallest to the largest value.

    Returns:
        Thresholds in rising order, ``(num_classes - 1,)``: edges between bins, or the middle of
        empty bins, so that a value equal to one belongs above it. If there are fewer occupied bins
        than classes, the last ones lie beyond every value.

    Raises:
        GeometryError: If there are less than two classes, or fewer bins than classes.

    Examples:
        >>> otsu_thresholds(torch.tensor([0.0, 0.0, 1.0, 1.0]), bins=4)
        tensor([0.5000])
    """
    if not 2 <= num_classes <= bins:
        raise GeometryError(
            f"{num_classes} classes of {bins} bins are no thresholds; use 2 classes or more, and as"
            " many bins"
        )
    if values.numel() == 0:
        return torch.full((num_classes - 1,), float("inf"))
    array = values.detach().double().cpu().numpy().ravel()
    counts, edges = np.histogram(array, bins=bins)
    occupied = np.flatnonzero(counts)
    cuts = _best_cuts(counts[occupied].astype(float), occupied.astype(float) + 0.5, num_classes)
    lower, upper = edges[occupied[:-1] + 1], edges[occupied[1:]]
    between = np.append((lower + upper) / 2, np.inf)  # the middle of the gap, where there is one
    found = [between[cut - 1] for cut in cuts]
    return torch.tensor(found, dtype=torch.float32)


def _best_cuts(
    counts: NDArray[np.floating], places: NDArray[np.floating], num_classes: int
) -> list[int]:
    """Cut bins into runs with the largest sum of S^2 / N, which maximises the variance between.

    Returns the first bin of each run but the first; runs beyond the number of bins are empty.
    """
    bins = len(counts)
    number = np.concatenate([[0.0], np.cumsum(counts)])
    total = np.concatenate([[0.0], np.cumsum(counts * places)])
    span = number[None, :] - number[:, None]
    gain = (total[None, :] - total[:, None]) ** 2 / np.where(span > 0, span, 1)
    gain[np.tril_indices(bins + 1)] = -np.inf  # a run from i up to, not with, j > i
    runs = min(num_classes, bins)
    best = gain[0]
    origins = []
    for _ in range(runs - 1):
        table = best[:, None] + gain
        origins.append(table.argmax(axis=0))
        best = table.max(axis=0)
    cuts, end = [], bins
    for origin in reversed(origins):
        end = int(origin[end])
        cuts.append(end)
    return cuts[::-1] + [bins] * (num_classes - runs)
