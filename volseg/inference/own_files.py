"""What volseg has written itself, and therefore never takes for an image."""

from collections.abc import Iterator
from pathlib import Path, PurePath

from volseg.inference.manifest import read_manifest


class Results:
    """Knows the masks and maps of earlier runs by the manifests that lie above them.

    A mask that somebody has corrected by hand is still known, since its name counts.
    """

    def __init__(self) -> None:
        self._known: dict[Path, frozenset[str]] = {}

    def holds(self, file: Path) -> bool:
        """Tell whether a run has written a file.

        Args:
            file: The file.

        Returns:
            Whether the manifest of a folder above it names it.
        """
        place = file.absolute()
        return any(
            place.relative_to(folder).as_posix() in self._names_in(folder)
            for folder in place.parents
        )

    def _names_in(self, folder: Path) -> frozenset[str]:
        if folder not in self._known:
            entries = read_manifest(folder).values()
            paths = [path for each in entries for path in (each["target"], *_maps(each))]
            names = (name for path in paths for name in _names_below(path, folder))
            self._known[folder] = frozenset(names)
        return self._known[folder]


def _maps(entry: dict[str, object]) -> list[str]:
    maps = entry.get("map_hashes")
    return list(maps) if isinstance(maps, dict) else []


def _names_below(path: str, folder: Path) -> Iterator[str]:
    """Say how a path of a manifest may be called as seen from the manifest.

    It is written as the output was given, from a working folder that is long forgotten: what
    follows the output's own name is sure.
    """
    parts = PurePath(path).parts
    for index, part in enumerate(parts):
        before = parts[index - 1] if index else "."
        if before in (folder.name, ".", ".."):
            yield "/".join((part, *parts[index + 1 :]))
