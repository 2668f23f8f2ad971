"""Where training scripts put a state dict: PyTorch Lightning, nnssl, MONAI and plain loops.

A file may hold a state dict at its top or one level below, beside an epoch and an optimizer.
Nothing in it is unpickled but tensors and plain values.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from volseg.errors import WeightsError
from volseg.networks.storage import read_plain_values, read_tensors, strip_wrappers, widen

KEYS = (
    "state_dict", "model_state_dict", "network_weights", "model", "network", "net", "encoder",
    "student", "teacher",
)  # fmt: skip
"""Where a state dict is looked for first, if a file holds several."""


def read_foreign(path: Path) -> tuple[dict[str, Tensor], list[str]]:
    """Read a state dict wherever it is in a file.

    Args:
        path: A safetensors file, or one that PyTorch saved.

    Returns:
        Tensors by name, wrappers' prefixes taken off, and what was done.
    """
    if path.suffix == ".safetensors":
        tensors, notes = strip_wrappers(read_tensors(path))
        return tensors, list(notes)
    values = read_plain_values(path)
    key, found = _find_state_dict(path, values)
    tensors, notes = strip_wrappers({name: widen(tensor) for name, tensor in found.items()})
    said = [f"took the state dict from under {key!r}"] if key else []
    return tensors, [*said, *notes]


def _find_state_dict(path: Path, values: Any) -> tuple[str, dict[str, Tensor]]:
    if not isinstance(values, Mapping):
        raise WeightsError(f"{path} holds a {type(values).__name__}, not a state dict")
    own = _tensors(values)
    if own is not None:
        return "", own
    inner = {str(key): found for key, value in values.items()
             if isinstance(value, Mapping) and (found := _tensors(value)) is not None}  # fmt: skip
    known = [key for key in KEYS if key in inner]
    if not inner or (len(inner) > 1 and not known):
        keys = sorted(inner or map(str, values))[:6]
        raise WeightsError(
            f"{path} is not a plain state dict, nor does it hold just one: it has {keys};"
            " save the state dict alone"
        )
    key = known[0] if known else next(iter(inner))
    return key, inner[key]


def _tensors(values: Mapping[Any, Any]) -> dict[str, Tensor] | None:
    """Give a mapping of names to tensors as it is, and nothing for any other."""
    is_plain = values and all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in values.items()
    )
    return {str(name): value for name, value in values.items()} if is_plain else None
