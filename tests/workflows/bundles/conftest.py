"""A bundle with tiny weights, to be spoiled in one way after another."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from volseg.networks.card import Card
from volseg.networks.residual import tiny
from volseg.networks.segmenter import Segmenter
from volseg.networks.weights import save_state_dict, save_weights, segmenter_parts

NAME = "hippocampus_segmentation"
NETWORK = {
    "_target_": "volseg.networks.segmenter.Segmenter",
    "encoder": {"_target_": "volseg.networks.residual.tiny", "in_channels": 1},
    "num_classes": 3,
}
NORMALIZER = {
    "_target_": "volseg.transforms.intensity.NormalizeForegroundd",
    "keys": ["image"],
    "lower": 0.5,
    "upper": 99.5,
}
PATCH = [16, 16, 16]


def edit(root: Path, kind: str, **changes) -> None:
    """Change values of a configuration."""
    path = root / "configs" / f"{kind}.json"
    write(path, {**json.loads(path.read_text()), **changes})


def write(path: Path, config: dict) -> None:
    """Write a configuration, one line a key."""
    lines = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in config.items()]
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")


def write_weights(root: Path, **card) -> Segmenter:
    """Write fresh weights of the tiny network, with a card and without."""
    torch.manual_seed(0)
    network = Segmenter(tiny(in_channels=1), num_classes=3)
    facts = {"spacing": (1.0, 1.0, 1.0), "patch_size": tuple(PATCH), "normalizer": NORMALIZER}
    said = Card(**{"network": NETWORK, "channels": ("MRI",), **facts, **card})
    save_weights(root / "models" / "model.safetensors", segmenter_parts(network), said)
    save_state_dict(root / "models" / "model.pt", network)
    return network


@pytest.fixture(scope="session")
def pristine(repository, tmp_path_factory) -> Path:
    """Make a sound bundle once."""
    root = tmp_path_factory.mktemp("pristine") / NAME
    ignored = shutil.ignore_patterns("models")
    shutil.copytree(repository / "bundles" / NAME, root, ignore=ignored)
    for kind in ("train", "inference"):
        edit(root, kind, network_def=NETWORK, patch_size=PATCH)
    metadata = json.loads((root / "configs" / "metadata.json").read_text())
    for group in metadata["network_data_format"].values():
        for tensor in group.values():
            tensor["spatial_shape"] = PATCH
    edit(root, "metadata", **metadata)
    write_weights(root)
    return root


@pytest.fixture
def root(pristine, tmp_path) -> Path:
    """Copy the sound bundle."""
    shutil.copytree(pristine, tmp_path / NAME)
    return tmp_path / NAME
