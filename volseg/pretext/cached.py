"""Targets that are slow to compute, remembered by what they were computed from."""

import hashlib
import io
import json
from collections import OrderedDict
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from volseg.networks.storage import write_atomically
from volseg.pretext.targets import Target

MAXIMUM_BYTES = 2**28
"""What one process keeps in memory; the map that was not used for longest is dropped first."""


@dataclass
class CachedTarget:
    """Computes a target once for each volume, whatever the file that it came from is called.

    The key is a hash of the voxels and of the target's settings. Maps are kept in half precision.

    Args:
        target: Computes the map; a dataclass of plain values.
        folder: Where maps are kept for other processes and later runs; `None`: in the memory of
            this process alone, the last ones of a quarter of a gigabyte.
    """

    target: Target
    folder: Path | None = None
    kept: OrderedDict[str, Tensor] = field(default_factory=OrderedDict, repr=False)

    def __call__(self, image: Tensor, valid: Tensor) -> Tensor:
        """Give the map of a volume.

        Args:
            image: Volume, ``(C, X, Y, Z)``.
            valid: Voxels with signal, ``(1, X, Y, Z)``.

        Returns:
            The map, in half precision.
        """
        key = content_hash(image, valid, self.settings())
        if key not in self.kept:
            self.kept[key] = self._read(key, image, valid)
            while sum(m.nbytes for m in self.kept.values()) > MAXIMUM_BYTES and len(self.kept) > 1:
                self.kept.popitem(last=False)
        self.kept.move_to_end(key)
        return self.kept[key]

    def settings(self) -> dict[str, Any]:
        """Give what the map depends on beside the volume."""
        values = asdict(cast(Any, self.target))
        return {"target": type(self.target).__qualname__, **values}

    def __getstate__(self) -> dict[str, Any]:
        """Leave the maps behind when a worker gets its copy."""
        return {"target": self.target, "folder": self.folder, "kept": OrderedDict()}

    def _read(self, key: str, image: Tensor, valid: Tensor) -> Tensor:
        path = None if self.folder is None else Path(self.folder) / f"{key}.npy"
        if path is not None and path.is_file():
            try:
                return torch.from_numpy(np.load(path, allow_pickle=False))
            except (OSError, ValueError):  # cut off on the way: computed anew
                path.unlink(missing_ok=True)
        found = self.target(image, valid).half()
        if path is not None:
            content = io.BytesIO()
            np.save(content, found.numpy())
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, content.getvalue())
        return found


def content_hash(image: Tensor, valid: Tensor, settings: dict[str, Any]) -> str:
    """Hash what a target depends on.

    Args:
        image: Volume, ``(C, X, Y, Z)``.
        valid: Voxels with signal, ``(1, X, Y, Z)``.
        settings: Plain values.

    Returns:
        40 hexadecimal digits.
    """
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for values in (image, valid):
        digest.update(f"{values.dtype}{tuple(values.shape)}".encode())
        digest.update(np.ascontiguousarray(values.numpy()).data)
    return digest.hexdigest()[:40]
