"""What a run has written is no image of the next, and whatever is left out is named and counted."""

import json
from pathlib import Path

import pytest

from tests.inference.threshold import save_image, threshold_predictor
from volseg.errors import DataError
from volseg.inference.folder import Summary, segment_jobs
from volseg.inference.own_files import Results
from volseg.inference.results import CaseResult
from volseg.inference.work_list import find_work


def run(inputs, output):
    work = find_work(inputs, output)
    return segment_jobs(work.jobs, output, threshold_predictor()), work


@pytest.fixture
def scans(tmp_path):
    for seed, name in enumerate(["one/a", "two/b"]):
        save_image(tmp_path / "scans" / f"{name}.nii.gz", seed=seed)
    return tmp_path / "scans"


@pytest.mark.parametrize("place", ["scans/masks", "scans/one/deep", "elsewhere"])
def test_a_pattern_that_reaches_into_the_output_takes_no_masks(scans, tmp_path, place):
    pattern, output = scans / "**" / "*.nii.gz", tmp_path / place
    first, _ = run([pattern], output)
    names = [case.name for case in first.cases]
    assert names == ["one/a", "two/b"]
    work = find_work([pattern], output, resume=True)
    assert [job.name for job in work.jobs] == names
    inside = 2 if output.is_relative_to(scans) else 0
    assert [case.reason for case in work.left_out] == ["was written by a run of volseg"] * inside


def test_masks_of_another_run_beside_scans_are_no_images_of_a_folder(scans, tmp_path):
    run([scans / "*" / "*.nii.gz"], scans / "masks")
    summary, work = run([scans], tmp_path / "out")
    assert [case.name for case in summary.cases] == ["one/a", "two/b"]
    found = sorted(case.source for case in work.left_out)
    assert found == [str(scans / "masks" / name) for name in ("one/a.nii.gz", "two/b.nii.gz")]


def test_a_mask_that_was_corrected_or_moved_with_its_folder_is_known(scans, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run(["scans/*/*.nii.gz"], Path("scans/masks"))
    save_image(scans / "masks" / "one" / "a.nii.gz", seed=7)
    (tmp_path / "elsewhere").mkdir()
    scans.rename(tmp_path / "elsewhere" / "data")
    masks = tmp_path / "elsewhere" / "data" / "masks"
    assert Results().holds(masks / "one" / "a.nii.gz")
    assert not Results().holds(tmp_path / "elsewhere" / "data" / "one" / "a.nii.gz")
    with pytest.raises(DataError, match="all 2 images are what volseg has written; give the scans"):
        find_work([masks], tmp_path / "out")


def test_a_list_beside_its_output_may_be_segmented_again(scans):
    (scans / "list.csv").write_text("image\none/a.nii.gz\ntwo/b.nii.gz\n")
    run([scans / "list.csv"], scans / "masks")
    work = find_work([scans / "list.csv"], scans / "masks", resume=True)
    assert [job.name for job in work.jobs] == ["one/a", "two/b"]
    assert work.left_out == []


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"[1, 2]\nnull\n", b'{"target": 3}'])
def test_a_manifest_of_another_kind_names_nothing(tmp_path, content):
    (tmp_path / "manifest.jsonl").write_bytes(content)
    assert not Results().holds(tmp_path / "a.nii.gz")


def test_maps_are_results_too(tmp_path):
    line = {"target": "out/a.nii.gz", "map_hashes": {"out/a_entropy.nii.gz": "0"}}
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "manifest.jsonl").write_text(json.dumps(line))
    known = Results()
    assert known.holds(tmp_path / "out" / "a_entropy.nii.gz")
    assert not known.holds(tmp_path / "out" / "b_entropy.nii.gz")
    assert not known.holds(tmp_path / "a.nii.gz")


def test_what_is_left_out_is_counted_and_does_not_make_a_run_incomplete():
    done = CaseResult("a", "a.nii", "out/a.nii", "done")
    stray = CaseResult("b", "b.nii", "", "left out", "shows nothing")
    summary = Summary([done], [stray])
    assert summary.is_complete
    assert str(summary) == "1 done, 0 failed, 0 not run, 1 left out"
    content = summary.to_json()
    assert content["left out"] == 1
    assert content["images left out"] == [{"source": "b.nii", "reason": "shows nothing"}]
    assert str(Summary([done])) == "1 done, 0 failed, 0 not run"
