"""A case to segment, and an image on its way into one."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from volseg.data.source import Source


@dataclass(frozen=True)
class ScanCase:
    """The images that are segmented together.

    Args:
        name: Where its results lie below the output, without ending; ``/`` between folders.
        sources: The image of each channel, in the order that was asked for; ``""`` for a lone
            image of which nobody says what it shows. There is always one.
        reason: Why it cannot be segmented; `None` if nothing speaks against it.
        is_left_out: Whether it is no case at all, and the reason says why.
    """

    name: str
    sources: Mapping[str, Source]
    reason: str | None = None
    is_left_out: bool = False

    @property
    def path(self) -> Path:
        """Give its first file."""
        return next(iter(self.sources.values())).files[0]


@dataclass(frozen=True)
class FoundImage:
    """An image that was found, and what its name or data set says of it.

    Args:
        source: Its files; the name is that of a case of its own.
        root: The folder that was searched; images of two folders never make one case.
        case: Name of the case that it makes with others.
        channel: What it shows, such as ``t1c``; `None` if nothing says so.
        origin: What says so: the file's ``name``, the rules of ``bids``, or a ``dataset``'s own
            description.
        is_given: Whether the user named this very file.
        reason: Why it cannot be used; `None` if nothing speaks against it.
    """

    source: Source
    root: Path
    case: str
    channel: str | None = None
    origin: Literal["name", "bids", "dataset"] = "name"
    is_given: bool = False
    reason: str | None = None

    @property
    def path(self) -> Path:
        """Give its first file."""
        return self.source.files[0]

    @property
    def identity(self) -> tuple[Path, ...]:
        """Give its files where they really lie; links that lead in a circle are as they are."""
        return tuple(Path(os.path.realpath(file)) for file in self.source.files)
