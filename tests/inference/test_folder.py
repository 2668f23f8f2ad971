"""A batch accounts for every file, whatever the files and the disk do."""

import errno
import json

import nibabel as nib
import numpy as np
import pytest

from tests.inference.threshold import expected_labels, save_image, threshold_predictor
from volseg.errors import DataError
from volseg.inference import predictor as predictor_module
from volseg.inference.folder import MANIFEST, Summary, segment_folder


@pytest.fixture
def folder(tmp_path):
    """Give a folder of three images, one of them broken, and one in a folder below."""
    inputs = tmp_path / "in"
    for seed, name in enumerate(("a.nii.gz", "c.nii", "site/d.nii.gz")):
        save_image(inputs / name, seed=seed)
    whole = (inputs / "a.nii.gz").read_bytes()
    (inputs / "b.nii.gz").write_bytes(whole[: len(whole) // 2])
    return inputs


def manifest(output):
    return [json.loads(line) for line in (output / MANIFEST).read_text("utf-8").splitlines()]


def masks(output):
    return sorted(str(p.relative_to(output)) for p in output.rglob("*") if p.suffix == ".gz")


def test_a_bad_file_is_reported_and_the_others_are_segmented(folder, tmp_path):
    output = tmp_path / "out"
    summary = segment_folder([folder], output, threshold_predictor())
    assert masks(output) == ["a.nii.gz", "c.nii.gz", "site/d.nii.gz"]
    assert (summary.count("done"), summary.count("failed")) == (3, 1)
    assert not summary.is_complete
    for name, source in (("a.nii.gz", "a.nii.gz"), ("c.nii.gz", "c.nii")):
        values = np.asanyarray(nib.load(folder / source).dataobj)
        mask = np.asanyarray(nib.load(output / name).dataobj)
        assert np.array_equal(mask, expected_labels(values))
    lines = manifest(output)
    assert [(line["name"], line["status"]) for line in lines] == [
        ("a", "done"),
        ("b", "failed"),
        ("c", "done"),
        ("site/d", "done"),
    ]
    assert lines[1]["source"] == str(folder / "b.nii.gz")
    assert "is damaged or cut off" in lines[1]["reason"]
    assert lines[1]["volumes_ml"] == {}
    assert f"failed: {folder / 'b.nii.gz'}: is damaged or cut off" in str(summary)
    assert str(summary).startswith("3 done, 1 failed, 0 not run\n")


def test_the_manifest_holds_the_volumes_and_the_time_of_a_case(folder, tmp_path):
    summary = segment_folder([folder / "a.nii.gz"], tmp_path / "out", threshold_predictor())
    (line,) = manifest(tmp_path / "out")
    assert summary.cases[0].volumes_ml == line["volumes_ml"]
    values = np.asanyarray(nib.load(folder / "a.nii.gz").dataobj)
    # voxels of 1 x 1 x 2 mm
    assert line["volumes_ml"] == {
        "grey": pytest.approx((values == 150).sum() * 2 / 1000),
        "white": pytest.approx((values == 250).sum() * 2 / 1000),
    }
    assert line["seconds"] > 0
    assert line["reason"] is None


def test_what_is_unusual_about_an_image_stands_in_the_manifest(tmp_path):
    values = np.full((4, 5, 6), 150, dtype=np.float32)
    values[0, 0, :2] = np.nan
    nib.save(nib.Nifti1Image(values, np.eye(4)), tmp_path / "a.nii.gz")
    summary = segment_folder([tmp_path / "a.nii.gz"], tmp_path / "out", threshold_predictor())
    (line,) = manifest(tmp_path / "out")
    assert line["status"] == "done"
    assert any("2 voxels that are NaN" in warning for warning in line["warnings"])
    assert f"warning: {tmp_path / 'a.nii.gz'}: " in str(summary)


def test_a_complete_run_says_so_and_gives_json(folder, tmp_path):
    (folder / "b.nii.gz").unlink()
    summary = segment_folder([folder], tmp_path / "out", threshold_predictor())
    assert summary.is_complete
    document = json.loads(json.dumps(summary.to_json()))
    assert (document["done"], document["failed"], document["not run"]) == (3, 0, 0)
    assert document["cases"][0]["target"] == str(tmp_path / "out" / "a.nii.gz")


def test_nothing_runs_when_a_mask_is_there_already(folder, tmp_path):
    output = tmp_path / "out"
    output.mkdir()
    (output / "c.nii.gz").write_bytes(b"older")
    with pytest.raises(DataError, match="exists already"):
        segment_folder([folder], output, threshold_predictor())
    assert masks(output) == ["c.nii.gz"]
    assert not (output / MANIFEST).exists()
    segment_folder([folder], output, threshold_predictor(), overwrite=True)
    assert nib.load(output / "c.nii.gz").shape == (9, 10, 11)


def test_a_failed_case_leaves_the_older_mask_and_no_partial_file(folder, tmp_path):
    output = tmp_path / "out"
    output.mkdir()
    (output / "b.nii.gz").write_bytes(b"older")
    segment_folder([folder / "b.nii.gz"], output, threshold_predictor(), overwrite=True)
    assert sorted(path.name for path in output.iterdir()) == ["b.nii.gz", MANIFEST]
    assert (output / "b.nii.gz").read_bytes() == b"older"


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS])
def test_a_full_disk_stops_the_run_and_leaves_what_is_done(folder, tmp_path, monkeypatch, code):
    write, written = predictor_module.write_segmentation, []

    def fill_up(labels, reading, classes, path, **options):
        if written:
            path.write_bytes(b"half a mask")
            raise OSError(code, "the disk takes no more", str(path))
        written.append(path)
        write(labels, reading, classes, path, **options)

    monkeypatch.setattr(predictor_module, "write_segmentation", fill_up)
    summary = segment_folder([folder], tmp_path / "out", threshold_predictor())
    assert [case.status for case in summary.cases] == ["done", "failed", "failed", "not run"]
    assert "the disk takes no more" in summary.cases[2].reason
    assert "the disk takes no more" in summary.cases[3].reason
    found = sorted(path.name for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert found == ["a.json", "a.nii.gz", MANIFEST]
    assert [line["status"] for line in manifest(tmp_path / "out")][-1] == "not run"


def test_a_manifest_that_cannot_grow_stops_the_run_but_not_the_account(
    folder, tmp_path, monkeypatch, caplog
):
    output = tmp_path / "out"
    (output / MANIFEST).mkdir(parents=True)
    summary = segment_folder([folder], output, threshold_predictor())
    assert [case.status for case in summary.cases] == ["done", *["not run"] * 3]
    assert "cannot write to" in caplog.text


def test_an_error_that_nobody_foresaw_costs_one_case(folder, tmp_path):
    predictor = threshold_predictor()
    segment, count = predictor.inferer, []

    def fail_first(volume, network):
        count.append(1)
        if len(count) == 1:
            raise RuntimeError("illegal access\n on the device")
        return segment(volume, network)

    predictor.engine.inferer = fail_first
    summary = segment_folder([folder], tmp_path / "out", predictor)
    assert [case.status for case in summary.cases] == ["failed", "failed", "done", "done"]
    assert summary.cases[0].reason == "RuntimeError: illegal access on the device"


def test_an_interrupted_run_leaves_whole_masks_and_their_lines(folder, tmp_path, monkeypatch):
    write = predictor_module.write_segmentation

    def interrupt(labels, reading, classes, path, **options):
        if (tmp_path / "out" / "a.nii.gz").exists():
            path.write_bytes(b"half a mask")
            raise KeyboardInterrupt
        write(labels, reading, classes, path, **options)

    monkeypatch.setattr(predictor_module, "write_segmentation", interrupt)
    with pytest.raises(KeyboardInterrupt):
        segment_folder([folder], tmp_path / "out", threshold_predictor())
    found = sorted(path.name for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert found == ["a.json", "a.nii.gz", MANIFEST]
    assert [line["status"] for line in manifest(tmp_path / "out")] == ["done", "failed"]


def test_progress_is_drawn_on_stderr_only_when_asked(folder, tmp_path, capsys):
    segment_folder([folder / "a.nii.gz"], tmp_path / "quiet", threshold_predictor())
    assert capsys.readouterr().err == ""
    segment_folder([folder / "a.nii.gz"], tmp_path / "bar", threshold_predictor(), progress=True)
    captured = capsys.readouterr()
    assert "segment" in captured.err
    assert captured.out == ""


def test_an_empty_summary_counts_nothing():
    assert str(Summary([])) == "0 done, 0 failed, 0 not run"


@pytest.mark.real
@pytest.mark.slow
def test_the_real_hostile_folder_is_segmented_but_for_its_bad_files(shared_data, tmp_path):
    summary = segment_folder([shared_data / "hostile"], tmp_path, threshold_predictor(window=64))
    done = {case.name[:2] for case in summary.cases if case.status == "done"}
    failed = {case.name[:2] for case in summary.cases if case.status == "failed"}
    assert failed >= {"01", "02", "03", "05", "07", "08", "11", "12"}
    assert done >= {"09", "10", "15", "16", "17", "18"}
    assert len(summary.cases) == 24
    for case in summary.cases:
        if case.status == "done":
            assert np.array_equal(nib.load(case.target).affine, nib.load(case.source).affine)
