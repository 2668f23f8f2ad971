"""Images in folders and single files, each by its ending; DICOM by its content."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from volseg.data.dicom.headers import is_dicom
from volseg.data.dicom.series import find_series
from volseg.data.listing.naming import Naming
from volseg.data.listing.scan_case import FoundImage
from volseg.data.listing.walk import Tree
from volseg.data.reading import format_of, source_of
from volseg.data.source import Source
from volseg.errors import DataError

NO_DICOM = (".json", ".csv", ".tsv", ".txt", ".md", ".bval", ".bvec", ".raw", ".zraw", ".img")
"""Endings of files beside images into which nobody needs to look."""


def images_in(tree: Tree, folder: Path, base: Path, naming: Naming) -> list[FoundImage]:
    """Make images of the files of a folder.

    Args:
        tree: What the folder holds.
        folder: The folder.
        base: The folder that names are relative to.
        naming: Reads case and channel from names.

    Returns:
        The images, by name; DICOM series last.
    """
    sources = [source_of(path, name_below(path, base)) for path in tree.files if is_image(path)]
    if has_dicom(tree.files):
        for place in (folder, *tree.links):  # series are not looked for behind links
            sources += _find_series(set(tree.files), place, base)
    return [_describe(source, base, naming) for source in sources]


def given_image(path: Path, naming: Naming) -> FoundImage:
    """Make an image of a file that the user named, whatever its ending.

    Args:
        path: The file.
        naming: Reads case and channel from names.

    Returns:
        The image; one that cannot be read has the reason.
    """
    try:
        source = source_of(path)
    except DataError as error:
        reason = str(error).removeprefix(f"{path}: ")
        source = Source(path.name, (path,), "unknown")
        return FoundImage(source, path.parent, path.name, is_given=True, reason=reason)
    return replace(_describe(source, path.parent, naming), is_given=True)


def is_image(path: Path) -> bool:
    """Tell an image from its name.

    Args:
        path: The file.

    Returns:
        Whether its ending is that of an image. An Analyze header counts where its data lie beside
        it; a segmentation as 3D Slicer names it does not.
    """
    if format_of(path) is None or path.suffix.lower() == ".img":
        return False
    if path.suffix.lower() == ".hdr":
        return path.with_suffix(".img").is_file()
    return not path.name.lower().endswith((".seg.nrrd", ".seg.nhdr"))


def name_below(path: Path, base: Path) -> str:
    """Name a file by its path.

    Args:
        path: A file whose ending is that of an image.
        base: The folder that the name is relative to.

    Returns:
        The path without ending, with ``/`` between folders.
    """
    return (path.parent.relative_to(base) / source_of(path).name).as_posix()


def has_dicom(files: Sequence[Path]) -> bool:
    """Look for one DICOM file among others.

    Args:
        files: The files.

    Returns:
        Whether there is one.
    """
    return any(
        format_of(path) is None and path.suffix.lower() not in NO_DICOM and is_dicom(path)
        for path in files
    )


def _find_series(files: set[Path], folder: Path, base: Path) -> list[Source]:
    """Find the series in a folder, without those that lie in a data set below it."""
    found = [source for source in find_series(folder) if files.issuperset(source.files)]
    below = folder.relative_to(base).as_posix()
    if below == ".":
        return found
    alone = folder.resolve().name
    return [
        replace(source, name=below if source.name == alone else f"{below}/{source.name}")
        for source in found
    ]


def _describe(source: Source, base: Path, naming: Naming) -> FoundImage:
    root = base.resolve().name or "case"
    case, channel = naming.read(source.name, root)
    if source.format == "dicom" and channel is not None and naming.channel_of(source.name) is None:
        case = source.name.rpartition("/")[0] or root  # numbers of series differ within a study
    return FoundImage(source, base, case, channel)
