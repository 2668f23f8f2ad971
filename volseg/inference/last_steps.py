"""A bundle's own postprocessing: what volseg does in another way, leaves out, or cannot do.

volseg takes the most probable class on the image's own grid. A bundle of MONAI's model zoo says by
its transforms what it wants; they are read here, and not run.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from volseg.errors import BundleError

SAME = {
    "Activationsd", "AsDiscreted", "CastToTyped", "Compose", "EnsureTyped", "Invertd", "SaveImaged",
    "SqueezeDimd", "ToDeviced", "ToTensord", "guarded_postprocessing", "postprocessing",
}  # fmt: skip
"""Steps that volseg does in its own way, or that change no label."""

NEEDED = ("network_def", "preprocessing", "inferer")
"""What a configuration must have for volseg to segment with it."""


def left_out(config: Mapping[str, Any]) -> list[str]:
    """List the steps of a bundle's postprocessing that volseg leaves out.

    Args:
        config: Its inference configuration, as it stands in the file.

    Returns:
        Names of transforms, in their order.

    Raises:
        BundleError: If the configuration lacks what volseg needs, or its classes may overlap.

    Examples:
        >>> steps = [{"_target_": "Activationsd", "softmax": True}, {"_target_": "FillHolesd"}]
        >>> left_out({**dict.fromkeys(NEEDED), "postprocessing": steps})
        ['FillHolesd']
    """
    if lacking := [key for key in NEEDED if key not in config]:
        raise BundleError(
            f"inference.json has no {lacking[0]}; volseg takes a bundle apart by the names that"
            " MONAI Label uses too"
        )
    steps = list(_steps(config.get("postprocessing")))
    for name, step in steps:
        if _is_set(step.get("sigmoid")) or _is_set(step.get("threshold")):
            what = "sigmoid" if _is_set(step.get("sigmoid")) else "threshold"
            raise BundleError(
                f"the bundle's {name} has a {what}, so its classes may overlap; volseg writes one"
                " label a voxel. Segment with python -m monai.bundle run"
            )
    return [name for name, _ in steps if name not in SAME]


def _steps(value: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Find every transform in a configuration, save those that are switched off."""
    if isinstance(value, list):
        for item in value:
            yield from _steps(item)
    elif isinstance(value, Mapping) and value.get("_disabled_") is not True:
        if "_target_" in value:
            last = str(value["_target_"]).rpartition(".")[2]
            yield re.sub("(D|Dict)$", "d", last), value
        yield from _steps(value.get("transforms"))


def _is_set(value: Any) -> bool:
    """Tell whether an argument, or any of several for each key, switches something on."""
    values = value if isinstance(value, list) else [value]
    return any(one is not None and one is not False for one in values)
