"""The log of a run: one line of JSON an epoch in ``metrics.jsonl``."""

import json
import os
from collections import defaultdict
from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from volseg.engines import distributed
from volseg.networks.storage import write_atomically
from volseg.pretext.task import PretextResult


class EpochMeans:
    """Collects the scalars of an epoch's steps and averages them.

    Nothing is read back from the device before the end of the epoch.
    """

    def __init__(self) -> None:
        self.values: dict[tuple[str, str], list[Tensor]] = defaultdict(list)

    def add(self, result: PretextResult) -> None:
        """Take the scalars of one step.

        Args:
            result: What the step gave.
        """
        self.values["", "loss"].append(result.loss)
        for kind, scalars in (("parts", result.parts), ("monitors", result.monitors)):
            for name, value in scalars.items():
                self.values[kind, name].append(torch.as_tensor(value).detach())

    def take(self) -> dict[str, Any]:
        """Average over the steps and the processes, and start anew.

        Returns:
            ``loss``, ``parts`` and ``monitors``.
        """
        means: dict[str, Any] = {"parts": {}, "monitors": {}}
        if self.values:
            columns = [torch.stack(column).float().mean() for column in self.values.values()]
            averages = distributed.mean_over_ranks(torch.stack(columns)).tolist()
            for (kind, name), value in zip(self.values, averages, strict=True):
                (means[kind] if kind else means)[name] = value
        self.values.clear()
        return means


class MetricsFile:
    """``metrics.jsonl``: a line is whole or not there.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, record: Mapping[str, Any]) -> None:
        """Add a line and flush it to the disk.

        Args:
            record: What to write; numbers that are not finite become null.
        """
        line = json.dumps(_jsonable(record), allow_nan=False)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")
            file.flush()
            os.fsync(file.fileno())

    def truncate(self, step: int) -> None:
        """Forget everything after a step.

        Args:
            step: The last step to keep.
        """
        if self.path.exists():
            kept = "".join(f"{json.dumps(r)}\n" for r in self.read() if r["step"] <= step)
            write_atomically(self.path, kept.encode())

    def read(self) -> list[dict[str, Any]]:
        """Read the whole lines.

        Returns:
            One record a line; a last line that a kill has cut off is left out.
        """
        text = self.path.read_text(encoding="utf-8") if self.path.exists() else ""
        whole, _, _ = text.rpartition("\n")
        return [json.loads(line) for line in whole.splitlines()]


def _jsonable(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_jsonable(item) for item in value]
    if isinstance(value, float):
        return value if isfinite(value) else None
    return value
