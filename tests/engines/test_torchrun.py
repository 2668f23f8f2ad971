"""Two processes that train together."""

import os
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from tests.engines.tasks import TASKS
from tests.engines.tiny import EPOCHS, averaged, pretraining
from volseg.engines.log import MetricsFile


@pytest.fixture(scope="module")
def folder(tmp_path_factory, repository):
    folder = tmp_path_factory.mktemp("two")
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2",
        "-m", "tests.engines.two_processes", str(folder),
    ]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(repository)}
    done = subprocess.run(
        command, cwd=repository, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
def test_all_processes_end_with_the_same_weights(folder):
    assert sorted(path.name for path in folder.glob("rank_*")) == ["rank_0_of_2", "rank_1_of_2"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["pretrain", "segment", *TASKS])
def test_only_one_process_writes(folder, kind):
    lines = MetricsFile(folder / kind / "train" / "metrics.jsonl").read()
    epochs = 3 if kind in TASKS else EPOCHS
    assert [line["epoch"] for line in lines] == list(range(1, epochs + 1))


@pytest.mark.slow
def test_two_halves_of_a_batch_teach_what_the_whole_teaches(folder, tmp_path):
    """Sums in another order differ in the last bits, which twelve steps of Adam spread."""
    averaged(tmp_path, batch_size=2).run()
    one, two = (
        load_file(run / "models" / "model.safetensors") for run in (tmp_path, folder / "mean")
    )
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=0, atol=1e-3)
    logs = [
        MetricsFile(run / "train" / "metrics.jsonl").read() for run in (tmp_path, folder / "mean")
    ]
    for alone, together in zip(*logs, strict=True):
        assert together["loss"] == pytest.approx(alone["loss"], rel=1e-4)
        assert together["validation"] == pytest.approx(alone["validation"], abs=1e-3)


@pytest.mark.slow
def test_the_second_process_adds_its_own_share(folder, tmp_path):
    pretraining(tmp_path, batch_size=1).run()
    alone, together = (
        load_file(run / "models" / "encoder.safetensors") for run in (tmp_path, folder / "pretrain")
    )
    assert not all(torch.equal(alone[name], together[name]) for name in alone)
