"""Facts that stand in several files of a bundle, and must be the same in all of them."""

import copy
from collections.abc import Mapping
from typing import Any

FACTS = (
    "channels", "optional_channels", "classes", "regions", "spacing", "patch_size", "num_classes",
    "normalizer", "network_def", "encoder",
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
        problems += _against_network(file, config)
    if "metadata" not in configs:
        return problems
    said = _facts_of_metadata(configs["metadata"])
    return [
        *problems,
        *(
            f"{key} is {config[key]} in {file} and {said[key]} in metadata.json"
            for file, config in (("train.json", train), ("inference.json", inference))
            for key in said
            if key in config
            and config[key] != said[key]
            and (config is train or config[key] != train.get(key))
        ),
    ]


def _against_network(file: str, config: Mapping[str, Any]) -> list[str]:
    """Compare the numbers of classes and channels with those of the network."""
    network, problems = _table(config, "network_def"), []
    network = _table(network, "network") or network  # one that is wrapped, as by tensorized
    outputs = network.get("num_classes")
    if outputs != config.get("num_classes", outputs):
        problems.append(
            f"num_classes is {config['num_classes']} in {file}, but the network has {outputs}"
        )
    classes = config.get("classes")
    if outputs is not None and isinstance(classes, list) and len(classes) != outputs:
        problems.append(f"classes are {config['classes']} in {file}, but the network has {outputs}")
    inputs, channels = _table(network, "encoder").get("in_channels"), config.get("channels", [])
    if inputs is not None and isinstance(channels, list) and inputs != len(channels):
        problems.append(f"channels are {channels} in {file}, but the network takes {inputs}")
    return problems


def _facts_of_metadata(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Read the facts that the metadata states in its own words."""
    image = _table(metadata, "network_data_format", "inputs", "image")
    classes = _table(metadata, "network_data_format", "outputs", "pred", "channel_def")
    facts: dict[str, Any] = {}
    if channels := _table(image, "channel_def"):
        facts["channels"] = list(channels.values())
    if "spatial_shape" in image:
        facts["patch_size"] = image["spatial_shape"]
    if classes:
        facts["num_classes"] = len(classes)
        facts["classes"] = list(classes.values())
    return facts


def _table(value: Any, *keys: str) -> Mapping[str, Any]:
    """Give a table in a table, or an empty one, whatever else stands there."""
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value if isinstance(value, Mapping) else {}


def with_facts(metadata: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """State the facts of a configuration wherever the metadata state them.

    Args:
        metadata: What ``metadata.json`` holds.
        config: A configuration; of it count ``patch_size``, ``channels`` and ``classes``, as far as
            they are there.

    Returns:
        A changed copy.
    """
    changed = copy.deepcopy(dict(metadata))
    formats = changed.get("network_data_format", {})
    for group in formats.values():
        for tensor in group.values():
            if tensor.get("is_patch_data") and config.get("patch_size") is not None:
                tensor["spatial_shape"] = config["patch_size"]
    places = (("channels", "inputs", "image"), ("classes", "outputs", "pred"))
    for key, group, name in places:
        tensor = formats.get(group, {}).get(name, {})
        if key in config and "channel_def" in tensor:
            tensor["num_channels"] = len(config[key])
            tensor["channel_def"] = {str(index): one for index, one in enumerate(config[key])}
    if "classes" in config:
        said = ", ".join(f"{value} {name}" for value, name in enumerate(config["classes"]))
        changed |= {key: said for key in ("label_classes", "pred_classes") if key in changed}
    return changed
