"""Finding what to segment: files, folders, patterns, lists and data sets become cases."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from volseg.data.listing.finder import LAYOUTS, Finder
from volseg.data.listing.grouping import make_cases
from volseg.data.listing.names import distinct_cases
from volseg.data.listing.naming import Naming
from volseg.data.listing.scan_case import FoundImage, ScanCase
from volseg.data.listing.sequences import canonical
from volseg.errors import DataError


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
        segmented is among them with the reason.

    Raises:
        DataError: If an input does not exist or holds no image, or two cases would have one output.
    """
    channel_map = channel_map or {}
    channels = tuple(channels) or tuple(channel_map)
    _require_known(inputs, channels, layout, channel_map)
    finder = Finder(channels, layout, Naming(channel_map))
    images = [image for given in inputs for image in finder.find(Path(given))]
    _require_whole_series(images)
    cases = distinct_cases(make_cases(images, channels, optional_channels=optional_channels))
    if not cases:
        raise DataError(
            f"none of {len(images)} images shows {', '.join(channels)}; rename them or give a"
            " channel map"
        )
    return cases


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
