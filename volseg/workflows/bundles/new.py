"""Make a segmentation bundle: one of volseg's own with other facts, and texts to be filled in."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from volseg.bundle import Bundle, dump
from volseg.errors import BundleError
from volseg.facts import with_facts
from volseg.networks.config import build
from volseg.networks.segmenter import Segmenter
from volseg.networks.storage import write_atomically
from volseg.overrides import apply_overrides
from volseg.types import Size, Spacing
from volseg.workflows.bundles.metadata import MISLEADING

TEMPLATE = "hippocampus_segmentation"
"""The bundle whose configurations are taken; only what `Design` holds is changed in them."""

KEPT = ("LICENSE", "configs/logging.conf")

README = Path(__file__).parent / "readme_template.md"

NETWORKS = ("tiny", "small", "base", "large")
"""Presets of `volseg.networks.residual`."""

VERSION = "0.1.0"


@dataclass(frozen=True)
class Design:
    """The facts of a new bundle.

    Args:
        channels: What the network takes, by name, such as ``T1``.
        classes: What it segments, without the background.
        spacing: Voxel edge along each axis, in mm; `None`: each volume's own.
        patch_size: Voxels of a training crop along each axis.
        network: Preset of the residual encoder: ``tiny``, ``small``, ``base`` or ``large``.
        window: Least and largest intensity that matter, in HU for CT; `None`: as in MRI, each
            volume is standardised over its own foreground.
    """

    channels: tuple[str, ...] = ("MRI",)
    classes: tuple[str, ...] = ("foreground",)
    spacing: Spacing | None = (1.0, 1.0, 1.0)
    patch_size: Size = (64, 64, 64)
    network: str = "small"
    window: tuple[float, float] | None = None

    def facts(self) -> dict[str, Any]:
        """Give what both configurations state, as their plain values.

        Returns:
            Values by key.
        """
        classes = ["background", *self.classes]
        normalizer: dict[str, Any] = {
            "_target_": "volseg.transforms.intensity.NormalizeForegroundd",
            "keys": ["image"],
            "lower": 0.5,
            "upper": 99.5,
        }
        if self.window is not None:
            normalizer = {
                "_target_": "volseg.transforms.intensity.ScaleWindowd",
                "keys": ["image"],
                "lower": self.window[0],
                "upper": self.window[1],
            }
        return {
            "channels": list(self.channels),
            "classes": classes,
            "spacing": None if self.spacing is None else list(self.spacing),
            "normalizer": normalizer,
            "patch_size": list(self.patch_size),
            "num_classes": len(classes),
            "network_def": {
                "_target_": "volseg.networks.segmenter.Segmenter",
                "encoder": {
                    "_target_": f"volseg.networks.residual.{self.network}",
                    "in_channels": len(self.channels),
                },
                "num_classes": len(classes),
            },
        }

    def require_sound(self) -> None:
        """Refuse what no bundle can be made of.

        Raises:
            BundleError: If a name is empty or is there twice, or a number makes no sense.
        """
        for what, names in (("channels", self.channels), ("classes", self.classes)):
            lowered = [name.strip().lower() for name in names]
            if not names or "" in lowered or len(set(lowered)) < len(lowered):
                raise BundleError(f"{what} are {list(names)}; give one or more different names")
        if "background" in (name.lower() for name in self.classes):
            raise BundleError("class 0 is the background by itself; name the others only")
        if self.spacing is not None and min(self.spacing) <= 0:
            raise BundleError(f"spacing is {self.spacing}; use millimetres above 0")
        if self.window is not None and self.window[0] >= self.window[1]:
            raise BundleError(f"window is {self.window}; give the least intensity first")
        if self.network not in NETWORKS:
            raise BundleError(f"network is {self.network!r}; use one of {', '.join(NETWORKS)}")


@dataclass(frozen=True)
class NewBundle:
    """A bundle that was made.

    Args:
        bundle: The bundle.
    """

    bundle: Bundle

    def to_json(self) -> dict[str, Any]:
        """Give everything as plain values."""
        return {"bundle": str(self.bundle.root), "name": self.bundle.name}

    def __str__(self) -> str:
        """Say where it is, and what comes next."""
        root = self.bundle.root
        return (
            f"wrote {root}\n"
            f"describe it in {root}/configs/metadata.json and {root}/docs/README.md, then\n"
            f"  volseg bundle check {root}\n"
            f"  volseg finetune --bundle {root} --data DATA --output RUN"
        )


def new_bundle(
    name: str, output: str | Path, design: Design | None = None, *, overwrite: bool = False
) -> NewBundle:
    """Make a segmentation bundle without weights.

    Its configurations are those of a bundle of volseg, with the facts that are given. It passes
    `check_bundle`, trains with MONAI and with volseg, and segments once it was trained.

    Args:
        name: Its name: small letters, digits and underscores, with ``segmentation`` in it.
        output: The folder in which its folder is made.
        design: Its facts.
        overwrite: Whether to replace the files of a bundle of that name.

    Returns:
        The bundle.

    Raises:
        BundleError: If the name or a fact makes no sense, or it is there already.
    """
    made, root = design or Design(), Path(output) / name
    _require_name(name)
    made.require_sound()
    facts = made.facts()
    network = build(facts["network_def"])
    if isinstance(network, Segmenter):
        network.encoder.require_divisible(made.patch_size)
    if root.exists() and not overwrite:
        raise BundleError(f"{root} is there already; choose another name, or add --overwrite")
    template = Bundle.find(TEMPLATE)
    for file, text in _files(name, template, facts).items():
        write_atomically(root / file, text.encode())
    return NewBundle(Bundle(root.resolve()))


def _require_name(name: str) -> None:
    """Refuse a name that a folder, Python or MONAI Label would misread."""
    wrong = [word for word in MISLEADING if word in name]
    if re.fullmatch(r"[a-z][a-z0-9_]*", name) and "segmentation" in name and not wrong:
        return
    plain = re.sub(r"[^a-z0-9]+", "_", name.lower())
    for word in ("segmentation", *MISLEADING):
        plain = plain.replace(word, "")
    plain = re.sub(r"_+", "_", plain).strip("_0123456789") or "organ"
    raise BundleError(
        f"name is {name!r}; use small letters, digits and underscores, with 'segmentation' and"
        f" without {', '.join(MISLEADING)}, such as {plain}_segmentation"
    )


def _files(name: str, template: Bundle, facts: Mapping[str, Any]) -> dict[str, str]:
    """Give all files of a new bundle as text."""
    title = name.replace("_", " ").capitalize()
    target, channels = ", ".join(facts["classes"][1:]), ", ".join(facts["channels"])
    words = {"title": title, "classes": target, "channels": channels, "spacing": _said(facts)}
    readme = README.read_text(encoding="utf-8")
    for key, word in words.items():
        readme = readme.replace(f"{{{key}}}", word)
    licence = (
        "This bundle contains neither data nor weights. Weights that you train with it may be bound"
        " by the\nlicence of the scans that you train on: state it here.\n"
    )
    metadata = _metadata(template.metadata, title, facts)
    return {
        **{file: (template.root / file).read_text(encoding="utf-8") for file in KEPT},
        "configs/metadata.json": dump(metadata),
        "configs/train.json": dump(_train(template, facts)),
        "configs/inference.json": dump(_inference(template, facts)),
        "docs/README.md": readme,
        "docs/data_license.txt": licence,
    }


def _train(template: Bundle, facts: Mapping[str, Any]) -> dict[str, Any]:
    config = template.raw_config("train", {"dataset_dir": "data", **_known(template, facts)})
    places = (("train", "training"), ("validate", "validation"))
    for group, part in places:
        data = config[group]["dataset"]["data"]
        data |= {"part": part, "channels": "@channels", "divides": True}
    config["train"]["preprocessing"]["channels"] = "@channels"
    config["train"]["augmentation"]["num_classes"] = "@num_classes"
    return _with_classes(config, facts)


def _inference(template: Bundle, facts: Mapping[str, Any]) -> dict[str, Any]:
    config = template.raw_config("inference", {"dataset_dir": "scans", **_known(template, facts)})
    config["dataset"]["data"]["channels"] = "@channels"
    config["preprocessing"]["channels"] = "@channels"
    return _with_classes(config, facts)


def _known(template: Bundle, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Give the facts that the template states too."""
    train = template.raw_config("train")
    return {key: value for key, value in facts.items() if key in train}


def _with_classes(config: Mapping[str, Any], facts: Mapping[str, Any]) -> dict[str, Any]:
    """Name the classes after the channels, where they stand in volseg's bundles."""
    ordered: dict[str, Any] = {}
    for key, value in config.items():
        if key != "classes":
            ordered[key] = value
        if key == "channels":
            ordered["classes"] = facts["classes"]
    return ordered


def _metadata(template: Mapping[str, Any], title: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    """State what is known, and leave nothing standing that is the template's."""
    target, channels = ", ".join(facts["classes"][1:]), ", ".join(facts["channels"])
    changed = with_facts(template, facts)
    changed["network_data_format"]["inputs"]["image"].pop("modality", None)
    return apply_overrides(
        changed,
        {
            "name": title,
            "version": VERSION,
            "changelog": {VERSION: "first version"},
            "task": f"Segmentation of {target} in {channels}",
            "description": f"A residual network with a convolutional decoder segments {target}.",
            "authors": "not stated",
            "copyright": "not stated",
            "data_source": "not stated",
            "image_classes": f"channels: {channels}; {_said(facts)}",
            "references": [],
        },
    )


def _said(facts: Mapping[str, Any]) -> str:
    """Say how an image is prepared."""
    normalizer, spacing = facts["normalizer"], facts["spacing"]
    lower, upper = normalizer["lower"], normalizer["upper"]
    is_window = normalizer["_target_"].endswith("ScaleWindowd")
    edges = "its own spacing" if spacing is None else f"{' x '.join(map(str, spacing))} mm"
    if is_window:
        return f"axes to RAS, {edges}, intensities cut at {lower:g} and {upper:g}"
    return (
        f"axes to RAS, {edges}, intensities cut at percentiles {lower} and {upper} of the"
        " foreground and standardised over it"
    )
