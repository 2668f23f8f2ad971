"""Cases from a CSV or TSV list: an image a row, or a column for each channel."""

import csv
import os
from collections.abc import Iterator, Mapping, Sequence
from io import StringIO
from pathlib import Path

from volseg.data.listing.dataset_json import listed_source
from volseg.data.listing.naming import Naming
from volseg.data.listing.scan_case import FoundImage
from volseg.data.listing.sequences import canonical, is_sequence
from volseg.data.source import Source
from volseg.errors import DataError

ENDINGS = (".csv", ".tsv")

DELIMITERS = "\t;,"


def listed_images(path: Path, channels: Sequence[str], naming: Naming) -> list[FoundImage]:
    """List the images of a list.

    Args:
        path: The list. Its first row names the columns: ``image``, or one a channel, and ``name``
            if it likes; other columns are left alone. Paths are relative to the list.
        channels: The channels that are wanted; their columns may have any spelling.
        naming: Reads the case's name from the files where the list does not give it.

    Returns:
        The images, row by row; one that is not there has the reason.

    Raises:
        DataError: If the file is no such list, or none of its images is there.
    """
    names, rows = read_list(path)
    columns = _columns(path, names, channels)
    found = [
        image
        for number, row in enumerate(rows, start=2)
        for image in _images_of_row(path, number, row, columns, naming)
    ]
    if not found:
        raise DataError(f"{path} names no image under {' or '.join(columns)}")
    if all(image.reason is not None for image in found):
        first = found[0]
        raise DataError(
            f"{path}: none of its {len(found)} images is there; {first.path} {first.reason}; paths"
            " are relative to the list"
        )
    return found


def read_list(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    """Read a list; its first line tells what parts the columns.

    Args:
        path: The list.

    Returns:
        Names of the columns, and the value of each, row by row.

    Raises:
        DataError: If it cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        head = text.split("\n", 1)[0]
        delimiter = max(DELIMITERS, key=head.count) if any(d in head for d in DELIMITERS) else ","
        table = csv.DictReader(StringIO(text), delimiter=delimiter, strict=True)
        rows = list(table)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as a list: {error}") from error
    names = [name.strip() for name in table.fieldnames or ()]
    return names, [
        {key.strip(): (value or "").strip() for key, value in row.items() if key is not None}
        for row in rows
    ]


def _columns(path: Path, names: Sequence[str], channels: Sequence[str]) -> list[str]:
    """Choose the columns that hold images."""
    wanted = {canonical(channel) for channel in channels}
    columns = [name for name in names if canonical(name) in wanted]
    columns = columns or [name for name in names if name.lower() == "image"]
    columns = columns or [name for name in names if is_sequence(name)]
    if not columns:
        wish = f", or {', '.join(channels)}" if channels else ", or one for each channel"
        given = ", ".join(names) or "none"
        raise DataError(f"{path} has the columns {given}; it needs a column 'image'{wish}")
    return columns


def _images_of_row(
    path: Path, number: int, row: Mapping[str, str], columns: Sequence[str], naming: Naming
) -> Iterator[FoundImage]:
    """Make the images of a row; what a column states makes one case, whatever the files' names."""
    files = {column: row[column] for column in columns if row.get(column)}
    name = row.get("name") or ""
    if name and not files:
        source = Source(name, (path,), "unknown")
        yield FoundImage(source, path, name, is_given=True, reason="its row names no image")
    is_lone = [column.lower() for column in columns] == ["image"]
    for column, file in files.items():
        source, reason = _source(path.parent, file)
        case, channel = naming.read(
            source.name, Path(os.path.realpath(source.files[0])).parent.name
        )
        name = name if is_lone else name or case
        own = Source(
            name if name and len(columns) == 1 else source.name, source.files, source.format
        )
        if is_lone:
            yield FoundImage(own, path, case, channel, is_given=True, reason=reason)
        else:
            root = path / str(number)
            yield FoundImage(own, root, name, column, "dataset", reason=reason)


def _source(root: Path, given: str) -> tuple[Source, str | None]:
    """Make a source of a file or a DICOM folder, or say why there is none."""
    path = root / given
    if not path.exists():
        return Source(Path(given).name, (path,), "unknown"), "does not exist"
    try:
        return listed_source(root, given), None
    except DataError as error:
        reason = str(error).removeprefix(f"{path}: ")
        return Source(Path(given).name, (path,), "unknown"), reason
