"""A large array in a file without a name, so that it takes no memory and vanishes with its run."""

import mmap
import os
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Scratch:
    """16-bit numbers on the grid of an image, filled slab by slab and read in the order of files.

    Slabs lie one after the other in the file, so that filling one touches no page of another. Room
    is taken at once, with an `OSError` if there is none: a file with holes would end the process
    when the disk is full.

    Args:
        shape: ``(K, X, Y, Z)``.
        along: Axis of the image, 0 to 2, along which slabs come.
        folder: Where the file lies; `None`: in memory after all.
    """

    def __init__(self, shape: tuple[int, int, int, int], along: int, folder: Path | None) -> None:
        rest = [axis for axis in (3, 2, 1) if axis != along + 1]
        order = [along + 1, 0, *rest]
        layout = tuple(shape[axis] for axis in order)
        held = np.zeros(layout, np.uint16) if folder is None else _in_file(layout, folder)
        self._held: NDArray[Any] = held
        self.values: NDArray[np.uint16] = held.transpose(np.argsort(order))

    def let_go(self) -> None:
        """Give back the memory of what was just filled or read; the numbers stay in the file."""
        mapped = getattr(self._held, "_mmap", None)
        if mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
            mapped.madvise(mmap.MADV_DONTNEED)


def _in_file(layout: tuple[int, ...], folder: Path) -> NDArray[Any]:
    size = 2 * int(np.prod(layout, dtype=np.int64))
    with TemporaryFile(dir=folder) as file:
        try:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)
            else:
                file.truncate(size)
        except OSError as error:
            error.filename = str(folder)
            raise
        return np.memmap(file, np.uint16, "r+", shape=layout)
