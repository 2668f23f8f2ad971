"""A batch that was interrupted is gone on with, and nothing that is done is done again."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from tests.inference.threshold import expected_labels, save_image, threshold_predictor
from volseg.errors import DataError
from volseg.inference.folder import Terms, segment_jobs
from volseg.inference.ledger import STAGING
from volseg.inference.manifest import MANIFEST, hash_settings, read_manifest
from volseg.inference.memory import Ceiling, parse_bytes
from volseg.inference.work_list import list_jobs


@pytest.fixture
def inputs(tmp_path):
    """Give a folder of three images."""
    for seed, name in enumerate("abc"):
        save_image(tmp_path / "in" / f"{name}.nii.gz", seed=seed)
    return tmp_path / "in"


def run(inputs, output, predictor=None, **options):
    jobs = list_jobs([inputs], output, resume=options.get("resume", False))
    return segment_jobs(jobs, output, predictor or threshold_predictor(), Terms(**options))


def statuses(summary):
    return {case.name: case.status for case in summary.cases}


def counting_predictor():
    predictor = threshold_predictor()
    load, seen = predictor.load, []

    def count(source):
        seen.append(source)
        return load(source)

    predictor.load = count
    return predictor, seen


def test_what_is_done_is_not_read_again_and_its_result_is_kept(inputs, tmp_path):
    first = run(inputs, tmp_path / "out")
    (tmp_path / "out" / "b.nii.gz").unlink()
    predictor, seen = counting_predictor()
    second = run(inputs, tmp_path / "out", predictor, resume=True)
    assert statuses(second) == {"a": "skipped", "b": "done", "c": "skipped"}
    assert [sources[0].name for sources in seen] == ["b"]
    assert second.is_complete
    assert str(second) == "1 done, 2 skipped, 0 failed, 0 not run"
    for old, new in zip(first.cases, second.cases, strict=True):
        assert new.volumes_ml == old.volumes_ml
        assert new.output_hash == old.output_hash


def test_an_image_that_changed_is_segmented_again(inputs, tmp_path):
    run(inputs, tmp_path / "out")
    values = save_image(inputs / "a.nii.gz", seed=9)
    assert statuses(run(inputs, tmp_path / "out", resume=True))["a"] == "done"
    assert np.array_equal(nib.load(tmp_path / "out/a.nii.gz").dataobj, expected_labels(values))


def test_another_bundle_or_option_makes_all_masks_invalid(inputs, tmp_path):
    run(inputs, tmp_path / "out", run_hash=hash_settings({"overlap": 0.5}))
    again = run(inputs, tmp_path / "out", resume=True, run_hash=hash_settings({"overlap": 0.25}))
    assert set(statuses(again).values()) == {"done"}
    same = run(inputs, tmp_path / "out", resume=True, run_hash=hash_settings({"overlap": 0.25}))
    assert set(statuses(same).values()) == {"skipped"}


def test_a_mask_that_somebody_corrected_by_hand_is_never_replaced(inputs, tmp_path):
    run(inputs, tmp_path / "out")
    edited = nib.Nifti1Image(np.ones((9, 10, 11), np.uint8), np.eye(4))
    nib.save(edited, tmp_path / "out" / "a.nii.gz")
    before = (tmp_path / "out" / "a.nii.gz").read_bytes()
    summary = run(inputs, tmp_path / "out", resume=True)
    assert statuses(summary) == {"a": "failed", "b": "skipped", "c": "skipped"}
    assert "was changed since it was written" in summary.cases[0].reason
    assert (tmp_path / "out" / "a.nii.gz").read_bytes() == before


def test_a_mask_of_another_origin_is_never_replaced(inputs, tmp_path):
    save_image(tmp_path / "out" / "a.nii.gz")
    summary = run(inputs, tmp_path / "out", resume=True)
    assert statuses(summary)["a"] == "failed"
    assert "was not written by the run to resume" in summary.cases[0].reason


def test_a_line_that_a_kill_cut_off_costs_only_its_case(inputs, tmp_path):
    run(inputs, tmp_path / "out")
    path = tmp_path / "out" / MANIFEST
    text = path.read_text("utf-8").rstrip("\n")
    path.write_text(text[:-20], "utf-8")
    (tmp_path / "out" / "c.nii.gz").unlink()
    assert statuses(run(inputs, tmp_path / "out", resume=True))["c"] == "done"
    assert len(read_manifest(tmp_path / "out")) == 3


def test_a_failed_case_is_tried_again(inputs, tmp_path):
    whole = (inputs / "b.nii.gz").read_bytes()
    (inputs / "b.nii.gz").write_bytes(whole[:50])
    assert statuses(run(inputs, tmp_path / "out"))["b"] == "failed"
    (inputs / "b.nii.gz").write_bytes(whole)
    assert statuses(run(inputs, tmp_path / "out", resume=True))["b"] == "done"


def test_a_vanished_image_fails_by_name(inputs, tmp_path):
    jobs = list_jobs([inputs], tmp_path / "out")
    (inputs / "b.nii.gz").unlink()
    summary = segment_jobs(jobs, tmp_path / "out", threshold_predictor())
    assert statuses(summary) == {"a": "done", "b": "failed", "c": "done"}
    assert "No such file" in summary.cases[1].reason


def test_with_a_ceiling_the_masks_are_the_same(inputs, tmp_path):
    run(inputs, tmp_path / "free")
    predictor = threshold_predictor()
    predictor.ceiling = Ceiling(host=parse_bytes("100G"))
    run(inputs, tmp_path / "held", predictor)
    for name in "abc":
        free, held = (
            np.asanyarray(nib.load(tmp_path / place / f"{name}.nii.gz").dataobj)
            for place in ("free", "held")
        )
        assert np.array_equal(free, held)


def test_a_ceiling_that_is_too_low_is_named(inputs, tmp_path):
    predictor = threshold_predictor()
    predictor.ceiling = Ceiling(host=parse_bytes("100M"))
    summary = run(inputs, tmp_path / "out", predictor)
    assert set(statuses(summary).values()) == {"failed"}
    assert "the ceiling is 0.1 GiB; allow more memory" in summary.cases[0].reason


KILLED = """
import sys, time
from pathlib import Path
from tests.inference.threshold import threshold_predictor
from volseg.inference.folder import segment_jobs
from volseg.inference.work_list import list_jobs

predictor = threshold_predictor()
save = predictor.save

def slow(prediction, path, sources):
    save(prediction, path, sources)
    if prediction.source.name == "b.nii.gz":
        print("half way", flush=True)
        time.sleep(60)

predictor.save = slow
source, output = map(Path, sys.argv[1:])
segment_jobs(list_jobs([source], output), output, predictor)
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", [signal.SIGKILL, signal.SIGINT])
def test_a_run_that_was_killed_is_gone_on_with(inputs, tmp_path, kind):
    output = tmp_path / "out"
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(inputs), str(output)],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
    )  # fmt: skip
    assert process.stdout.readline() == "half way\n"
    time.sleep(0.2)
    process.send_signal(signal.SIGKILL if kind == signal.SIGKILL else kind)
    if kind == signal.SIGINT:
        time.sleep(0.5)
        process.kill()
    process.wait()
    assert sorted(path.name for path in output.glob("*.nii.gz")) == ["a.nii.gz"]
    assert [json.loads(line)["name"] for line in (output / MANIFEST).open()] == ["a"]
    assert statuses(run(inputs, output, resume=True)) == {"a": "skipped", "b": "done", "c": "done"}
    assert not list(output.glob(f"{STAGING}*"))


def test_without_resuming_a_mask_that_is_there_is_refused(inputs, tmp_path):
    run(inputs, tmp_path / "out")
    with pytest.raises(DataError, match="resume the run"):
        run(inputs, tmp_path / "out")
