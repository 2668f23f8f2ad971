"""What all tests share: one thread, the real data beside the checkout."""

import logging
import os
from pathlib import Path

import pytest

# The number of threads is read when torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def repository() -> Path:
    """Give the root of the checkout."""
    return Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data(repository: Path) -> Path:
    """Give the folder of real data beside the checkout, or skip."""
    folder = repository.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"real data is not there: {folder}")
    return folder


@pytest.fixture(autouse=True)
def plain_logging() -> None:
    """Undo what an earlier run of the command line has done to the log."""
    logging.getLogger("volseg").setLevel(logging.NOTSET)
