"""How often something was begun and never brought to an end, counted on a disk that all see.

A process that the system kills can tell nobody, so each leaves a file while it is at work.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile


class Attempts:
    """The attempts at one thing.

    Args:
        folder: Where the files are left.
        name: What is attempted, without a dot.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self.name = name

    @property
    def count(self) -> int:
        """Count the attempts that were begun and have not ended, those under way included."""
        return len(list(self.folder.glob(f"{self.name}.*")))

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Leave a file while the block runs; if the process is killed, it stays.

        Yields:
            Nothing.
        """
        with NamedTemporaryFile(prefix=f"{self.name}.", dir=self.folder):
            yield
