"""Which image becomes which mask, settled and checked before anything is computed.

A case gives ``OUTPUT/<its name>.nii.gz`` or another ending; a folder's tree is mirrored below the
output. In BIDS derivatives the mask has the name that the standard gives it.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryFile

from volseg.data.listing.bids import bids_home, bids_output_name
from volseg.data.listing.find import Wish, list_scans
from volseg.data.listing.scan_case import ScanCase
from volseg.data.source import Source
from volseg.errors import DataError
from volseg.inference.outputs.bids import bids_sources
from volseg.inference.outputs.maps import map_path
from volseg.inference.own_files import Results
from volseg.inference.results import LEFT_OUT, CaseResult

ENDINGS = ("nii.gz", "seg.nrrd", "dcm")
"""How masks may end."""


@dataclass(frozen=True)
class Selection:
    """How inputs are understood, and how masks are called.

    Args:
        channels: What the network takes, in its order; empty: one image.
        channel_map: For each channel, the end of a file's name or a pattern, where names follow no
            habit.
        layout: ``auto``, or what folders are: ``folder``, ``decathlon``, ``nnunet`` or ``bids``.
        ending: One of `ENDINGS`.
        optional_channels: Whether a case may lack some of the channels.
        maps: What else is written of each case.
    """

    channels: Sequence[str] = ()
    channel_map: Mapping[str, str] = field(default_factory=dict)
    layout: str = "auto"
    ending: str = "nii.gz"
    optional_channels: bool = False
    maps: Sequence[str] = ()

    def __post_init__(self) -> None:
        """Refuse an ending that no mask can have."""
        if self.ending not in ENDINGS:
            raise DataError(f"masks cannot end with {self.ending!r}; use {', '.join(ENDINGS)}")


@dataclass(frozen=True)
class Job:
    """One image to segment.

    Args:
        name: Path below the input folder, without the ending; a mask's path below the output.
        source: The image, or the first file of it.
        target: The mask to write.
        sources: What to read, one for each channel; none: ``source`` is a file.
        reason: Why it cannot be segmented; `None` if nothing speaks against it.
        references: What sidecars call the files; none: their paths as seen from the mask.
    """

    name: str
    source: Path
    target: Path
    sources: tuple[Source, ...] = ()
    reason: str | None = None
    references: tuple[str, ...] = ()

    @property
    def files(self) -> list[Path]:
        """List the files to read."""
        return [path for each in self.sources for path in each.files] or [self.source]


@dataclass(frozen=True)
class WorkList:
    """What there is to do.

    Args:
        jobs: One a case.
        left_out: Images that are no cases, with the reason.
    """

    jobs: list[Job]
    left_out: list[CaseResult]


def list_jobs(
    inputs: Sequence[Path | str],
    output: Path,
    selection: Selection | None = None,
    *,
    overwrite: bool = False,
    resume: bool = False,
) -> list[Job]:
    """Find the images and the masks to write, and refuse what would go wrong.

    Args:
        inputs: Files, folders, patterns, lists and data sets. Whether a file can be read shows
            when its turn comes.
        output: Folder of the masks.
        selection: How inputs are understood, and how masks are called.
        overwrite: Whether masks that are there already may be replaced.
        resume: Whether masks that are there already are to be looked at one by one.

    Returns:
        One job a case, in the order given, folders by name; none twice. Refused with a `DataError`
        are an input that does not exist or holds no image, an output in an input folder, two cases
        that would write one mask, and a mask that is an input or exists already.
    """
    return find_work(inputs, output, selection, overwrite=overwrite, resume=resume).jobs


def find_work(
    inputs: Sequence[Path | str],
    output: Path,
    selection: Selection | None = None,
    *,
    overwrite: bool = False,
    resume: bool = False,
) -> WorkList:
    """Do as `list_jobs`, and name what is left out.

    Args:
        inputs: Files, folders, patterns, lists and data sets.
        output: Folder of the masks.
        selection: How inputs are understood, and how masks are called.
        overwrite: Whether masks that are there already may be replaced.
        resume: Whether masks that are there already are to be looked at one by one.

    Returns:
        The jobs, and the images that are none. What earlier runs of volseg have written, as their
        manifests say, is never taken for an image.
    """
    chosen = selection or Selection()
    _require_apart(inputs, output, chosen)
    wish = Wish(chosen.channels, chosen.layout, chosen.channel_map, chosen.optional_channels)
    found = list_scans(inputs, wish, Results().holds)
    jobs = [_make_job(case, output, chosen) for case in found if not case.is_left_out]
    _require_free(jobs, chosen.maps, may_exist=overwrite or resume)
    left_out = [
        CaseResult(case.name, str(case.path), "", LEFT_OUT, case.reason)
        for case in found
        if case.is_left_out
    ]
    return WorkList(jobs, left_out)


def _require_apart(inputs: Sequence[Path | str], output: Path, chosen: Selection) -> None:
    """Refuse an output that lies in an input."""
    for path in map(Path, inputs):
        derivatives = path / "derivatives"
        is_derived = chosen.layout == "bids" and derivatives in output.parents
        if _lies_in(output, path) and not is_derived:
            raise DataError(
                f"output {output} lies in the input folder {path}, where its masks would be taken"
                " for images; use another"
            )


def _require_free(jobs: Sequence[Job], maps: Sequence[str], *, may_exist: bool) -> None:
    """Refuse files that would be written twice or over an input, or that are there."""
    sources = {os.path.realpath(path) for job in jobs for path in job.files}
    written: dict[Path, Job] = {}
    for job in jobs:
        for path in (job.target, *(map_path(job.target, kind) for kind in maps)):
            if (other := written.setdefault(path, job)) is not job:
                raise DataError(f"{other.source} and {job.source} would both write {path}")
            if os.path.realpath(path) in sources:
                raise DataError(f"{path} is an input and would be replaced; use another output")
    existing = [path for path in written if path.exists()]
    if existing and not may_exist:
        more = f" and {len(existing) - 1} more masks exist" if existing[1:] else " exists"
        raise DataError(
            f"{existing[0]}{more} already; resume the run, allow overwriting or use another output"
        )


def _lies_in(path: Path, folder: Path) -> bool:
    return folder.is_dir() and path.resolve().is_relative_to(folder.resolve())


def _make_job(case: ScanCase, output: Path, selection: Selection) -> Job:
    sources = tuple(replace(source, channel=channel) for channel, source in case.sources.items())
    first = sources[0].files[0]
    shown = first.parent if sources[0].format == "dicom" else first
    if selection.layout != "bids":
        target = output / f"{case.name}.{selection.ending}"
        return Job(case.name, shown, target, sources, case.reason)
    target = output / f"{bids_output_name(case)}.{selection.ending}"
    files = [source.files[0] for source in sources]
    references = tuple(bids_sources(files, bids_home(first)))
    return Job(case.name, shown, target, sources, case.reason, references)


def require_writable(folder: Path) -> None:
    """Make a folder and refuse it if nothing can be written there.

    Args:
        folder: Folder of the results.

    Raises:
        DataError: If it cannot be made or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder) as probe:
            probe.write(b"volseg")
    except OSError as error:
        raise DataError(f"cannot write to {folder}: {error.strerror or error}") from error
