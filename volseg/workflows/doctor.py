"""Check an installation: what is there, and whether it computes what it should."""

import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import psutil
import torch

from volseg.bundle import bundle_names
from volseg.workflows import self_test
from volseg.workflows.record import machine, versions

SPACE_GIB = 1.0
"""Below this much free memory or disk, even small runs may fail."""

SELF_TESTS: Mapping[str, Callable[[torch.device], str]] = {
    "training lowers the loss": self_test.learn,
    "sliding window equals the whole": self_test.slide,
    "masks lie on the grid of their image": self_test.round_trip,
}


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Args:
        name: What.
        status: ``ok``, ``warning`` or ``failed``.
        detail: What was found.
    """

    name: str
    status: str
    detail: str


@dataclass(frozen=True)
class Diagnosis:
    """What the doctor found.

    Args:
        versions: Version by package.
        machine: Devices and platform.
        checks: What was looked at.
        seconds: How long it took.
    """

    versions: Mapping[str, str]
    machine: Mapping[str, Any]
    checks: Sequence[Check]
    seconds: float

    @property
    def is_healthy(self) -> bool:
        """Whether nothing has failed; a warning is no failure."""
        return all(check.status != "failed" for check in self.checks)

    def to_json(self) -> dict[str, Any]:
        """Give everything as plain values."""
        return {"healthy": self.is_healthy, **asdict(self)}

    def __str__(self) -> str:
        """Lay everything out, one line a check."""
        heads = [f"{name} {number}" for name, number in self.versions.items()]
        facts = [f"{key}: {value}" for key, value in self.machine.items() if value != ""]
        lines = [f"{c.status:<8} {c.name}: {c.detail}" for c in self.checks]
        verdict = "all is well" if self.is_healthy else "something is wrong: see what has failed"
        return "\n".join([", ".join(heads), ", ".join(facts), *lines, verdict])


def doctor() -> Diagnosis:
    """Look at versions, devices, memory and disk, and train and segment something tiny.

    Returns:
        What was found.
    """
    began = perf_counter()
    devices = [torch.device("cpu")]
    devices += [torch.device("cuda", index) for index in range(_count_gpus())]
    checks = [check_gpu(), check_memory(), check_disk(Path.cwd()), check_bundles()]
    for device in devices:
        checks += [run_self_test(name, test, device) for name, test in SELF_TESTS.items()]
    seconds = round(perf_counter() - began, 1)
    return Diagnosis(versions(), machine(devices[-1]), checks, seconds)


def check_gpu() -> Check:
    """Tell which GPUs PyTorch can use, and why not if one is there that it cannot."""
    count = _count_gpus()
    if count:
        names = ", ".join(torch.cuda.get_device_name(index) for index in range(count))
        return Check("GPU", "ok", names)
    if torch.backends.mps.is_available():
        return Check("GPU", "ok", "mps")
    if shutil.which("nvidia-smi") is None:
        return Check("GPU", "ok", "none on this machine; the CPU is used")
    wheel = (
        "is built for CPUs" if torch.version.cuda is None else f"wants CUDA {torch.version.cuda}"
    )
    return Check("GPU", "warning", f"an NVIDIA driver is there, but this PyTorch {wheel}")


def check_memory() -> Check:
    """Measure the memory that is free."""
    memory = psutil.virtual_memory()
    detail = f"{memory.available / 2**30:.1f} of {memory.total / 2**30:.1f} GiB are free"
    return Check("memory", _enough(memory.available), detail)


def check_disk(folder: Path) -> Check:
    """Measure the disk space that is free, here and for temporary files.

    Args:
        folder: Where results would be written.

    Returns:
        The check.
    """
    places = {folder: shutil.disk_usage(folder).free}
    temporary = Path(tempfile.gettempdir())
    places[temporary] = shutil.disk_usage(temporary).free
    detail = ", ".join(f"{free / 2**30:.1f} GiB free in {path}" for path, free in places.items())
    return Check("disk", _enough(min(places.values())), detail)


def check_bundles() -> Check:
    """Look for the bundles that come with volseg."""
    names = bundle_names()
    if not names:
        return Check("bundles", "failed", "none is there; install volseg again")
    return Check("bundles", "ok", ", ".join(names))


def run_self_test(name: str, test: Callable[[torch.device], str], device: torch.device) -> Check:
    """Run one self-test; whatever it raises is a finding.

    Args:
        name: What should be true.
        test: Computes it on a device, and says what it measured.
        device: The device.

    Returns:
        The check.
    """
    try:
        return Check(f"{name} ({device})", "ok", test(device))
    except Exception as error:  # noqa: BLE001 - a broken installation may raise anything
        return Check(f"{name} ({device})", "failed", f"{type(error).__name__}: {error}")


def _count_gpus() -> int:
    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def _enough(free: int) -> str:
    return "ok" if free >= SPACE_GIB * 2**30 else "warning"
