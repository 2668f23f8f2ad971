"""Several processes do one batch: each case once, and one that is killed costs but its case."""

import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import nibabel as nib
import numpy as np
import psutil
import pytest

from tests.inference.deadly import deadly_predictor, names_in, processes_in
from tests.inference.threshold import expected_labels, save_image, threshold_predictor
from volseg.errors import BundleError
from volseg.inference.folder import Terms, segment_jobs
from volseg.inference.ledger import STAGING
from volseg.inference.manifest import MANIFEST
from volseg.inference.work_list import list_jobs
from volseg.inference.workers import segment_on_devices

NAMES = "abcdef"


def refuse():
    raise BundleError("bundle has no weights; give it some")


def die_at_once():
    os._exit(7)


@pytest.fixture
def images(tmp_path):
    """Give six images, by name."""
    return {
        name: save_image(tmp_path / "in" / f"{name}.nii.gz", seed=seed)
        for seed, name in enumerate(NAMES)
    }


def run(tmp_path, *builds, **terms):
    jobs = list_jobs([tmp_path / "in"], tmp_path / "out", resume=terms.get("resume", False))
    named = [(f"cpu-{index}", build) for index, build in enumerate(builds)]
    return segment_on_devices(jobs, tmp_path / "out", named, Terms(**terms))


def statuses(summary):
    return "".join(case.status[0] for case in summary.cases)


def lines(tmp_path):
    manifest = tmp_path / "out" / MANIFEST  # not there if a run was stopped before its first case
    return [json.loads(line) for line in manifest.open()] if manifest.exists() else []


def read(path):
    return np.asanyarray(nib.load(path).dataobj)


@pytest.mark.slow
def test_two_processes_give_what_one_gives_though_one_is_killed(images, tmp_path):
    log = tmp_path / "log"
    summary = run(tmp_path, *[partial(deadly_predictor, log, once="c", crowd=2)] * 2)
    assert [case.name for case in summary.cases] == list(NAMES)
    assert summary.is_complete
    assert sorted(line["name"] for line in lines(tmp_path)) == list(NAMES)
    assert names_in(log).count("c") == 2
    assert len(processes_in(log) - {str(os.getpid())}) >= 2
    jobs = list_jobs([tmp_path / "in"], tmp_path / "plain")
    plain = segment_jobs(jobs, tmp_path / "plain", threshold_predictor())
    for name, ours, theirs in zip(NAMES, summary.cases, plain.cases, strict=True):
        assert np.array_equal(read(tmp_path / f"out/{name}.nii.gz"), expected_labels(images[name]))
        assert (ours.output_hash, ours.volumes_ml) == (theirs.output_hash, theirs.volumes_ml)
    files = {path.name for path in (tmp_path / "out").iterdir()}
    assert files == {path.name for path in (tmp_path / "plain").iterdir()}
    (tmp_path / "out" / "e.nii.gz").unlink()
    again = run(tmp_path, partial(deadly_predictor, tmp_path / "log2"), resume=True)
    assert statuses(again) == "ssssds"
    assert names_in(tmp_path / "log2") == ["e"]


@pytest.mark.slow
def test_a_case_that_kills_two_processes_is_given_up_and_its_neighbours_are_not(
    images, tmp_path, caplog
):
    log = tmp_path / "log"
    build = partial(deadly_predictor, log, always="b", crowd=2)
    summary = run(tmp_path, build, build)
    assert statuses(summary) == "dfdddd"
    reason = summary.cases[1].reason
    assert "the process that segmented it was killed (SIGKILL), twice" in reason
    assert names_in(log).count("b") == 2
    assert sorted(line["name"] for line in lines(tmp_path)) == list(NAMES)
    for name in "acdef":
        assert np.array_equal(read(tmp_path / f"out/{name}.nii.gz"), expected_labels(images[name]))
    assert not (tmp_path / "out" / "b.nii.gz").exists()
    assert not list((tmp_path / "out").glob(f"{STAGING}*"))
    assert "was killed (SIGKILL); it held: " in caplog.text


@pytest.mark.slow
def test_what_keeps_a_process_from_beginning_is_raised_here(images, tmp_path):
    with pytest.raises(BundleError, match="bundle has no weights; give it some"):
        run(tmp_path, refuse, refuse)
    assert not list((tmp_path / "out").glob("*.nii.gz"))


@pytest.mark.slow
def test_processes_that_never_begin_leave_a_run_that_can_be_resumed(images, tmp_path):
    summary = run(tmp_path, die_at_once)
    assert {case.status for case in summary.cases} == {"not run"}
    assert "the process ended with status 7 before it was ready" in summary.cases[0].reason
    assert statuses(run(tmp_path, threshold_predictor, resume=True)) == "dddddd"


INTERRUPTED = """
import signal
import sys
from functools import partial
from pathlib import Path
from tests.inference.deadly import deadly_predictor
from volseg.inference.work_list import list_jobs
from volseg.inference.workers import segment_on_devices

signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in jobs in the background
folder = Path(sys.argv[1])
build = partial(deadly_predictor, folder / "log", hang="e")
jobs = list_jobs([folder / "in"], folder / "out")
segment_on_devices(jobs, folder / "out", [("cpu-0", build), ("cpu-1", build)])
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["Ctrl-C", "kill -9"])
def test_a_run_that_is_stopped_takes_its_processes_along_and_can_be_resumed(images, tmp_path, kind):
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, str(tmp_path)],
        stderr=subprocess.PIPE, text=True, start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
    )  # fmt: skip
    try:
        wait_for(lambda: "e" in names_in(tmp_path / "log"), 300)
        if kind == "Ctrl-C":
            os.killpg(process.pid, signal.SIGINT)
        else:
            process.kill()
        messages = process.communicate(timeout=300)[1]
    finally:
        process.kill()
    assert messages.count("Traceback") == (kind == "Ctrl-C")
    wait_for(lambda: not any(psutil.pid_exists(int(pid)) for pid in processes_in(tmp_path / "log")))
    done = {path.name[0] for path in (tmp_path / "out").glob("*.nii.gz")}
    assert {line["name"] for line in lines(tmp_path)} == done
    summary = run(tmp_path, threshold_predictor, resume=True)
    assert statuses(summary) == "".join("s" if name in done else "d" for name in NAMES)
    assert not list((tmp_path / "out").glob(f"{STAGING}*"))


def wait_for(claim, seconds=20.0):
    end = time.monotonic() + seconds
    while not claim():
        assert time.monotonic() < end
        time.sleep(0.1)
