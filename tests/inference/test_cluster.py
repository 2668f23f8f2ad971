"""A Dask cluster gives the masks of a plain run, each once, though its workers die."""

import json
import socket
import sys
from functools import partial

import nibabel as nib
import numpy as np
import pytest

from tests.inference.deadly import deadly_predictor, names_in, processes_in
from tests.inference.test_guarded import INFERENCE, NETWORK, write_bundle
from tests.inference.threshold import expected_labels, save_image, threshold_predictor
from volseg import __version__
from volseg.cli.main import main
from volseg.errors import BundleError, DeviceError, VolsegError
from volseg.inference.casework import Recipe, Task
from volseg.inference.cluster import run_case, segment_on_cluster
from volseg.inference.folder import Terms, segment_jobs
from volseg.inference.ledger import STAGING
from volseg.inference.manifest import MANIFEST
from volseg.inference.work_list import list_jobs
from volseg.networks.config import build

NAMES = "abcdef"


@pytest.fixture(scope="module")
def address():
    """Give the address of a cluster of two worker processes, which a nanny each starts again."""
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=2, dashboard_address=None, memory_limit=0
    ) as cluster:
        yield cluster.scheduler_address


@pytest.fixture
def images(tmp_path, monkeypatch):
    """Give six images, by name, and go where they are."""
    monkeypatch.chdir(tmp_path)
    return {
        name: save_image(tmp_path / "in" / f"{name}.nii.gz", seed=seed)
        for seed, name in enumerate(NAMES)
    }


def jobs_below(folder, **options):
    return list_jobs([folder.parent / "in"], folder, **options)


def statuses(summary):
    return "".join(case.status[0] for case in summary.cases)


def refuse():
    raise BundleError("bundle has no weights; give it some")


@pytest.mark.slow
def test_a_worker_that_is_killed_in_the_middle_costs_no_case(images, tmp_path, address):
    log, output = tmp_path / "log", tmp_path / "out"
    build = partial(deadly_predictor, log, once="c", crowd=2)
    relative = output.relative_to(tmp_path)  # the workers live in another folder
    summary = segment_on_cluster(list_jobs(["in"], relative), relative, address, build)
    assert statuses(summary) == "dddddd"
    assert names_in(log).count("c") == 2
    assert len(processes_in(log)) >= 2
    plain = segment_jobs(jobs_below(tmp_path / "plain"), tmp_path / "plain", threshold_predictor())
    for name, ours, theirs in zip(NAMES, summary.cases, plain.cases, strict=True):
        mask, other = (tmp_path / place / f"{name}.nii.gz" for place in ("out", "plain"))
        assert mask.read_bytes() == other.read_bytes()
        assert np.array_equal(nib.load(mask).dataobj, expected_labels(images[name]))
        assert ours.volumes_ml == theirs.volumes_ml
    lines = [json.loads(line) for line in (output / MANIFEST).open()]
    assert sorted(line["target"] for line in lines) == [f"out/{name}.nii.gz" for name in NAMES]
    files = {path.name for path in output.iterdir()}
    assert files == {path.name for path in (tmp_path / "plain").iterdir()}
    (output / "e.nii.gz").unlink()
    jobs = list_jobs(["in"], relative, resume=True)
    again = segment_on_cluster(jobs, relative, address, threshold_predictor, Terms(resume=True))
    assert statuses(again) == "ssssds"


@pytest.mark.slow
def test_a_case_that_kills_two_workers_is_given_up_and_its_neighbours_are_not(
    images, tmp_path, address
):
    log, output = tmp_path / "log", tmp_path / "out"
    build = partial(deadly_predictor, log, always="b", crowd=2)
    summary = segment_on_cluster(jobs_below(output), output, address, build)
    assert statuses(summary) == "dfdddd"
    assert "2 workers died while they segmented it" in summary.cases[1].reason
    assert names_in(log).count("b") == 2
    lines = [json.loads(line) for line in (output / MANIFEST).open()]
    assert sorted(line["name"] for line in lines) == list(NAMES)
    assert not list(output.glob(f"{STAGING}*"))


@pytest.mark.slow
def test_what_keeps_a_worker_from_beginning_is_raised_here(images, tmp_path, address):
    with pytest.raises(BundleError, match="bundle has no weights; give it some"):
        segment_on_cluster(jobs_below(tmp_path / "out"), tmp_path / "out", address, refuse)
    assert not list((tmp_path / "out").glob("*.nii.gz"))
    assert not list((tmp_path / "out").glob(f"{STAGING}*"))


@pytest.mark.slow
def test_the_command_line_gives_the_masks_of_a_plain_run(images, tmp_path, address, capsys):
    bundle = write_bundle(tmp_path / "a_segmentation", INFERENCE, build(NETWORK).state_dict())
    command = ["segment", "in/a.nii.gz", "in/b.nii.gz", "--bundle", str(bundle), "--device", "cpu"]
    assert main([*command, "--output", "plain"]) == 0
    assert main([*command, "--output", "out", "--cluster", address]) == 0
    assert capsys.readouterr().out.count("2 done, 0 failed") == 2
    for name in "ab":
        masks = [(tmp_path / place / f"{name}.nii.gz").read_bytes() for place in ("out", "plain")]
        assert masks[0] == masks[1]
    shown = (tmp_path / "out" / "report.html").read_text()
    assert f"workers of {address}" in shown
    settings = json.loads((tmp_path / "out" / "run.json").read_text())["settings"]
    assert settings["batch"]["cluster"] == address
    assert main([*command, "--output", "out", "--resume"]) == 0  # who did it does not count
    assert "0 done, 2 skipped" in capsys.readouterr().out


def test_a_worker_has_one_device(images, tmp_path, capsys):
    command = ["segment", "in", "--bundle", "hippocampus_segmentation", "--output", "out"]
    assert main([*command, "--cluster", "tcp://x:1", "--device", "cpu,cpu"]) == 1
    assert "each worker of a cluster has one device, but cpu, cpu" in capsys.readouterr().err


def test_a_scheduler_that_does_not_answer_is_named(images, tmp_path, monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr("volseg.inference.cluster.PATIENCE", 0.3)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound and not listening: nobody answers
        address = f"tcp://127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(DeviceError, match=rf"no Dask scheduler answers at {address}; start"):
            segment_on_cluster(
                jobs_below(tmp_path / "out"), tmp_path / "out", address, threshold_predictor
            )
    assert not (tmp_path / "out").exists()


def test_without_dask_the_error_says_what_to_install(images, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(DeviceError, match=r"pip install 'volseg\[cluster\]'"):
        segment_on_cluster(
            jobs_below(tmp_path / "out"), tmp_path / "out", "tcp://x:1", threshold_predictor
        )


def test_a_worker_of_another_version_or_without_the_folder_refuses(tmp_path):
    task = Task(list_jobs([save(tmp_path)], tmp_path / "out")[0])
    with pytest.raises(VolsegError, match=r"was asked by 0\.0"):
        run_case(Recipe(threshold_predictor, tmp_path), task, 0, "0.0")
    with pytest.raises(VolsegError, match=r"does not see .*gone; it must share that folder"):
        run_case(Recipe(threshold_predictor, tmp_path / "gone"), task, 0, __version__)


def test_a_network_that_kills_three_workers_is_loaded_by_no_other(tmp_path):
    task = Task(list_jobs([save(tmp_path)], tmp_path / "out")[0])
    for number in range(3):
        (tmp_path / f"loading.{number}").touch()
    with pytest.raises(VolsegError, match="3 workers died while they loaded the network"):
        run_case(Recipe(threshold_predictor, tmp_path), task, 0, __version__)


def save(folder):
    save_image(folder / "a.nii.gz")
    return folder / "a.nii.gz"
