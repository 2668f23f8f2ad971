"""What is wrong with a bundle, in words."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    Args:
        place: The file, from the bundle's folder, with the key if there is one.
        message: What is there, what was needed and what to do.
        is_error: Whether it keeps the bundle from being used or given away; else it is a warning.
    """

    place: str
    message: str
    is_error: bool = True

    def __str__(self) -> str:
        """Say it in one line."""
        return f"{'error' if self.is_error else 'warning'}: {self.place}: {self.message}"


def warning(place: str, message: str) -> Finding:
    """Make a finding that is no error.

    Args:
        place: The file.
        message: What is unusual.

    Returns:
        The finding.
    """
    return Finding(place, message, is_error=False)


@dataclass(frozen=True)
class Contents:
    """What is known of a bundle before it is judged.

    Args:
        root: Its folder.
        configs: What could be read of ``metadata``, ``train`` and ``inference``.
        is_trusted: Whether its code may be run to build its network.
        others: What could be read of other configurations, by the name of the file.
    """

    root: Path
    configs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    is_trusted: bool = False
    others: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def metadata(self) -> Mapping[str, Any]:
        """What ``metadata.json`` holds, or nothing."""
        return self.configs.get("metadata", {})

    def tensors(self, group: str) -> Mapping[str, Any]:
        """Give the descriptions of the network's tensors.

        Args:
            group: ``inputs`` or ``outputs``.

        Returns:
            Descriptions by name; nothing if the metadata have no such table.
        """
        formats = self.metadata.get("network_data_format")
        found = formats.get(group) if isinstance(formats, Mapping) else None
        return found if isinstance(found, Mapping) else {}

    def channel_def(self, group: str, name: str) -> Mapping[str, Any]:
        """Give the names of a tensor's channels by number, or nothing."""
        tensor = self.tensors(group).get(name)
        found = tensor.get("channel_def") if isinstance(tensor, Mapping) else None
        return found if isinstance(found, Mapping) else {}

    @property
    def segments(self) -> bool:
        """Whether it says that it gives label maps."""
        return len(self.channel_def("outputs", "pred")) > 1 or "segmentation" in self.root.name


@dataclass(frozen=True)
class CheckReport:
    """Everything that was found.

    Args:
        bundle: Folder of the bundle.
        findings: Errors first.
    """

    bundle: Path
    findings: tuple[Finding, ...]

    @property
    def errors(self) -> list[Finding]:
        """What keeps the bundle from being used or given away."""
        return [finding for finding in self.findings if finding.is_error]

    @property
    def is_sound(self) -> bool:
        """Whether there is no error."""
        return not self.errors

    def to_json(self) -> dict[str, Any]:
        """Give everything as plain values."""
        return {
            "bundle": str(self.bundle),
            "sound": self.is_sound,
            "findings": [asdict(finding) for finding in self.findings],
        }

    def __str__(self) -> str:
        """Say it, one line a finding, with a summary at the end."""
        num_errors = len(self.errors)
        num_warnings = len(self.findings) - num_errors
        summary = f"{self.bundle.name}: {num_errors} errors, {num_warnings} warnings"
        return "\n".join([*map(str, self.findings), summary])
