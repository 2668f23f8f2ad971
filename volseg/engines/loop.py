"""Where, on what and from which seed a training runs."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Loop:
    """Where, on what and from which seed a training runs.

    Args:
        output_dir: Folder of the run; weights go to ``models/`` in it, everything else to
            ``train/``.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        batch_size: Samples of one step of one process.
        epoch_length: Steps of one epoch, after which the run is validated, logged and saved.
        num_workers: Processes that load data; they do not change the result.
        seed: The source of every draw; batches are a function of the seed and the step alone.
        resume: Whether to go on from ``train/resume.pt`` if it is there.
        progress: Whether to draw a progress bar on stderr.
        val_interval: Epochs from one validation to the next; the last epoch is always validated.
        card: Facts for the card of the saved weights.
    """

    output_dir: str | Path
    device: str = "auto"
    batch_size: int = 2
    epoch_length: int = 250
    num_workers: int = 0
    seed: int = 0
    resume: bool = False
    progress: bool = True
    val_interval: int = 1
    card: Mapping[str, Any] = field(default_factory=dict)

    @property
    def models_dir(self) -> Path:
        """Give the folder of the weights."""
        return Path(self.output_dir) / "models"

    @property
    def train_dir(self) -> Path:
        """Give the folder of the log, the panels and the state to resume from."""
        return Path(self.output_dir) / "train"


class Batches:
    """The batches of a run from a step on, made anew whenever they are iterated.

    Args:
        make: Makes the batches from a step on to the end of the run, with a number of workers.
        num_workers: Processes that load.
    """

    def __init__(self, make: Callable[[int, int], Iterable[Any]], num_workers: int = 0) -> None:
        self.make = make
        self.num_workers = num_workers
        self.start_step = 0

    def __iter__(self) -> Iterator[Any]:
        """Iterate from ``start_step`` on."""
        return iter(self.make(self.start_step, self.num_workers))

    def peek(self) -> Any:
        """Give the batch of ``start_step``, loaded by this process."""
        return next(iter(self.make(self.start_step, 0)))
