"""Which case and channel a name stands for: by a map that the user gives, or by its sequence.

A map gives each channel the end of a name (``_T1_Gd``), or a pattern. A pattern with ``/`` is that
of a whole path below the input, any other that of the file's name. What a ``*`` stands for names
the case, so ``T1c/*`` and ``FLAIR/*`` pair by the files' names, and ``*/t1.nii.gz`` and
``*/flair.nii.gz`` by their folders. Two or more of them within a file's name (``*t1*post*``) only
describe it, and the case is the folder.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from volseg.data.listing.sequences import canonical, split_sequence
from volseg.data.reading import FORMATS
from volseg.errors import DataError

SEPARATORS = "_-. "

WILDCARD = re.compile(r"\*\*/|\*|\?|\[[^]]+\]")


@dataclass(frozen=True)
class Pattern:
    """What the map says of one channel.

    Args:
        channel: The channel.
        text: The end of a name, or a pattern.
    """

    channel: str
    text: str

    @property
    def is_suffix(self) -> bool:
        """Whether it is the end of a name."""
        return "/" not in self.text and not WILDCARD.search(self.text)

    @property
    def weight(self) -> int:
        """Count the letters that stand for themselves; of two patterns that fit, more wins."""
        return len(WILDCARD.sub("", self.text))

    def match(self, name: str) -> str | None:
        """Give the case of a name.

        Args:
            name: Path below the input, without ending.

        Returns:
            Name of the case, maybe empty; `None` if the pattern does not fit.
        """
        path = PurePosixPath(name)
        folder = "" if path.parent == PurePosixPath() else path.parent.as_posix()
        if self.is_suffix:
            is_fit = path.name.casefold().endswith(self.text.casefold())
            own = path.name[: -len(self.text)] if is_fit else ""
            return _join(folder, own) if is_fit else None
        is_path = "/" in self.text
        found = re.fullmatch(_expression(self.text), name if is_path else path.name, re.IGNORECASE)
        if found is None:
            return None
        last = len(WILDCARD.findall(self.text.rsplit("/", 1)[-1]))
        texts = [text or "" for text in found.groups()]
        folders = texts[: len(texts) - last] if is_path else [folder]
        return _join(*folders, texts[-1] if last == 1 else "")


class Naming:
    """Reads case and channel from names.

    Args:
        channel_map: For each channel the end of a file's name, or a pattern.

    Raises:
        DataError: If a channel has neither.
    """

    def __init__(self, channel_map: Mapping[str, str] | None = None) -> None:
        self._patterns = [
            Pattern(channel, _without_ending(text)) for channel, text in (channel_map or {}).items()
        ]
        self._mapped = {canonical(pattern.channel) for pattern in self._patterns}
        for pattern in self._patterns:
            if not pattern.text.strip():
                raise DataError(
                    f"the channel map gives nothing for {pattern.channel}; give the end of a"
                    " file's name, such as _T1_Gd, or a pattern"
                )

    def channel_of(self, name: str, otherwise: str | None = None) -> str | None:
        """Say which channel the map gives to a name.

        Args:
            name: Path below the input, without ending.
            otherwise: What a data set says that it shows.

        Returns:
            The channel; what the data set says if the map speaks neither of the name nor of that
            channel.
        """
        pattern = self._fitting(name)
        if pattern is not None:
            return pattern.channel
        return None if canonical(otherwise or "") in self._mapped else otherwise

    def read(self, name: str, root: str) -> tuple[str, str | None]:
        """Read case and channel.

        Args:
            name: Path below the input, without ending.
            root: Name of the input, for a case that has no other.

        Returns:
            The case, and the channel; the name itself and `None` if it says nothing.
        """
        pattern = self._fitting(name)
        if pattern is not None:
            return pattern.match(name) or root, pattern.channel
        path = PurePosixPath(name)
        own, sequence = split_sequence(path.name)
        if sequence is None or sequence in self._mapped:
            return name, None
        folder = "" if path.parent == PurePosixPath() else path.parent.as_posix()
        return _join(folder, own) or root, sequence

    def _fitting(self, name: str) -> Pattern | None:
        fitting = [pattern for pattern in self._patterns if pattern.match(name) is not None]
        return max(fitting, key=lambda pattern: pattern.weight, default=None)


def _without_ending(text: str) -> str:
    ending = next((ending for ending in FORMATS if text.lower().endswith(ending)), "")
    return text[: len(text) - len(ending)]


def _expression(pattern: str) -> str:
    """Write a pattern as a regular expression with a group for each wildcard."""
    parts, start = [], 0
    for found in WILDCARD.finditer(pattern):
        parts.append(re.escape(pattern[start : found.start()]))
        text = found.group()
        inside = text[1:-1].replace("\\", r"\\")
        inside = f"^{inside[1:]}" if inside.startswith("!") else inside
        groups = {"**/": "(?:(.*)/)?", "*": "([^/]*)", "?": "([^/])"}
        parts.append(groups.get(text, f"([{inside}])"))
        start = found.end()
    return "".join([*parts, re.escape(pattern[start:])])


def _join(*parts: str) -> str:
    trimmed = [part.rstrip(SEPARATORS) for part in parts]
    return "/".join(part for part in trimmed if part)
