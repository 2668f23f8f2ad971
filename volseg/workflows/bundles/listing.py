"""Which bundles there are."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from volseg.bundle import WEIGHTS, Bundle, bundle_names, is_bundle
from volseg.errors import BundleError


@dataclass(frozen=True)
class Listed:
    """A bundle in a list.

    Args:
        name: Its folder's name.
        path: Its folder.
        version: Its version.
        task: What it is for.
        weights: Whether it has weights.
        channels: What it takes.
        classes: What it segments, without the background.
        problem: Why it could not be read; empty if it could.
    """

    name: str
    path: Path
    version: str = ""
    task: str = ""
    weights: bool = False
    channels: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    problem: str = ""

    def __str__(self) -> str:
        """Say it in a few lines."""
        if self.problem:
            return f"{self.name}: {self.problem}"
        weights = "with weights" if self.weights else "without weights"
        lines = [f"{self.name} {self.version}, {weights}", f"  {self.task}"]
        lines += [f"  takes {', '.join(self.channels)}"] if self.channels else []
        lines += [f"  segments {', '.join(self.classes)}"] if self.classes else []
        return "\n".join([*lines, f"  {self.path}"])


@dataclass(frozen=True)
class BundleList:
    """The bundles that were found.

    Args:
        bundles: The bundles.
    """

    bundles: tuple[Listed, ...]

    def to_json(self) -> dict[str, Any]:
        """Give everything as plain values."""
        return {"bundles": [{**asdict(one), "path": str(one.path)} for one in self.bundles]}

    def __str__(self) -> str:
        """Lay everything out."""
        return "\n".join(map(str, self.bundles)) or "no bundles"


def list_bundles(folders: Sequence[str | Path] = ()) -> BundleList:
    """List the bundles that come with volseg, and those in other folders.

    Args:
        folders: Bundles, or folders that hold some.

    Returns:
        The bundles.

    Raises:
        BundleError: If a folder is not there or holds none.
    """
    found = [Bundle.find(name) for name in bundle_names()]
    for folder in map(Path, folders):
        if is_bundle(folder):
            found.append(Bundle(folder.resolve()))
            continue
        inner = sorted(p for p in folder.glob("*") if is_bundle(p))
        if not inner:
            raise BundleError(f"{folder} is no bundle and holds none; give a bundle or its parent")
        found += [Bundle(path.resolve()) for path in inner]
    return BundleList(tuple(_describe(bundle) for bundle in dict.fromkeys(found)))


def _describe(bundle: Bundle) -> Listed:
    try:
        metadata = bundle.metadata
    except BundleError as error:
        return Listed(bundle.name, bundle.root, problem=str(error))
    classes = _names(metadata, "outputs", "pred")
    return Listed(
        bundle.name,
        bundle.root,
        str(metadata.get("version", "")),
        str(metadata.get("task", "")),
        any((bundle.root / "models" / name).is_file() for name in WEIGHTS),
        tuple(_names(metadata, "inputs", "image")),
        tuple(name for name in classes if name.lower() != "background"),
    )


def _names(metadata: Mapping[str, Any], *keys: str) -> Iterable[str]:
    """Read the names of a tensor's channels, whatever else stands there."""
    place: Any = metadata
    for key in ("network_data_format", *keys, "channel_def"):
        place = place.get(key) if isinstance(place, Mapping) else None
    return [str(name) for name in place.values()] if isinstance(place, Mapping) else []
