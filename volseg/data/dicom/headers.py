"""The header of a DICOM file.

pydicom is an optional dependency, and this is the module that asks for it.
"""

import struct
import zlib
from importlib import import_module
from pathlib import Path
from typing import Any

from volseg.data.headers import one_line
from volseg.errors import DataError

ENDINGS = (".dcm", ".dicom", ".ima")
"""How the files may end; most have no ending at all, or one that is part of an identifier."""

PREAMBLE = 128
"""Bytes before the letters ``DICM``, by part 10 of the standard."""

FIRST_GROUPS = (b"\x08\x00", b"\x02\x00")
"""How files without a preamble begin: with the group that says what they are, little endian."""


def load_pydicom(module: str = "pydicom") -> Any:
    """Import pydicom, or a part of it.

    Args:
        module: Dotted name.

    Returns:
        The module.

    Raises:
        DataError: If pydicom is not installed.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise DataError(
            "DICOM needs pydicom, which is not installed; run: pip install 'volseg[dicom]'"
        ) from error


def unreadable(*others: type[Exception]) -> tuple[type[Exception], ...]:
    """List what pydicom raises for files that are not what they seem.

    Args:
        *others: Classes to add.

    Returns:
        Classes of exceptions, for an ``except`` clause.
    """
    errors = load_pydicom("pydicom.errors")
    return (
        *(OSError, EOFError, ValueError, TypeError, KeyError, IndexError, AttributeError),
        *(NotImplementedError, OverflowError, RecursionError, struct.error, zlib.error),
        *(errors.InvalidDicomError, errors.BytesLengthException, *others),
    )


def is_dicom(path: Path) -> bool:
    """Tell whether a file is DICOM, from its first bytes.

    Args:
        path: The file.

    Returns:
        Whether it has the letters ``DICM`` in their place, or an ending of DICOM.
    """
    if path.suffix.lower() in ENDINGS:
        return True
    try:
        if not path.is_file():  # a pipe would keep whoever opens it waiting for ever
            return False
        with path.open("rb") as stream:
            return stream.read(PREAMBLE + 4)[PREAMBLE:] == b"DICM"
    except OSError:
        return False


def read_dataset(path: Path, *, with_pixels: bool = False) -> Any:
    """Read a DICOM file.

    Args:
        path: The file.
        with_pixels: Whether to read beyond the header.

    Returns:
        A data set of pydicom, whose transfer syntax is known.

    Raises:
        DataError: If it cannot be read.
    """
    if not path.is_file():
        raise DataError(f"{path}: does not exist")
    if path.stat().st_size == 0:
        raise DataError(f"{path}: is empty")
    read = load_pydicom().dcmread
    try:
        dataset = read(path, stop_before_pixels=not with_pixels, force=_lacks_preamble(path))
        _state_syntax(dataset)
    except unreadable() as error:
        raise DataError(f"{path}: is not a readable DICOM file ({_reason(error)})") from error
    return dataset


def kind_of(dataset: Any) -> str:
    """Name what a file holds, for messages.

    Args:
        dataset: Of pydicom.

    Returns:
        ``DICOMDIR``, the modality, or else the name of the class of objects.
    """
    meta = getattr(dataset, "file_meta", None)
    stored = "" if meta is None else str(meta.get("MediaStorageSOPClassUID", ""))
    if stored == "1.2.840.10008.1.3.10":
        return "DICOMDIR"
    uid = load_pydicom("pydicom.uid").UID(str(dataset.get("SOPClassUID", "") or stored))
    return str(dataset.get("Modality", "") or uid.name or "object of unknown class")


def _reason(error: Exception) -> str:
    is_other = type(error).__name__ == "InvalidDicomError"  # whose text advises about pydicom
    return "it lacks the letters DICM" if is_other else one_line(error)


def _lacks_preamble(path: Path) -> bool:
    with path.open("rb") as stream:
        head = stream.read(PREAMBLE + 4)
    return head[PREAMBLE:] != b"DICM" and head[:2] in FIRST_GROUPS


def _state_syntax(dataset: Any) -> None:
    """Write down how a file without a preamble was found to be encoded."""
    if "TransferSyntaxUID" in dataset.file_meta:
        return
    uids = load_pydicom("pydicom.uid")
    is_implicit, is_little = dataset.original_encoding
    plain = uids.ImplicitVRLittleEndian if is_implicit else uids.ExplicitVRLittleEndian
    dataset.file_meta.TransferSyntaxUID = plain if is_little else uids.ExplicitVRBigEndian
