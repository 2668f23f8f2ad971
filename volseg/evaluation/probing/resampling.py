"""How far a score would move with other patients and other folds.

Groups are drawn again with replacement, as in `volseg.evaluation.intervals`; the score of each draw
is computed from the predictions of one of the repeats, each in its turn, so that the spread over
folds is part of the interval. Arms that see the same draws can be subtracted draw by draw.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from volseg.evaluation.intervals import Interval

DRAWS = 1000

Score = Callable[[NDArray[np.floating], NDArray[np.floating] | None], float]
"""From what a repeat predicted and how much each sample counts (`None`: alike) to a number."""


def group_draws(groups: Sequence[str], draws: int = DRAWS, seed: int = 0) -> NDArray[np.floating]:
    """Draw groups again and again.

    Args:
        groups: Group of each sample.
        draws: How often.
        seed: Of the draws.

    Returns:
        How often each sample counts in each draw, ``(draws, N)``.
    """
    _, index = np.unique(list(groups), return_inverse=True)
    count = int(index.max()) + 1
    random = np.random.default_rng(seed)
    times = random.multinomial(count, np.full(count, 1 / count), size=draws)
    drawn: NDArray[np.floating] = times[:, index].astype(float)
    return drawn


def scores_of_draws(
    score: Score, repeats: NDArray[np.floating], draws: NDArray[np.floating]
) -> tuple[float, NDArray[np.floating]]:
    """Score predictions, and score them again for each draw.

    Args:
        score: The score; `nan` where a draw has none, such as one without a class.
        repeats: What each repeat predicted, ``(R, N, ...)``.
        draws: What `group_draws` gave.

    Returns:
        The mean over the repeats, and the score of each draw.
    """
    mean = float(np.mean([score(predicted, None) for predicted in repeats]))
    each = [score(repeats[number % len(repeats)], draw) for number, draw in enumerate(draws)]
    return mean, np.array(each)


def interval_of(
    mean: float, each: NDArray[np.floating], cases: int, level: float = 0.95
) -> Interval:
    """Give the range of most draws.

    Args:
        mean: The score of all samples.
        each: The score of each draw.
        cases: Number of samples.
        level: Fraction of the draws that the interval holds.

    Returns:
        The interval; its ends are `nan` if no draw has a score.
    """
    finite = each[np.isfinite(each)]
    if not len(finite):
        return Interval(mean, float("nan"), float("nan"), cases)
    low, high = np.quantile(finite, [(1 - level) / 2, (1 + level) / 2])
    return Interval(mean, float(low), float(high), cases)
