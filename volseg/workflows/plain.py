"""Results as plain values for JSON."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from math import isfinite
from pathlib import Path
from typing import Any


def plain(value: Any) -> Any:
    """Give dataclasses, mappings and sequences as plain values; what is no number is `None`.

    Args:
        value: Any of these, nested as they come.

    Returns:
        What JSON can hold.

    Examples:
        >>> plain({"a": (1.0, float("nan"))})
        {'a': [1.0, None]}
    """
    if is_dataclass(value):
        return {each.name: plain(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    if isinstance(value, float):
        return value if isfinite(value) else None
    return str(value) if isinstance(value, Path) else value
