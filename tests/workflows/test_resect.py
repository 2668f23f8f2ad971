"""``volseg resect``: files in, scans with a cavity out, on the same grid."""

import json
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from scipy.spatial.transform import Rotation

from tests.transforms.resection.heads import make_head
from volseg.cli.main import main
from volseg.data.geometry import SPATIAL_FIELDS, verify_mask
from volseg.data.headers import read_raw_header
from volseg.data.volumes import read_volume
from volseg.errors import DataError
from volseg.transforms.anatomy.maps import Side, Tissue
from volseg.transforms.resection.rand import RandResectiond
from volseg.workflows.resect import ResectOptions, resect
from volseg.workflows.resect_case import Maps

LEVELS = {
    Tissue.HEAD: 160, Tissue.SKULL: 20, Tissue.FLUID: 30, Tissue.VENTRICLE: 30,
    Tissue.CORTEX: 90, Tissue.DEEP: 95, Tissue.LIMBIC: 90, Tissue.WHITE: 130,
    Tissue.CALLOSUM: 130, Tissue.BRAINSTEM: 125, Tissue.CEREBELLUM_CORTEX: 90,
    Tissue.CEREBELLUM_WHITE: 130,
}  # fmt: skip
LEFT = {
    Tissue.FLUID: 24, Tissue.VENTRICLE: 4, Tissue.CORTEX: 3, Tissue.DEEP: 10, Tissue.LIMBIC: 17,
    Tissue.WHITE: 2, Tissue.CALLOSUM: 251, Tissue.BRAINSTEM: 16, Tissue.CEREBELLUM_CORTEX: 8,
    Tissue.CEREBELLUM_WHITE: 7,
}  # fmt: skip
RIGHT = {2: 41, 3: 42, 4: 43, 7: 46, 8: 47, 10: 49, 17: 53}
"""FreeSurfer's numbers."""
OBLIQUE = Rotation.from_euler("xyz", (12, -9, 16), degrees=True).as_matrix()
GRIDS = {
    "lia": {"signs": (-1, 1, -1)},
    "lps, oblique, thick slices": {
        "signs": (-1, -1, 1),
        "spacing": (2.0, 2.0, 5.5),
        "turn": OBLIQUE,
    },
}
LESION = ResectOptions(mode="lesionectomy", seed=3)


def number_tissues(anatomy):
    """Give a head FreeSurfer's numbers."""
    numbers = np.zeros(anatomy.tissue.shape, np.int32)
    for tissue, number in LEFT.items():
        marked = np.asarray(anatomy.tissue == tissue)
        numbers[marked] = number
        right = marked & np.asarray(anatomy.side == Side.RIGHT)
        numbers[right] = RIGHT.get(number, number)
    return numbers


def paint(anatomy, seed=0, scale=1.0):
    table = np.zeros(len(Tissue), np.float32)
    table[list(LEVELS)] = list(LEVELS.values())
    noise = np.random.default_rng(seed).normal(0, 3, anatomy.tissue.shape)
    return np.clip(scale * (table[np.asarray(anatomy.tissue)] + noise), 0, 255).astype(np.float32)


def store(path, values, affine, codes=(2, 1), slope=1.0):
    image = nib.Nifti1Image(values, affine)
    image.set_sform(affine, code=codes[0])
    image.set_qform(affine, code=codes[1])
    image.header.set_slope_inter(slope, 0)
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(image, path)
    return path


@pytest.fixture(scope="module")
def head():
    return make_head((3.0, 3.0, 3.0))


@pytest.fixture(scope="module")
def files(head, tmp_path_factory):
    """Write a T1, a T2 and a label map of one head."""
    folder = tmp_path_factory.mktemp("head")
    return {
        "t1": store(folder / "t1.nii.gz", paint(head), head.affine),
        "t2": store(folder / "t2.nii.gz", 255 - paint(head, 1), head.affine),
        "labels": store(folder / "labels.nii.gz", number_tissues(head), head.affine),
    }


def run(files, output, options=LESION, names=("t1",), **settings):
    maps = Maps(labels=files["labels"])
    return resect([files[name] for name in names], output, maps, options, **settings)


def voxels(path):
    return read_volume(path)[0]


def test_each_draw_gives_image_mask_and_record(files, tmp_path):
    made = run(files, tmp_path, ResectOptions(count=2, mode="lesionectomy", seed=3))
    assert made.is_complete
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "run.json",
        "t1_cavity-0001.nii.gz",
        "t1_cavity-0002.nii.gz",
        "t1_resected-0001.nii.gz",
        "t1_resected-0002.nii.gz",
        "t1_resection-0001.json",
        "t1_resection-0002.json",
    ]
    first, second = (voxels(tmp_path / f"t1_cavity-000{n}.nii.gz") for n in (1, 2))
    assert first.dtype == np.uint8
    assert not np.array_equal(first, second)
    record = json.loads((tmp_path / "t1_resection-0001.json").read_text())
    assert record["volume_ml"] == pytest.approx(int(first.sum()) * 27 / 1000, abs=1e-4)
    assert (record["mode"], record["number"], record["contrasts"]) == (
        "lesionectomy",
        1,
        {"t1": "T1"},
    )
    run_record = json.loads((tmp_path / "run.json").read_text())
    assert run_record["results"] == {"done": 2, "failed": 0}
    assert len(run_record["inputs"]) == 2


def test_the_cavity_is_as_dark_as_the_ventricles_and_the_rest_unchanged(files, tmp_path):
    run(files, tmp_path, ResectOptions(mode="lesionectomy", stage="chronic", seed=3))
    before, after = voxels(files["t1"]), voxels(tmp_path / "t1_resected-0001.nii.gz")
    mask = voxels(tmp_path / "t1_cavity-0001.nii.gz") > 0
    assert np.median(after[mask]) == pytest.approx(30, abs=10)
    assert 0.5 < np.mean(before == after) < 1


def test_a_seed_decides_and_the_record_repeats_it(files, tmp_path, head):
    for name in ("one", "two"):
        run(files, tmp_path / name)
    run(files, tmp_path / "other", ResectOptions(mode="lesionectomy", seed=4))
    scans = [voxels(tmp_path / n / "t1_resected-0001.nii.gz") for n in ("one", "two", "other")]
    np.testing.assert_array_equal(scans[0], scans[1])
    assert not np.array_equal(scans[0], scans[2])
    record = json.loads((tmp_path / "one" / "t1_resection-0001.json").read_text())
    case = {
        "image": MetaTensor(torch.from_numpy(voxels(files["t1"]).copy())[None], affine=head.affine),
        "labels": MetaTensor(
            torch.from_numpy(voxels(files["labels"]).copy())[None], affine=head.affine
        ),
    }
    again = RandResectiond.from_params(record, "image", "T1")(case)
    np.testing.assert_array_equal(np.asarray(again["image"][0]), scans[0])


def test_sequences_together_share_one_cavity(files, tmp_path):
    options = ResectOptions(mode="lesionectomy", stage="chronic", seed=3, is_together=True)
    made = run(files, tmp_path, options, names=("t1", "t2"))
    assert [case.status for case in made.cases] == ["done"]
    assert [path.name for path in tmp_path.glob("*_cavity*")] == ["t1_cavity-0001.nii.gz"]
    inside = voxels(tmp_path / "t1_cavity-0001.nii.gz") > 0
    t1, t2 = (voxels(tmp_path / f"{name}_resected-0001.nii.gz")[inside] for name in ("t1", "t2"))
    assert np.median(t1) == pytest.approx(30, abs=10)
    assert np.median(t2) == pytest.approx(225, abs=12)


@pytest.mark.parametrize("codes", [(1, 1), (2, 0), (0, 1)])
@pytest.mark.parametrize("name", GRIDS)
def test_results_lie_on_the_grid_of_the_scan(name, codes, tmp_path):
    anatomy = make_head(**{"spacing": (3.0, 3.0, 3.0), **GRIDS[name]})
    affine = anatomy.affine.astype(np.float32)
    scan = store(tmp_path / "scan.nii.gz", paint(anatomy), affine, codes)
    labels = store(tmp_path / "labels.nii.gz", number_tissues(anatomy), affine)
    resect([scan], tmp_path / "out", Maps(labels), LESION)
    for made in ("resected", "cavity"):
        image, source = nib.load(tmp_path / "out" / f"scan_{made}-0001.nii.gz"), nib.load(scan)
        np.testing.assert_array_equal(image.affine, source.affine)
        assert (image.header["sform_code"], image.header["qform_code"]) == codes
    verify_mask(tmp_path / "out" / "scan_cavity-0001.nii.gz", scan)
    assert voxels(tmp_path / "out" / "scan_cavity-0001.nii.gz").any()


def test_scaled_bytes_stay_scaled_bytes_and_unchanged_voxels_keep_every_bit(files, head, tmp_path):
    stored = np.rint(paint(head)).astype(np.uint8)
    scan = store(tmp_path / "mr.nii.gz", stored, head.affine, slope=6.48)
    made = resect([scan], tmp_path / "out", Maps(files["labels"]), LESION)
    assert made.is_complete
    image = nib.load(tmp_path / "out" / "mr_resected-0001.nii.gz")
    assert image.get_data_dtype() == np.uint8
    assert image.dataobj.slope == pytest.approx(6.48)
    raw = image.dataobj.get_unscaled()
    changed = raw != stored
    mask = voxels(tmp_path / "out" / "mr_cavity-0001.nii.gz") > 0
    assert 0 < changed.sum() < 0.4 * stored.size
    assert changed[mask].mean() > 0.8


@pytest.mark.real
def test_a_real_oblique_scan_of_scaled_bytes_keeps_its_header(shared_data, tmp_path):
    source = shared_data / "brain_mri" / "MR_Gd.nii.gz"
    made = resect([source], tmp_path, options=LESION)
    assert made.is_complete
    before, after = nib.load(source), nib.load(tmp_path / "MR_Gd_resected-0001.nii.gz")
    for field in (*SPATIAL_FIELDS[1:], "scl_slope", "scl_inter"):
        np.testing.assert_array_equal(
            read_raw_header(after)[field], read_raw_header(before)[field], err_msg=field
        )
    raw = [np.asarray(image.dataobj.get_unscaled()) for image in (before, after)]
    assert raw[1].dtype == raw[0].dtype == np.uint8
    mask = voxels(tmp_path / "MR_Gd_cavity-0001.nii.gz") > 0
    record = made.cases[0].record
    assert record["contrasts"] == {"MR_Gd": "T1c"}
    assert mask.sum() * abs(np.linalg.det(before.affine[:3, :3])) == pytest.approx(
        1000 * record["volume_ml"], rel=1e-3
    )
    assert 0 < (raw[0] != raw[1]).mean() < 0.2


def test_images_are_made_of_label_maps(files, tmp_path):
    options = ResectOptions(mode="lesionectomy", is_synthetic=True, count=2)
    made = resect([files["labels"]], tmp_path, options=options)
    assert made.is_complete
    first, second = (
        nib.load(tmp_path / f"labels_resected-000{number}.nii.gz") for number in (1, 2)
    )
    assert first.get_data_dtype() == np.float32
    labels = voxels(files["labels"])
    order = [
        np.argsort([np.median(each.get_fdata()[labels == number]) for number in (2, 3, 4)])
        for each in (first, second)
    ]
    assert all(len(set(each)) == 3 for each in order)
    assert not np.allclose(first.get_fdata(), second.get_fdata())


def test_a_bad_file_is_reported_and_the_rest_go_on(files, tmp_path):
    bad = tmp_path / "bad.nii.gz"
    bad.write_bytes(b"")
    made = resect([bad, files["t1"]], tmp_path / "out", Maps(files["labels"]), LESION)
    assert [case.status for case in made.cases] == ["failed", "done"]
    assert str(made).splitlines()[:2] == ["1 done, 1 failed", f"failed: {bad}: is empty"]


def test_whole_numbers_of_64_bits_and_of_nifti_2_are_resected(files, head, tmp_path):
    values = np.rint(paint(head)).astype(np.int64) * 300_007  # more than float32 holds
    scan = tmp_path / "t1.nii.gz"
    nib.save(nib.Nifti2Image(values, head.affine, dtype=np.int64), scan)
    made = resect([scan], tmp_path / "out", Maps(files["labels"]), LESION)
    assert made.is_complete, str(made)
    done = nib.load(tmp_path / "out" / "t1_resected-0001.nii.gz")
    assert (done.get_data_dtype(), type(done)) == (np.int64, nib.Nifti2Image)
    assert 0 < (np.asarray(done.dataobj) != values).mean() < 0.2


def test_a_scan_that_does_not_fit_into_memory_does_not_stop_the_others(
    files, tmp_path, monkeypatch
):
    def refuse(*_):
        raise MemoryError

    monkeypatch.setattr("volseg.workflows.resect_case.anatomy_from_image", refuse)
    made = resect([files["t1"], files["t2"]], tmp_path / "out", Maps(), LESION)
    assert [case.status for case in made.cases] == ["failed", "failed"]
    assert "needs more memory than there is; its affine should be in mm" in str(made)


def test_ct_needs_a_map(files, tmp_path):
    options = replace(LESION, contrasts=["CT"])
    made = resect([files["t1"]], tmp_path / "out", Maps(), options)
    assert "the brain cannot be estimated on CT; give --labels or --brain" in str(made)
    assert resect([files["t1"]], tmp_path / "out", Maps(files["labels"]), options).is_complete


def test_a_mask_without_a_tumour_is_reported(files, head, tmp_path):
    empty = store(tmp_path / "empty.nii.gz", np.zeros(head.tissue.shape, np.uint8), head.affine)
    maps = Maps(files["labels"], tumour=empty)
    made = resect([files["t1"]], tmp_path / "out", maps, ResectOptions(mode="tumour"))
    assert f"{empty}: marks no tumour" in str(made)


def test_an_interpolated_label_map_is_not_made_an_image_of(files, head, tmp_path):
    values = number_tissues(head) + np.float32(0.3)
    between = store(tmp_path / "map.nii.gz", values, head.affine)
    made = resect([between], tmp_path / "out", Maps(), replace(LESION, is_synthetic=True))
    assert "labels are not whole numbers" in str(made)


def test_hidden_files_and_folders_are_no_scans(files, tmp_path):
    inputs = tmp_path / "in"
    (inputs / "folder.nii.gz").mkdir(parents=True)
    (inputs / "._t1.nii.gz").write_bytes(b"")
    (inputs / "B.NII.GZ").write_bytes(files["t1"].read_bytes())
    made = resect([inputs], tmp_path / "out", Maps(files["labels"]), LESION)
    assert made.is_complete, str(made)
    assert (tmp_path / "out" / "B_cavity-0001.nii.gz").exists()


def test_a_label_map_on_another_grid_is_reported(files, head, tmp_path):
    moved = head.affine.copy()
    moved[:3, 3] += 5
    labels = store(tmp_path / "labels.nii.gz", number_tissues(head), moved)
    made = resect([files["t1"]], tmp_path / "out", Maps(labels), LESION)
    assert "must share a grid" in str(made)
    assert not made.is_complete


def test_nothing_is_overwritten_unless_asked_to(files, tmp_path):
    run(files, tmp_path)
    with pytest.raises(DataError, match=r"t1_resected-0001.nii.gz exists already"):
        run(files, tmp_path)
    assert run(files, tmp_path, overwrite=True).is_complete


REFUSED = {
    "mode 'lobotomy' is not known; use one of lesionectomy": ResectOptions(mode="lobotomy"),
    "stage 'late' is not known": ResectOptions(stage="late"),
    "contrast 'T3' is not known": ResectOptions(contrasts=["T3"]),
    "count is 0": ResectOptions(count=0),
    "give its mask": ResectOptions(mode="tumour"),
    "2 contrasts for 1 inputs": ResectOptions(contrasts=["T1", "T2"]),
    "leave other maps out": ResectOptions(is_synthetic=True),
}


@pytest.mark.parametrize("said", REFUSED)
def test_what_cannot_be_done_is_said_before_anything_is_written(files, tmp_path, said):
    with pytest.raises(DataError, match=said):
        run(files, tmp_path / "out", REFUSED[said])
    assert not (tmp_path / "out").exists()


def test_the_tree_of_a_folder_is_mirrored(files, tmp_path):
    for name in ("one", "two"):
        (tmp_path / "in" / name).mkdir(parents=True)
        (tmp_path / "in" / name / "t1.nii.gz").write_bytes(files["t1"].read_bytes())
    made = resect([tmp_path / "in"], tmp_path / "out", Maps(files["labels"]), LESION)
    assert made.is_complete
    masks = [voxels(tmp_path / "out" / n / "t1_cavity-0001.nii.gz") for n in ("one", "two")]
    assert not np.array_equal(*masks)  # each patient has draws of its own


def test_two_inputs_of_one_name_are_refused(files, tmp_path):
    other = tmp_path / "t1.nii.gz"
    other.write_bytes(files["t1"].read_bytes())
    with pytest.raises(DataError, match="two inputs are called 't1'"):
        resect([files["t1"], other], tmp_path / "out")


def test_the_options_reach_the_verb(files, tmp_path, capsys):
    call = ["resect", str(files["t1"]), "--labels", str(files["labels"]), "--quiet", "--json"]
    call += ["--output", str(tmp_path), "--mode", "lesionectomy", "--stage", "early", "--seed", "5"]
    assert main([*call, "--contrast", "T2", "--scheme", "freesurfer"]) == 0
    said = json.loads(capsys.readouterr().out)
    record = said["cases"][0]["record"]
    assert (record["stage"], record["seed"], record["contrasts"]) == ("early", 5, {"t1": "T2"})
    assert main(call) == 1
    assert "exists already" in capsys.readouterr().out
