"""Which file becomes which mask, settled and checked before anything is computed.

A file gives ``OUTPUT/<its name>.nii.gz``; a folder is searched for NIfTI files, and its tree is
mirrored below the output. The mask has the name of its image, so that the two pair by name, and is
always compressed.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile

from volseg.data.cases import stem
from volseg.data.source import Source
from volseg.data.volumes import ENDINGS
from volseg.errors import DataError


@dataclass(frozen=True)
class Job:
    """One image to segment.

    Args:
        name: Path below the input folder, without the ending; a mask's path below the output.
        source: The image, or the first file of it.
        target: The mask to write.
        sources: What to read, one for each channel; none: ``source`` is a file.
    """

    name: str
    source: Path
    target: Path
    sources: tuple[Source, ...] = ()

    @property
    def files(self) -> list[Path]:
        """List the files to read."""
        return [path for each in self.sources for path in each.files] or [self.source]


def list_jobs(
    inputs: Sequence[Path], output: Path, *, overwrite: bool = False, resume: bool = False
) -> list[Job]:
    """Find the images and the masks to write, and refuse what would go wrong.

    Args:
        inputs: NIfTI files and folders of them. A file is taken whatever its ending: whether it
            can be read shows when its turn comes.
        output: Folder of the masks.
        overwrite: Whether masks that are there already may be replaced.
        resume: Whether masks that are there already are to be looked at one by one.

    Returns:
        One job an image, in the order given, folders by name; none twice.

    Raises:
        DataError: If an input does not exist, a folder holds no image or is a data set, the output
            lies in an input folder, two images would write one mask, or a mask is an input or
            exists already.
    """
    jobs: dict[Path, Job] = {}
    for job in (job for path in inputs for job in _find_jobs(path, output)):
        other = jobs.setdefault(job.target, job)
        if other.source.resolve() != job.source.resolve():
            raise DataError(
                f"{other.source} and {job.source} would both write {job.target};"
                " rename one or segment them into two folders"
            )
    sources = {job.source.resolve() for job in jobs.values()}
    for target in jobs:
        if target.resolve() in sources:
            raise DataError(f"{target} is an input and would be replaced; use another output")
    existing = [target for target in jobs if target.exists()]
    if existing and not overwrite and not resume:
        more = f" and {len(existing) - 1} more masks exist" if existing[1:] else " exists"
        raise DataError(
            f"{existing[0]}{more} already; resume the run, allow overwriting or use another output"
        )
    return list(jobs.values())


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


def _find_jobs(path: Path, output: Path) -> Iterable[Job]:
    """Make the jobs of one input."""
    if path.is_dir():
        if output.resolve().is_relative_to(path.resolve()):
            raise DataError(
                f"output {output} lies in the input folder {path}, where its masks would be taken"
                " for images; use another"
            )
        if (path / "dataset.json").is_file():
            raise DataError(
                f"{path} is a data set, whose labels would be taken for images; give its folder of"
                " images, such as imagesTr"
            )
        relatives = [found.relative_to(path) for found in sorted(path.rglob("*"))]
        images = [name for name in relatives if _is_image(name) and (path / name).is_file()]
        if not images:
            raise DataError(f"{path} holds no NIfTI file (*.nii, *.nii.gz)")
    elif path.exists():
        path, images = path.parent, [Path(path.name)]
    else:
        raise DataError(f"{path} does not exist")
    for image in images:
        name = stem(image)
        yield Job(name, path / image, output / f"{name}.nii.gz")


def _is_image(path: Path) -> bool:
    """Tell a NIfTI file that is not hidden, as ``._name.nii.gz`` of a Mac's copy is."""
    return path.name.endswith(ENDINGS) and not any(part.startswith(".") for part in path.parts)
