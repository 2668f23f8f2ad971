"""Random draws from a dataset as a pure function of the seed and the number of the draw.

What a training step sees depends on nothing else: not on the number of workers, the threads, the
order in which they finish, or the step at which a run was resumed.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from typing import Any

import numpy as np
from torch.utils.data import DataLoader, Dataset, Sampler

from volseg.errors import DataError


class Draws(Dataset[Any]):
    """An endless dataset of random draws.

    The cases are gone through in a fresh random order each round, so that none is seen twice
    before all were seen once.

    Args:
        dataset: Preprocessed cases, a sequence.
        transform: Random transform of one case; a MONAI transform, or any callable with
            ``set_random_state(seed)``.
        seed: The source of every draw.

    Raises:
        DataError: If the dataset is empty.
    """

    def __init__(
        self, dataset: Sequence[Any] | Dataset[Any], transform: Any, seed: int = 0
    ) -> None:
        self.dataset = dataset
        self.transform = transform
        self.seed = seed
        self.num_cases = len(dataset)  # type: ignore[arg-type] # datasets in use have a length
        if self.num_cases == 0:
            raise DataError("the dataset is empty; there is nothing to draw from")
        self._transforms: dict[int, Callable[[Any], Any]] = {}
        self._order: tuple[int, list[int]] = (-1, [])

    def __getitem__(self, index: int) -> Any:
        """Make one draw.

        Args:
            index: Number of the draw, from 0 without end.

        Returns:
            The transformed case.
        """
        case = self.dataset[self.case_of(index)]
        transform = self._own_transform()
        key = np.random.SeedSequence([self.seed, index])
        transform.set_random_state(seed=int(key.generate_state(1)[0]))
        return transform(case)

    def case_of(self, index: int) -> int:
        """Tell which case a draw takes.

        Args:
            index: Number of the draw.

        Returns:
            Index into the dataset.
        """
        epoch, place = divmod(index, self.num_cases)
        known, order = self._order
        if known != epoch:
            order = np.random.default_rng([self.seed, epoch]).permutation(self.num_cases).tolist()
            self._order = (epoch, order)
        return order[place]

    def _own_transform(self) -> Any:
        """Give this thread's own copy of the transform, whose state no other thread touches."""
        thread = threading.get_ident()
        if thread not in self._transforms:
            self._transforms[thread] = deepcopy(self.transform)
        return self._transforms[thread]


class _Steps(Sampler[list[int]]):
    """The draws of each remaining step of one process."""

    def __init__(self, batch_size: int, steps: range, rank: int, world: int) -> None:
        self.batch_size = batch_size
        self.steps = steps
        self.rank = rank
        self.world = world

    def __iter__(self) -> Iterator[list[int]]:
        for step in self.steps:
            first = (step * self.world + self.rank) * self.batch_size
            yield list(range(first, first + self.batch_size))

    def __len__(self) -> int:
        return len(self.steps)


def draw_loader(
    draws: Draws,
    batch_size: int,
    start_step: int,
    total_steps: int,
    num_workers: int = 0,
    rank: int = 0,
    world: int = 1,
) -> DataLoader[Any]:
    """Load the batches of the steps that remain.

    Step ``s`` of process ``rank`` takes the draws from ``(s * world + rank) * batch_size`` on.

    Args:
        draws: Where samples come from.
        batch_size: Samples of one step of one process.
        start_step: The first step to load.
        total_steps: Steps of the whole run.
        num_workers: Processes that load; 0 loads in this one.
        rank: Number of this process.
        world: Number of processes.

    Returns:
        The loader, one batch a step.
    """
    steps = range(start_step, total_steps)
    sampler = _Steps(batch_size, steps, rank, world)
    return DataLoader(draws, batch_sampler=sampler, num_workers=num_workers)
