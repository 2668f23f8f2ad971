"""A MONAI bundle: a folder that says what a network is, how it is trained and how it is used."""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from volseg.errors import BundleError
from volseg.facts import FACTS, contradictions, with_facts
from volseg.overrides import apply_overrides, nearest
from volseg.packed import unpacked
from volseg.targets import require_targets
from volseg.trust import require_harmless

SHELVES = (Path(__file__).parent / "bundles", Path(__file__).parents[1] / "bundles")
"""Where bundles lie by name: in an installed volseg, and in a checkout."""

FILES = (
    "LICENSE",
    "configs/metadata.json",
    "configs/train.json",
    "configs/inference.json",
    "configs/logging.conf",
    "docs/README.md",
    "docs/data_license.txt",
)

IDS = {
    "train": (
        "bundle_root", "device", "dataset_dir", "output_dir", "train::trainer::max_epochs",
        "train::dataset::data", "train::inferer", "train::preprocessing", "train::handlers", "run",
    ),
    "inference": (
        "bundle_root", "device", "dataset_dir", "output_dir", "dataset::data", "evaluator",
        "network_def", "inferer", "preprocessing", "postprocessing", "handlers", "run",
    ),
}  # fmt: skip
"""What MONAI, MONAI Label and volseg look up in a configuration."""

WEIGHTS = ("model.safetensors", "model.pt", "encoder.safetensors")
"""Names of the weights, the first that is there wins."""


@dataclass(frozen=True)
class Bundle:
    """A bundle on the disk.

    Args:
        root: Its folder.
        is_trusted: Whether code that it holds or names may be run; see `volseg.trust`.
    """

    root: Path
    is_trusted: bool = False

    @classmethod
    def find(cls, name: "str | Path | Bundle", *, is_trusted: bool = False) -> "Bundle":
        """Find a bundle by its folder, or by its name among those that come with volseg.

        Args:
            name: A path, a packed bundle (``*.zip``) or a name; a bundle is given back as it is.
            is_trusted: Whether its code may be run.

        Returns:
            The bundle.

        Raises:
            BundleError: If there is none.
        """
        if isinstance(name, Bundle):
            return name
        folders = [unpacked(Path(name)) if str(name).endswith(".zip") else Path(name)]
        if Path(name).name == str(name):
            folders += [shelf / name for shelf in SHELVES]
        for folder in folders:
            if is_bundle(folder):
                return cls(folder.resolve(), is_trusted=is_trusted)
        if folders[0].is_dir():
            raise BundleError(f"{name} is no bundle: it has no configs/metadata.json")
        known = bundle_names()
        hint = f"; did you mean {nearest(str(name), known)!r}?" if known else ""
        raise BundleError(f"bundle {str(name)!r} is neither a folder nor one of {known}{hint}")

    @property
    def name(self) -> str:
        """Give the name of its folder."""
        return self.root.name

    @property
    def metadata(self) -> dict[str, Any]:
        """Read ``metadata.json``."""
        return self._read("metadata")

    def raw_config(self, kind: str, overrides: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Read a configuration as it stands in its file, with some values changed.

        Args:
            kind: ``train`` or ``inference``.
            overrides: New values by key.

        Returns:
            The configuration, unresolved.

        Raises:
            BundleError: If the file cannot be read, or a key or a class of volseg does not exist.
        """
        try:
            config = apply_overrides(self._read(kind), overrides or {})
        except BundleError as error:
            raise BundleError(f"{self._path(kind)}: {error}") from error
        require_targets(self._path(kind), config)
        return config

    def config(self, kind: str, overrides: Mapping[str, Any] | None = None) -> ConfigParser:
        """Read a configuration for MONAI to resolve.

        Args:
            kind: ``train`` or ``inference``.
            overrides: New values by key; those of a key that does not exist are refused as a
                `BundleError`.

        Returns:
            The parser; ``get_parsed_content(id)`` builds what an id describes. A configuration
            that would run unknown code is refused as a `BundleError`, unless it is trusted.
        """
        self.require_trust(kind)
        own = {"bundle_root": str(self.root)}
        return ConfigParser(self.raw_config(kind, {**own, **(overrides or {})}))

    def require_trust(self, kind: str) -> None:
        """Refuse a configuration that would run unknown code, unless it may.

        What comes with volseg is trusted, and so is what the user changes on the command line.

        Args:
            kind: ``train`` or ``inference``.
        """
        if self.root.parent.resolve() in [shelf.resolve() for shelf in SHELVES]:
            return
        path, config = self._path(kind), self._read(kind)
        require_targets(path, config)  # what is misspelt is no code of others
        require_harmless(path, config, is_trusted=self.is_trusted)

    def classes(self) -> dict[int, str]:
        """Name the label values that the bundle writes, background included.

        Returns:
            Names by value.

        Raises:
            BundleError: If it is not a segmentation bundle.
        """
        outputs = self.metadata.get("network_data_format", {}).get("outputs", {})
        names = outputs.get("pred", {}).get("channel_def", {})
        if len(names) < 2:
            raise BundleError(f"bundle {self.name} names no classes; it is not for segmentation")
        return {int(value): str(name) for value, name in names.items()}

    def weights(self) -> Path:
        """Find the weights.

        Returns:
            The file.

        Raises:
            BundleError: If there is none: a network is never used with random weights.
        """
        folder = self.root / "models"
        for name in WEIGHTS:
            if (folder / name).is_file():
                return folder / name
        raise BundleError(
            f"bundle {self.root} has no weights: {folder} holds none of {', '.join(WEIGHTS)};"
            " train it, or give the output folder of a training as the bundle"
        )

    def check(self) -> list[str]:
        """Look for what is wrong with the files, without building anything.

        Returns:
            One line a problem.
        """
        problems = [f"{name} is missing" for name in FILES if not (self.root / name).is_file()]
        configs = {}
        for kind in ("metadata", *IDS):
            try:
                configs[kind] = self._read(kind)
            except BundleError as error:
                if self._path(kind).is_file():
                    problems.append(str(error))
        for kind in configs.keys() & IDS.keys():
            lacking = [key for key in IDS[kind] if not _has(configs[kind], key)]
            problems += [f"configs/{kind}.json has no id {key}" for key in lacking]
        return [*problems, *contradictions(configs)]

    def copy_to(self, folder: Path, overrides: Mapping[str, Any] | None = None) -> "Bundle":
        """Write a bundle like this one, without its weights, and with some values changed.

        A changed value is changed in every configuration that has it, so that a network trained
        with other facts is also used with them. A file that is there is replaced.

        Args:
            folder: Where to.
            overrides: New values of the training configuration by key.

        Returns:
            The new bundle.

        Raises:
            BundleError: If a key does not exist, the disk refuses, or the new bundle would
                contradict itself.
        """
        train = self.raw_config("train", overrides)
        inference = self._read("inference")
        shared = {key: train[key] for key in FACTS if key in train and key in inference}
        configs = {
            "train": train,
            "inference": {**inference, **shared},
            "metadata": with_facts(self.metadata, train),
        }
        problems = contradictions(configs)
        if problems:
            raise BundleError(f"the changed values contradict each other: {'; '.join(problems)}")
        try:
            for path in self._files():
                target = folder / path.relative_to(self.root)
                target.parent.mkdir(parents=True, exist_ok=True)
                is_changed = path.parent.name == "configs" and path.stem in configs
                text = path.read_text(encoding="utf-8")
                target.write_text(dump(configs[path.stem]) if is_changed else text, "utf-8")
        except OSError as error:
            raise BundleError(f"cannot copy {self.name} to {folder}: {error}") from error
        return Bundle(folder.resolve(), is_trusted=self.is_trusted)

    def _files(self) -> Iterator[Path]:
        names = [*FILES, "configs/split.json"]
        return (self.root / name for name in names if (self.root / name).is_file())

    def _path(self, kind: str) -> Path:
        return self.root / "configs" / f"{kind}.json"

    def _read(self, kind: str) -> dict[str, Any]:
        path = self._path(kind)
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise BundleError(f"{path} cannot be read as JSON: {error}") from error
        if not isinstance(values, dict):
            raise BundleError(f"{path} holds a {type(values).__name__}, not a JSON object")
        return values


def is_bundle(folder: Path) -> bool:
    """Tell whether a folder looks like a bundle.

    Args:
        folder: The folder.

    Returns:
        Whether it has a ``configs/metadata.json``.
    """
    return (folder / "configs" / "metadata.json").is_file()


def bundle_names() -> list[str]:
    """Name the bundles that come with volseg."""
    shelves: Iterable[Path] = (shelf for shelf in SHELVES if shelf.is_dir())
    return sorted({p.name for shelf in shelves for p in shelf.iterdir() if is_bundle(p)})


def dump(config: Mapping[str, Any]) -> str:
    """Write a configuration as text.

    Args:
        config: The configuration.

    Returns:
        JSON with one line a top-level item of its sections.

    Raises:
        BundleError: If a value is no plain JSON value.
    """
    try:
        return json.dumps(config, indent=4, default=os.fspath, ensure_ascii=False) + "\n"
    except (TypeError, ValueError) as error:
        raise BundleError(f"a value has no form in JSON: {error}") from error


def _has(config: Mapping[str, Any], key: str) -> bool:
    place: Any = config
    for part in key.split("::"):
        if not isinstance(place, Mapping) or part not in place:
            return False
        place = place[part]
    return True
