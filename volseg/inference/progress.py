"""How a batch shows where it is: bars on a terminal, lines anywhere else."""

import sys
from time import perf_counter
from typing import Any, Self

from tqdm import tqdm

from volseg.inference.results import CaseResult, one_line


class Progress:
    """A bar for the cases, and one for the windows of a case that was begun here, on stderr.

    Args:
        total: Number of cases.
        is_shown: Whether to show anything.
    """

    def __init__(self, total: int, *, is_shown: bool) -> None:
        self.total = total
        self.is_shown = is_shown
        self.done = 0
        self.begin = perf_counter()
        self.cases: Any = None
        self.windows: Any = None

    def __enter__(self) -> Self:
        """Draw the bars."""
        if self.is_shown and sys.stderr.isatty():
            self.cases = tqdm(total=self.total, desc="segment", unit="case")
        return self

    def __exit__(self, *_: object) -> None:
        """Take the bars away."""
        for bar in (self.windows, self.cases):
            if bar is not None:
                bar.close()

    def start(self, name: str, windows: int) -> None:
        """Begin the windows of a case.

        Args:
            name: The case.
            windows: How many calls of the network it takes.
        """
        if self.cases is None:
            return
        if self.windows is None:
            self.windows = tqdm(total=0, position=1, leave=False, unit="window")
        self.windows.reset(total=windows)
        self.windows.set_description(one_line(name))

    def advance(self) -> None:
        """Count a call of the network."""
        if self.windows is not None:
            self.windows.update()

    def finish(self, result: CaseResult) -> None:
        """Count a case.

        Args:
            result: What became of it.
        """
        self.done += 1
        if self.cases is not None:
            self.cases.update()
        elif self.is_shown:
            left = (perf_counter() - self.begin) / self.done * (self.total - self.done)
            tqdm.write(
                f"segment {self.done}/{self.total}: {one_line(result.name)} {result.status}"
                f" in {result.seconds:.1f} s, about {left:.0f} s to go",
                file=sys.stderr,
            )
