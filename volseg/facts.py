"""Facts that stand in several files of a bundle, and must be the same in all of them."""

import copy
from collections.abc import Mapping
from typing import Any

FACTS = (
    "channels", "spacing", "patch_size", "num_classes", "normalizer", "network_def", "encoder",
)  # fmt: skip
"""What must be the same in every configuration that states it."""


def contradictions(configs: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Find facts that stand twice and differ.

    Args:
        configs: Configurations by name: ``train``, ``inference`` and ``metadata``, as many as
            there are.

    Returns:
        One line a fact.
    """
    train, inference = configs.get("train", {}), configs.get("inference", {})
    problems = [
        f"{key} is {train[key]} in train.json and {inference[key]} in inference.json"
        for key in FACTS
        if key in train and key in inference and train[key] != inference[key]
    ]
    for file, config in (("train.json", train), ("inference.json", inference)):
        outputs = config.get("network_def", {}).get("num_classes")
        if outputs != config.get("num_classes", outputs):
            problems.append(
                f"num_classes is {config['num_classes']} in {file}, but the network has {outputs}"
            )
    if "metadata" not in configs:
        return problems
    said = _facts_of_metadata(configs["metadata"])
    return problems + [
        f"{key} is {train[key]} in train.json and {said[key]} in metadata.json"
        for key in said
        if key in train and train[key] != said[key]
    ]


def _facts_of_metadata(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Read the facts that the metadata states in its own words."""
    formats = metadata.get("network_data_format", {})
    image = formats.get("inputs", {}).get("image", {})
    classes = formats.get("outputs", {}).get("pred", {}).get("channel_def", {})
    facts: dict[str, Any] = {}
    if "channel_def" in image:
        facts["channels"] = list(image["channel_def"].values())
    if "spatial_shape" in image:
        facts["patch_size"] = image["spatial_shape"]
    if classes:
        facts["num_classes"] = len(classes)
    return facts


def with_patch_size(metadata: Mapping[str, Any], patch_size: Any) -> dict[str, Any]:
    """State another patch size wherever the metadata state one.

    Args:
        metadata: What ``metadata.json`` holds.
        patch_size: Voxels along each axis; `None` changes nothing.

    Returns:
        A changed copy.
    """
    changed = copy.deepcopy(dict(metadata))
    for group in changed.get("network_data_format", {}).values():
        for tensor in group.values():
            if tensor.get("is_patch_data") and patch_size is not None:
                tensor["spatial_shape"] = patch_size
    return changed
