"""Named sets of changed values of a bundle's training configuration."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from volseg.errors import BundleError
from volseg.overrides import nearest

FILE = "configs/presets.json"
"""Where a bundle keeps its presets: values by key, by name."""


def preset_overrides(root: Path, names: Sequence[str]) -> dict[str, Any]:
    """Collect the values of presets; where two have one key, the later wins.

    Args:
        root: Folder of the bundle.
        names: Names of presets.

    Returns:
        New values by key, as for `volseg.overrides.apply_overrides`.

    Raises:
        BundleError: If the bundle has no such preset.
    """
    if not names:
        return {}
    known = read_presets(root)
    values: dict[str, Any] = {}
    for name in names:
        if name not in known:
            advice = f"; the nearest is {nearest(name, list(known))!r}" if known else ""
            raise BundleError(
                f"bundle {root.name} has no preset {name!r}; it has {', '.join(known) or 'none'}"
                f"{advice}"
            )
        values |= known[name]
    return values


def read_presets(root: Path) -> dict[str, dict[str, Any]]:
    """Read the presets of a bundle.

    Args:
        root: Folder of the bundle.

    Returns:
        New values by key, by the preset's name; none if it has no presets.

    Raises:
        BundleError: If the file is no object of objects.
    """
    path = root / FILE
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BundleError(f"{path} cannot be read as JSON: {error}") from error
    is_table = isinstance(content, dict) and all(isinstance(v, dict) for v in content.values())
    if not is_table:
        raise BundleError(f"{path} is no object of objects; give values by key, by preset")
    return dict(content)
