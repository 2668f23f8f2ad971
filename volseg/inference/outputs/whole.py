"""Files that are there whole, or not at all.

A file is written under a hidden name in the folder where it is to lie, and renamed once it was read
back. A run that is killed leaves at most hidden files; they match `LEFTOVERS`.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

LEFTOVERS = ".*.partial*"
"""What the hidden files of a killed run match."""


@contextmanager
def whole_files(*paths: Path) -> Iterator[tuple[Path, ...]]:
    """Lend hidden names, and rename the files once the block was left without an error.

    The first file is renamed last: where it is, the others are.

    Args:
        *paths: The files, in folders that are there.

    Yields:
        A hidden name for each file, with the same ending.

    Raises:
        OSError: If the disk refuses; what was there before stays, and nothing is added.
    """
    partials = tuple(hidden_name(path) for path in paths)
    renamed: list[Path] = []
    try:
        yield partials
        for partial in partials:
            _flush(partial)
        for partial, path in reversed(list(zip(partials, paths, strict=True))):
            is_new = not path.exists()
            partial.replace(path)
            renamed += [path] if is_new else []
    except OSError as error:
        for path in renamed:
            path.unlink(missing_ok=True)
        shown = dict(zip(map(str, partials), paths, strict=True))
        error.filename = str(shown.get(str(error.filename), error.filename or paths[0]))
        raise
    finally:
        for partial in partials:
            partial.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file; it is there whole or not at all.

    Args:
        path: The file; replaced if it is there.
        text: What to write.
    """
    with whole_files(path) as (partial,):
        partial.write_text(text, "utf-8", "backslashreplace", "\n")  # names may be no text


def ask_disk(path: Path) -> None:
    """Let the system say why a library could not write a file, if it knows: with an `OSError`.

    Args:
        path: The file, which is removed.
    """
    try:
        with path.open("ab") as stream:
            stream.write(bytes(1 << 16))
            stream.flush()
            os.fsync(stream.fileno())
    finally:
        path.unlink(missing_ok=True)


def hidden_name(path: Path) -> Path:
    """Give the hidden name that a file has while it is written; it is short and keeps the ending.

    Args:
        path: The file.

    Returns:
        A name in the same folder, different for each file and process.
    """
    mark = sha256(os.fsencode(path.name)).hexdigest()[:12]
    ending = "".join(path.suffixes[-2:]) if path.name.endswith((".gz", ".nrrd")) else path.suffix
    return path.with_name(f".{mark}.{os.getpid()}.partial{ending}")


def _flush(partial: Path) -> None:
    with partial.open("rb+") as stream:
        os.fsync(stream.fileno())
