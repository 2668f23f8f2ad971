"""Build a network from its config, without trusting the config.

The form is MONAI's (``_target_``, arguments, ``_mode_: "callable"`` for a partial), but a config
that came with a file may name networks of volseg only, holds no expressions and no references.
"""

import inspect
from collections.abc import Mapping
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import Any, get_type_hints

from torch import nn

from volseg.errors import WeightsError

HOME = "volseg.networks."
"""Only what is defined below this package may be built."""

UNFIT = (TypeError, ValueError, RuntimeError, ArithmeticError, LookupError, AssertionError)
"""What a constructor may raise at arguments that make no sense."""


def build(config: Mapping[str, Any]) -> nn.Module:
    """Build the network that a config names.

    Args:
        config: A dictionary with ``_target_``, the dotted path of a network class or preset of
            ``volseg.networks``, and its arguments; these may be such dictionaries again.

    Returns:
        The network, with random weights.

    Raises:
        WeightsError: If the config names anything else, or its arguments do not fit.

    Examples:
        >>> encoder = build({"_target_": "volseg.networks.residual.tiny", "in_channels": 2})
        >>> encoder.spec.in_channels
        2
    """
    network = _resolve(config)
    if not isinstance(network, nn.Module):
        raise WeightsError(f"config {config} describes no network; give it a '_target_'")
    return network


def _resolve(value: Any) -> Any:
    if isinstance(value, Mapping):
        values = {key: _resolve(item) for key, item in value.items()}
        return _call(values) if "_target_" in values else values
    if isinstance(value, list | tuple):
        return [_resolve(item) for item in value]
    if isinstance(value, str) and value[:1] in {"$", "@", "%"}:
        raise WeightsError(f"network config holds the expression {value!r}; use plain values")
    return value


def _call(values: dict[str, Any]) -> Any:
    path, mode = values.pop("_target_"), values.pop("_mode_", "default")
    target = _find_target(path)
    if mode not in ("default", "callable"):
        raise WeightsError(f"_mode_ of {path} is {mode!r}; use 'default' or 'callable'")
    if mode == "callable":
        return partial(target, **values)
    try:
        return target(**values)
    except UNFIT as error:
        raise WeightsError(f"{path} does not take the arguments {values}: {error}") from error


def _find_target(path: Any) -> Any:
    """Find a network class, or a preset function that says it returns one."""
    module_path, _, name = str(path).rpartition(".")
    if not f"{module_path}.".startswith(HOME) or module_path + "." == HOME:
        raise WeightsError(f"network config names {path!r}; only {HOME}* may be built")
    try:
        is_there = find_spec(module_path) is not None
    except (ImportError, ValueError):
        is_there = False
    target = getattr(import_module(module_path), name, None) if is_there else None
    if target is None:
        raise WeightsError(f"network config names {path!r}, which this volseg does not have")
    if getattr(target, "__module__", None) != module_path or not _makes_network(target):
        raise WeightsError(f"network config names {path!r}, which is no network or preset")
    return target


def _makes_network(target: Any) -> bool:
    made = get_type_hints(target).get("return") if inspect.isfunction(target) else target
    return inspect.isclass(made) and issubclass(made, nn.Module)
