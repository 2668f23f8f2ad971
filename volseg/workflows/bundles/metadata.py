"""Are a bundle's metadata what MONAI's schema, MONAI Label and volseg need?"""

import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft201909Validator

from volseg import __version__
from volseg.workflows.bundles.finding import Contents, Finding, warning

SCHEMA = Path(__file__).parent / "meta_schema_20240725.json"
"""MONAI's schema of metadata, Apache-2.0, byte for byte (MD5 06954cad2cc5d3784e72077ac76f0fc8)."""

FILE = "configs/metadata.json"

MISLEADING = ("detection", "classification", "deepedit", "deepgrow")
"""Words in a bundle's name from which MONAI Label concludes that it is no segmentation."""


def judge_metadata(bundle: Contents) -> Iterator[Finding]:
    """Judge ``metadata.json``.

    Args:
        bundle: The bundle.

    Yields:
        What is wrong.
    """
    metadata = bundle.metadata
    if not metadata:
        return
    for error in sorted(_validator().iter_errors(metadata), key=lambda error: error.json_path):
        key = error.json_path.removeprefix("$").removeprefix(".")
        message = " ".join(error.message.split())
        yield Finding(FILE, f"{key + ': ' if key else ''}{message} (MONAI's schema)")
    changelog = metadata.get("changelog", {})
    if isinstance(changelog, Mapping) and metadata.get("version") not in list(changelog):
        yield Finding(FILE, f"changelog says nothing of version {metadata.get('version')!r}")
    packages = metadata.get("required_packages_version", {})
    needed = packages.get("volseg") if isinstance(packages, Mapping) else None
    if needed not in (None, __version__):
        yield warning(FILE, f"is for volseg {needed}; this is volseg {__version__}")
    yield from _judge_channels(bundle)
    if bundle.segments:
        yield from _judge_segmentation(bundle)


def _judge_channels(bundle: Contents) -> Iterator[Finding]:
    """Count the channels that are named."""
    for group in ("inputs", "outputs"):
        for name, tensor in bundle.tensors(group).items():
            named = bundle.channel_def(group, name)
            if named and tensor.get("num_channels") != len(named):
                number = tensor.get("num_channels")
                text = f"{name} has {number!r} channels, and channel_def names {len(named)}"
                yield Finding(FILE, text)


def _judge_segmentation(bundle: Contents) -> Iterator[Finding]:
    """Judge what MONAI Label reads from the name, the tensors and the classes."""
    name = bundle.root.name
    if words := [word for word in MISLEADING if word in name.lower()]:
        yield Finding(
            "name", f"{name!r} holds {words[0]!r}, so MONAI Label takes it for that; rename it"
        )
    elif "segmentation" not in name.lower():
        yield warning("name", f"{name!r} does not hold 'segmentation', which MONAI Label looks for")
    for group, wanted in (("inputs", "image"), ("outputs", "pred")):
        names = list(bundle.tensors(group))
        if names and names[0] != wanted:
            yield Finding(FILE, f"the first of {group} is {names[0]!r}; call it {wanted!r}")
    classes = bundle.channel_def("outputs", "pred")
    if list(classes) != [str(value) for value in range(len(classes))]:
        yield Finding(
            FILE, f"label values are {', '.join(classes)}; use 0 to {len(classes) - 1} in order"
        )
    repeated = {str(one) for one in classes.values() if list(classes.values()).count(one) > 1}
    if repeated:
        yield Finding(FILE, f"several classes are called {min(repeated)!r}; name each otherwise")


@cache
def _validator() -> Any:
    schema: dict[str, Any] = json.loads(SCHEMA.read_text(encoding="utf-8"))
    return Draft201909Validator(schema)
