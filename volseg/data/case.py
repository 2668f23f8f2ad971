"""A case: the files that belong together."""

import re
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Case:
    """One case.

    Args:
        name: Name without ending; below a folder, the path relative to it.
        images: Its image files, one a channel; or one file of several channels.
        label: Its label file; `None` if it has none.
        group: Whom it is of; cases of one group never part in a split.
        anatomy: A label map of its structures; it may stand for the images where these are
            synthesised.
        brain: A mask of its brain.
        contrast: What its image shows, such as ``T1``; empty if nobody says.
        channels: What each channel shows, such as ``t1c``; empty if nobody asks.
    """

    name: str
    images: tuple[Path, ...]
    label: Path | None = None
    group: str | None = None
    anatomy: Path | None = None
    brain: Path | None = None
    contrast: str = ""
    channels: tuple[str, ...] = ()

    @property
    def files(self) -> list[Path]:
        """List all its files, images first."""
        others = (self.label, self.anatomy, self.brain)
        return [*self.images, *(path for path in others if path is not None)]


def stem(path: str | Path) -> str:
    """Give a path without ``.nii`` or ``.nii.gz``.

    Args:
        path: The path.

    Returns:
        The path up to the ending, with ``/`` between folders.

    Examples:
        >>> stem("a/b.c.nii.gz"), stem("A.NII.GZ")
        ('a/b.c', 'A')
    """
    return re.sub(r"(\.nii)?(\.gz)?$", "", Path(path).as_posix(), flags=re.IGNORECASE)
