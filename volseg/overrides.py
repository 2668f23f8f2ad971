"""Changing values of a configuration by their keys, and refusing keys that do not exist.

A key is MONAI's, with ``::`` between its parts. It may leave out leading parts as long as only one
key ends that way: ``max_epochs`` for ``train::trainer::max_epochs``; keys that only refer to
another value do not count. An argument that the configuration does not give may be set too, if the
``_target_`` takes it.
"""

import copy
import inspect
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from pydoc import ErrorDuringImport, locate
from typing import Any

from volseg.errors import BundleError

SEPARATOR = "::"


def apply_overrides(config: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Change values of a configuration.

    Args:
        config: The configuration; it stays as it is.
        overrides: New values by key.

    Returns:
        A changed copy; a key that does not exist, or means several, is refused as a `BundleError`.

    Examples:
        >>> apply_overrides({"seed": 0, "loop": {"batch_size": 2}}, {"batch_size": 4})
        {'seed': 0, 'loop': {'batch_size': 4}}
    """
    changed = copy.deepcopy(dict(config))
    for key, value in overrides.items():
        *parents, last = find_key(changed, key).split(SEPARATOR)
        place: Any = changed
        for part in parents:
            place = place[int(part) if isinstance(place, list) else part]
        place[int(last) if isinstance(place, list) else last] = value
    return changed


def find_key(config: Mapping[str, Any], key: str) -> str:
    """Find the full key that a key, perhaps a shortened one, means.

    Args:
        config: The configuration.
        key: The key; leading parts may be left out.

    Returns:
        The full key.

    Raises:
        BundleError: If no key or several keys end that way.
    """
    present = dict(flatten(config))
    if key in present:
        return key
    possible = [*present, *_arguments(config)]
    if key in possible:
        return key
    own = [name for name, value in present.items() if not str(value).startswith("@")]
    for keys in (own, possible):
        matches = [name for name in keys if name.endswith(SEPARATOR + key)]
        if len(matches) == 1:
            return matches[0]
        if matches:
            raise BundleError(f"key {key!r} may mean any of {', '.join(matches)}; use one of them")
    raise BundleError(f"key {key!r} does not exist; the nearest is {nearest(key, possible)!r}")


def flatten(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """List every key of a configuration with its value, dictionaries and lists opened.

    Args:
        value: A dictionary or a list.
        prefix: What to put before each key.

    Yields:
        Full key and value, those of dictionaries and lists before those of what is in them.
    """
    items = value.items() if isinstance(value, Mapping) else enumerate(value)
    for name, item in items:
        yield f"{prefix}{name}", item
        if isinstance(item, Mapping | list):
            yield from flatten(item, f"{prefix}{name}{SEPARATOR}")


def find_arguments(config: Mapping[str, Any], name: str) -> list[str]:
    """Find everything in a configuration that takes an argument of one name, given or not.

    Args:
        config: The configuration.
        name: Name of the argument.

    Returns:
        Full keys.

    Examples:
        >>> find_arguments({"loop": {"_target_": "volseg.engines.loop.Loop"}}, "progress")
        ['loop::progress']
    """
    every = [*dict(flatten(config)), *_arguments(config)]
    return [key for key in every if key.split(SEPARATOR)[-1] == name]


def nearest(name: str, names: Sequence[str]) -> str:
    """Find the name that is most like another, as a whole or by its last part.

    Args:
        name: What was given.
        names: What there is, at least one.

    Returns:
        The nearest name.

    Examples:
        >>> nearest("max_epoch", ["train::trainer::max_epochs", "seed"])
        'train::trainer::max_epochs'
    """
    tails: dict[str, str] = {}
    for item in names:
        parts = item.split(SEPARATOR)
        for length in range(len(parts), 0, -1):
            tails.setdefault(SEPARATOR.join(parts[-length:]), item)
    return tails[get_close_matches(name, tails, n=1, cutoff=0.0)[0]]


def _arguments(value: Any, prefix: str = "") -> Iterator[str]:
    """List the keys of the arguments that targets take and the configuration does not give."""
    items = value.items() if isinstance(value, Mapping) else enumerate(value)
    for name, item in items:
        if isinstance(item, Mapping | list):
            yield from _arguments(item, f"{prefix}{name}{SEPARATOR}")
    if isinstance(value, Mapping) and "_target_" in value:
        yield from (f"{prefix}{name}" for name in _parameters(value["_target_"]) - set(value))


def _parameters(path: Any) -> set[str]:
    """Name the parameters of a target that can be given by name."""
    try:
        parameters = inspect.signature(locate(str(path))).parameters.values()  # type: ignore[arg-type] # not callable: TypeError
    except (TypeError, ValueError, ErrorDuringImport):
        return set()
    return {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
