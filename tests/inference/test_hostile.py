"""Files and names that nobody should have cost one case each, or none at all."""

import json
import os
import sys

import nibabel as nib
import numpy as np
import pytest
from monai.transforms import Compose

from tests.inference.threshold import CLASSES, preprocessing, save_image, threshold_predictor
from volseg.data.spacing import IsolatedSpacingd
from volseg.errors import DataError
from volseg.inference import memory
from volseg.inference.folder import Terms, segment_jobs
from volseg.inference.manifest import MANIFEST, read_manifest
from volseg.inference.memory import Ceiling, available
from volseg.inference.overview import write_overview
from volseg.inference.predictor import Predictor
from volseg.inference.room import network_shape, require_room, spacing_of
from volseg.inference.sliding_window import SlidingWindow
from volseg.inference.work_list import list_jobs

NAMES = ["a\nb", "a\u2028b", "a\x1b[2Jb", "a\u202eb", os.fsdecode(b"a\xffb"), "-a", "=a", "<b>"]


def run(inputs, output, **options):
    jobs = list_jobs([inputs], output, resume=options.get("resume", False))
    return segment_jobs(jobs, output, threshold_predictor(), Terms(**options))


def statuses(summary):
    return {case.name: case.status for case in summary.cases}


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_any_name_that_a_disk_takes_is_one_case_and_one_line(tmp_path):
    for seed, name in enumerate(NAMES):
        save_image(tmp_path / "in" / f"{name}.nii.gz", shape=(4, 5, 6), seed=seed)
    first = run(tmp_path / "in", tmp_path / "out", progress=True)
    assert statuses(first) == dict.fromkeys(sorted(NAMES), "done")
    assert (tmp_path / "out" / MANIFEST).read_bytes().count(b"\n") == len(NAMES)
    write_overview(first, CLASSES, tmp_path / "out", {})
    volumes = json.loads((tmp_path / "out" / "volumes.json").read_text("utf-8"))
    assert sorted(volumes["cases"]) == sorted(NAMES)
    again = run(tmp_path / "in", tmp_path / "out", resume=True)
    assert set(statuses(again).values()) == {"skipped"}
    (tmp_path / "in" / f"{NAMES[0]}.nii.gz").write_bytes(b"")
    lines = str(run(tmp_path / "in", tmp_path / "third")).splitlines()
    assert lines == ["7 done, 1 failed, 0 not run", f"failed: {tmp_path}/in/a\\nb.nii.gz: is empty"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_links_in_a_circle_and_pipes_fail_by_name_and_nobody_waits_for_them(tmp_path):
    folder = tmp_path / "in"
    save_image(folder / "a.nii.gz")
    (folder / "circle.nii.gz").symlink_to("circle.nii.gz")
    os.mkfifo(folder / "pipe.nii.gz")
    os.mkfifo(folder / "other")
    (folder / "linked").symlink_to("other")
    found = {case.name: case for case in run(folder, tmp_path / "out").cases}
    assert {name: case.status for name, case in found.items()} == {
        "a": "done",
        "circle": "failed",
        "pipe": "failed",
    }
    assert "symbolic links" in found["circle"].reason
    assert found["pipe"].reason.endswith("is no regular file; give one")


def test_a_manifest_that_a_kill_cut_within_a_letter_is_still_read(tmp_path):
    save_image(tmp_path / "in" / "a.nii.gz")
    run(tmp_path / "in", tmp_path / "out")
    with (tmp_path / "out" / MANIFEST).open("ab") as stream:
        stream.write('{"target": "ü'.encode()[:-1])
    assert list(read_manifest(tmp_path / "out")) == [str(tmp_path / "out" / "a.nii.gz")]
    assert statuses(run(tmp_path / "in", tmp_path / "out", resume=True)) == {"a": "skipped"}


def resampling_predictor(ceiling=None):
    steps = [*preprocessing().transforms, IsolatedSpacingd(["image"], (1, 1, 1))]
    plain = threshold_predictor()
    inferer = SlidingWindow((8, 8, 8))
    return Predictor(plain.network, Compose(steps), inferer, CLASSES, ceiling=ceiling)


def test_voxels_of_a_metre_are_refused_before_the_grid_is_made(tmp_path):
    save_image(tmp_path / "a.nii.gz", affine=np.diag([1000, 1000, 1000, 1]))
    # (9, 10, 11) voxels of 1 m make 8001 x 9001 x 10001 of 1 mm; 12 bytes each are 8049 GiB
    message = r"8e\+03 x 9e\+03 x 1e\+04 voxels on the network's grid, .* about 8.05e\+03 GiB, and"
    with pytest.raises(DataError, match=message):
        resampling_predictor().predict(tmp_path / "a.nii.gz")


def test_the_ceiling_holds_for_the_networks_grid_too(tmp_path):
    save_image(tmp_path / "a.nii.gz", shape=(100, 100, 100), affine=np.diag([2, 2, 2, 1]))
    # 1 million voxels of 2 mm are 199 cubed of 1 mm; 12 bytes a voxel are 102 MiB
    with pytest.raises(DataError, match=r"about 0\.0992 GiB, and the ceiling is 0\.0488 GiB"):
        resampling_predictor(Ceiling(host=50 << 20)).predict(tmp_path / "a.nii.gz")


def test_the_grid_is_foretold_to_the_voxel(tmp_path):
    affine = np.array([[0, 1.5, 0, 0], [0, 0, -2, 0], [3, 0, 0, 0], [0, 0, 0, 1]])
    save_image(tmp_path / "a.nii.gz", shape=(4, 7, 5), affine=affine)
    predictor = resampling_predictor()
    made = predictor.load(tmp_path / "a.nii.gz").prepared.image.shape[1:]
    assert spacing_of(predictor.preprocessing) == (1, 1, 1)
    # axes S, R, P: 3 mm x 3 steps, 1.5 mm x 6 steps, 2 mm x 4 steps
    assert network_shape((4, 7, 5), affine, (1, 1, 1)) == tuple(made) == (10, 9, 10)
    assert spacing_of(preprocessing()) is None


def test_a_container_has_no_more_memory_than_it_is_allowed(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "CGROUP", tmp_path)
    free = available()
    (tmp_path / "memory.current").write_text("3000\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert available() > free / 2
    (tmp_path / "memory.max").write_text("5000\n")
    assert available() == 2000
    with pytest.raises(DataError, match="the free memory is"):
        require_room((10, 10, 10), (10, 10, 10), 1, Ceiling())


@pytest.mark.parametrize(
    ("edge", "message"),
    [(1e-3, "voxel edges of 0.001 to 0.001 mm"), (500, "voxel edges of 500 to 500 mm")],
)
def test_edges_that_no_scanner_has_are_warned_of(tmp_path, edge, message):
    image = nib.Nifti1Image(np.zeros((4, 4, 4), np.uint8), np.diag([edge, edge, edge, 1]))
    nib.save(image, tmp_path / "a.nii.gz")
    (found,) = threshold_predictor().predict(tmp_path / "a.nii.gz").warnings[:1]
    assert message in found
