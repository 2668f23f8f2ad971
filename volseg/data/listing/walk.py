"""All files of a folder, and the data sets in it, which are listed by their own rules."""

import os
from dataclasses import dataclass, field
from pathlib import Path

from volseg.errors import DataError

MARKERS = ("dataset.json", "dataset_description.json")
"""Files that say that their folder is a data set."""


@dataclass
class Tree:
    """What a folder holds.

    Args:
        files: Its files and those of the folders below, without hidden ones; a link that leads
            nowhere is among them, since a file is lost there, and so are pipes and devices, which
            reading refuses by name.
        datasets: Folders below it that are data sets; what they hold is not among the files.
        links: Links below it that lead to folders; what they hold is among the files.
    """

    files: list[Path] = field(default_factory=list)
    datasets: list[Path] = field(default_factory=list)
    links: list[Path] = field(default_factory=list)


def walk(folder: Path, *, enter_datasets: bool = False) -> Tree:
    """List what a folder holds; linked folders are entered, but never one inside itself.

    Args:
        folder: The folder.
        enter_datasets: Whether data sets are folders like others.

    Returns:
        Files, data sets and links, in order; a folder that cannot be listed is a `DataError`.
    """
    tree = Tree()
    _collect(folder, (), tree, enter_datasets=enter_datasets)
    return Tree(sorted(tree.files), sorted(tree.datasets), sorted(tree.links))


def list_folder(folder: Path) -> list[Path]:
    """List files and folders that are not hidden.

    Args:
        folder: The folder.

    Returns:
        Their paths, by name.

    Raises:
        DataError: If it cannot be listed.
    """
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise DataError(f"{folder} cannot be listed: {error.strerror or error}") from error


def _collect(folder: Path, above: tuple[str, ...], tree: Tree, *, enter_datasets: bool) -> None:
    real = os.path.realpath(folder)
    if real in above:
        return
    paths = list_folder(folder)
    if above and not enter_datasets and any(path.name in MARKERS for path in paths):
        tree.datasets.append(folder)
        return
    if above and folder.is_symlink():
        tree.links.append(folder)
    for path in paths:
        if path.is_dir():
            _collect(path, (*above, real), tree, enter_datasets=enter_datasets)
        else:
            tree.files.append(path)
