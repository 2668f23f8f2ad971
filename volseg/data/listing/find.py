"""Finding what to segment: files, folders, patterns, lists and data sets become cases."""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from volseg.data.listing.finder import LAYOUTS, Finder
from volseg.data.listing.grouping import make_cases
from volseg.data.listing.names import distinct_cases
from volseg.data.listing.naming import Naming
from volseg.data.listing.scan_case import FoundImage, ScanCase
from volseg.data.listing.sequences import canonical
from volseg.errors import DataError

RESULT = "was written by a run of volseg"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Wish:
    """What is looked for; all as for `find_scans`.

    Args:
        channels: What a network takes.
        layout: What folders are.
        channel_map: For each channel the end of a file's name, or a pattern.
        optional_channels: Whether a case may lack some of the channels.
    """

    channels: Sequence[str] = ()
    layout: str = "auto"
    channel_map: Mapping[str, str] = field(default_factory=dict)
    optional_channels: bool = False


def find_scans(
    inputs: Sequence[Path | str],
    channels: Sequence[str] = (),
    *,
    layout: str = "auto",
    channel_map: Mapping[str, str] | None = None,
    optional_channels: bool = False,
) -> list[ScanCase]:
    """Find what to segment; no image is read.

    Args:
        inputs: Files, folders, patterns such as ``scans/**/*_t1.nii.gz``, CSV or TSV lists, and
            ``dataset.json`` of the Decathlon or nnU-Net. A folder may be a data set of these, or
            of BIDS. Any other is searched, and its tree gives the names.
        channels: What a network takes, in its order. Empty: each image is a case, but where a
            data set says which channels make one. A single one that is no sequence, such as
            ``MRI``: each image is a case.
        layout: ``auto``, or what folders are: ``folder``, ``decathlon``, ``nnunet`` or ``bids``.
        channel_map: For each channel the end of a file's name, such as ``_T1_Gd``, or a pattern,
            where names follow no habit.
        optional_channels: Whether a case may lack some of the channels.

    Returns:
        The cases in the order of the inputs, each once, with distinct names. One that cannot be
        segmented is among them with the reason. What is left out is not; the log says so.
        An input that does not exist or holds no image is refused, and so are two cases that would
        have one output.
    """
    wish = Wish(tuple(channels), layout, channel_map or {}, optional_channels)
    found = list_scans(inputs, wish)
    for case in found:
        if case.is_left_out:
            logger.warning("left out: %s: %s", case.path, case.reason)
    return [case for case in found if not case.is_left_out]


def list_scans(
    inputs: Sequence[Path | str],
    wish: Wish,
    is_result: Callable[[Path], bool] = lambda _: False,
) -> list[ScanCase]:
    """Find what to segment, and what is left out; no image is read.

    Args:
        inputs: As for `find_scans`.
        wish: What is looked for.
        is_result: Knows the files that an earlier run has written, which are no images.

    Returns:
        The cases as of `find_scans`, and behind them, marked, what is left out.

    Raises:
        DataError: If an input does not exist or holds no image, or two cases would have one output.
    """
    channels = tuple(wish.channels) or tuple(wish.channel_map)
    _require_known(inputs, channels, wish.layout, wish.channel_map)
    finder = Finder(channels, wish.layout, Naming(wish.channel_map))
    images = [image for given in inputs for image in finder.find(Path(given))]
    _require_whole_series(images)
    results = {image.identity: image for image in images if is_result(image.path)}
    scans = [image for image in images if image.identity not in results]
    made = make_cases(scans, channels, optional_channels=wish.optional_channels)
    cases = distinct_cases([case for case in made if not case.is_left_out])
    if not cases:
        raise DataError(_say_why(len(scans), len(results), channels))
    return [
        *cases,
        *(case for case in made if case.is_left_out),
        *(
            ScanCase(image.source.name, {"": image.source}, RESULT, is_left_out=True)
            for image in results.values()
        ),
    ]


def _say_why(num_scans: int, num_results: int, channels: Sequence[str]) -> str:
    """Say why no image is a case."""
    if not num_scans:
        return f"all {num_results} images are what volseg has written; give the scans themselves"
    return (
        f"none of {num_scans} images shows {', '.join(channels)}; rename them or give a channel map"
    )


def _require_known(
    inputs: Sequence[Path | str],
    channels: Sequence[str],
    layout: str,
    channel_map: Mapping[str, str],
) -> None:
    """Refuse what cannot be meant, before any folder is searched."""
    if not inputs:
        raise DataError("nothing to segment; give files or folders")
    if layout not in LAYOUTS:
        raise DataError(f"the layout {layout!r} is not known; use one of {', '.join(LAYOUTS)}")
    wanted = {canonical(channel) for channel in channels}
    if stray := [channel for channel in channel_map if canonical(channel) not in wanted]:
        raise DataError(
            f"the channel map speaks of {stray[0]}, and {', '.join(channels)} is wanted; name one"
            " of these"
        )


def _require_whole_series(images: Iterable[FoundImage]) -> None:
    """Refuse the slices of a DICOM series as inputs of their own, as a shell's pattern gives."""
    given = [image for image in images if image.is_given and image.source.format == "dicom"]
    single = [image.path.parent for image in given if len(image.source.files) == 1]
    for folder, count in Counter(single).items():
        if count > 1:
            raise DataError(
                f"{count} DICOM files of {folder} were given one by one; give the folder, so that"
                " they make a volume"
            )
