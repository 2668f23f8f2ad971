"""Maps beside masks: written with them, in the account, and part of what makes a case valid."""

import json
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest

from tests.inference.threshold import CLASSES, Threshold, preprocessing, save_image
from volseg.errors import DataError
from volseg.inference.computation import Computation
from volseg.inference.folder import Terms, segment_jobs
from volseg.inference.manifest import hash_files
from volseg.inference.memory import Ceiling
from volseg.inference.predictor import Predictor
from volseg.inference.sliding_window import SlidingWindow
from volseg.inference.work_list import Selection, list_jobs

KINDS = ("probabilities", "entropy", "variance")


@pytest.fixture
def inputs(tmp_path):
    for seed, name in enumerate("ab"):
        save_image(tmp_path / "in" / f"{name}.nii.gz", seed=seed)
    return tmp_path / "in"


def run(inputs, output, *, maps=KINDS, ceiling=None, **terms):
    selection = Selection(maps=maps)
    jobs = list_jobs([inputs], output, selection, resume=terms.get("resume", False))
    predictor = Predictor(
        Threshold(), preprocessing(), SlidingWindow((8, 8, 8), 0.25), CLASSES,
        ceiling=ceiling, computation=Computation(flip_axes=(0,), maps=maps),
    )  # fmt: skip
    return segment_jobs(jobs, output, predictor, replace(Terms(), **terms))


def names(folder):
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def test_maps_stand_beside_masks_and_in_the_account(inputs, tmp_path):
    output = tmp_path / "out"
    summary = run(inputs, output)
    assert summary.is_complete
    ends = [
        ".json",
        ".nii.gz",
        *(f"_{kind}{end}" for kind in KINDS for end in (".json", ".nii.gz")),
    ]
    assert set(names(output)) == {"manifest.jsonl", *(f"{n}{end}" for n in "ab" for end in ends)}
    line = json.loads((output / "manifest.jsonl").read_text().splitlines()[0])
    paths = [output / f"a_{kind}.nii.gz" for kind in KINDS]
    assert line["map_hashes"] == {str(path): hash_files([path]) for path in paths}
    mask, chances, entropy, variance = (nib.load(p) for p in (output / "a.nii.gz", *paths))
    assert chances.shape == (*mask.shape, 3)
    assert np.array_equal(chances.get_fdata().argmax(-1), mask.get_fdata())
    assert np.allclose(chances.get_fdata().sum(-1), 1, atol=2 / 65535)
    assert entropy.shape == variance.shape == mask.shape
    assert not variance.get_fdata().any()  # the network looks at voxels one by one
    assert list(output.glob(".volseg-*")) == []


def test_with_a_ceiling_and_in_memory_the_maps_are_the_same(inputs, tmp_path):
    run(inputs, tmp_path / "free")
    run(inputs, tmp_path / "held", ceiling=Ceiling(host=100 << 30))
    for kind in KINDS:
        free, held = (
            np.asanyarray(nib.load(tmp_path / place / f"b_{kind}.nii.gz").dataobj)
            for place in ("free", "held")
        )
        assert np.array_equal(free, held)
    computation = Computation(maps=("entropy",))
    inferer = SlidingWindow((8, 8, 8), 0.25)
    alone = Predictor(Threshold(), preprocessing(), inferer, CLASSES, computation=computation)
    found = alone.predict(inputs / "b.nii.gz").maps["entropy"].values
    written = nib.load(tmp_path / "free" / "b_entropy.nii.gz").get_fdata()
    assert np.allclose(found, written, atol=1e-6)


@pytest.mark.parametrize("harm", ["lost", "changed"])
def test_a_map_that_is_lost_or_changed_is_made_anew(inputs, tmp_path, harm):
    output = tmp_path / "out"
    run(inputs, output)
    path = output / "b_entropy.nii.gz"
    before = path.read_bytes()
    if harm == "lost":
        path.unlink()
    else:
        path.write_bytes(before[:-1] + b"x")
    again = run(inputs, output, resume=True)
    assert [case.status for case in again.cases] == ["skipped", "done"]
    # a gzip stream holds the time of its writing
    assert hash_files([path]) == again.cases[1].map_hashes[str(path)]
    assert [case.status for case in run(inputs, output, resume=True).cases] == ["skipped"] * 2


def test_a_map_that_is_there_or_is_an_input_is_not_replaced(inputs, tmp_path):
    save_image(tmp_path / "out" / "a_entropy.nii.gz")
    with pytest.raises(DataError, match=r"a_entropy\.nii\.gz exists already; resume"):
        list_jobs([inputs], tmp_path / "out", Selection(maps=("entropy",)))
    list_jobs([inputs], tmp_path / "out", Selection(maps=("variance",)))
    save_image(inputs / "a_entropy.nii.gz")
    with pytest.raises(DataError, match=r"both write .*a_entropy\.nii\.gz"):
        list_jobs([inputs], tmp_path / "new", Selection(maps=("entropy",)))
