"""What stands beside an image: where it comes from, and what its values mean."""

import os
from pathlib import Path

from volseg.data.reading import Reading
from volseg.inference.outputs.legend import Legend


def describe_sources(reading: Reading, path: Path) -> list[str]:
    """Name the files that an output was made from, as seen from the output.

    Args:
        reading: The image.
        path: The output.

    Returns:
        One path: the file, or the folder of a DICOM series, relative to the output's folder.
    """
    first = reading.files[0]
    source = first.parent if reading.source.format == "dicom" else first
    try:
        relative = os.path.relpath(source.absolute(), path.absolute().parent)
    except ValueError:  # another drive
        return [source.absolute().as_posix()]
    return [Path(relative).as_posix()]


def label_table(legend: Legend) -> str:
    """List the labels the way BIDS does.

    Args:
        legend: The labels.

    Returns:
        The content of a ``_dseg.tsv``.
    """
    rows = [f"{label.value}\t{label.name}\t{label.hex_color}" for label in legend]
    return "\n".join(["index\tname\tcolor", *rows, ""])
