"""A Python environment with MONAI Label, made once from locked versions and kept.

MONAI Label 0.8.5 needs numpy 1.26 and pydicom 2, so it cannot share the environment of the tests.
volseg comes in through ``PYTHONPATH`` and is the checkout's, whatever its state.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

LOCK = Path(__file__).with_name("requirements.txt")

CACHE = "VOLSEG_TEST_CACHE"
"""Environment variable: where environments are kept; ``~/.cache/volseg-tests`` if it is not set."""

OPERATORS = """\
# Added by volseg's tests. PyPI's torchvision is linked to CUDA: beside a torch for the CPU its own
# operators do not load, and it fails on registering shapes for two that are unknown. Declared they
# are known; nothing calls them.
import torch

for _name in ("nms", "qnms"):
    torch.library.define(
        f"torchvision::{_name}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
    )

"""


def monai_label_python() -> Path:
    """Give the Python of the environment, which is made if it is not there."""
    content = LOCK.read_bytes() + OPERATORS.encode()
    folder = cache() / f"monai-label-{hashlib.sha256(content).hexdigest()[:12]}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another test process may be at it
        if not (folder / "complete").exists():
            shutil.rmtree(folder, ignore_errors=True)
            make(folder)
            (folder / "complete").touch()
    return folder / "bin" / "python"


def cache() -> Path:
    return Path(os.environ.get(CACHE) or Path.home() / ".cache" / "volseg-tests").resolve()


def make(folder: Path) -> None:
    """Make the environment; MONAI Label has to be importable at the end."""
    python = folder / "bin" / "python"
    call("python3.11", "-m", "venv", str(folder))
    call(python, "-m", "pip", "install", "--quiet", "--no-deps", "--requirement", LOCK)
    if can_import(python, "torch") and not can_import(python, "torchvision"):
        (package,) = folder.glob("lib/python*/site-packages/torchvision/__init__.py")
        package.write_text(OPERATORS + package.read_text())
    call(python, "-c", "import monailabel.main, torchvision")


def can_import(python: Path, module: str) -> bool:
    done = subprocess.run([python, "-c", f"import {module}"], capture_output=True, check=False)
    return done.returncode == 0


def call(*command: str | Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
