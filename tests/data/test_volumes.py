"""A volume is read as it is stored, or refused in one line."""

import gzip
import struct

import nibabel as nib
import numpy as np
import pytest

from tests.data.files import image, label, save
from volseg.data.volumes import (
    check_pair,
    inspect_volume,
    read_grid,
    read_label_values,
    read_volume,
    require_same_grid,
)
from volseg.errors import DataError, GeometryError


def test_voxels_affine_and_header_are_those_of_the_file(tmp_path):
    affine = np.diag([1.0, 2, 3, 1])
    affine[:3, 3] = [4, 5, 6]
    path = save(tmp_path / "a.nii.gz", image(), affine)
    values, found, header = read_volume(path)
    assert np.array_equal(values, image())
    assert np.array_equal(found, affine)
    assert header["sform_code"] == 2
    assert read_grid(path)[1] == (6, 7, 8)


def test_scaling_is_applied(tmp_path):
    volume = nib.Nifti1Image(np.arange(24, dtype=np.uint16).reshape(2, 3, 4), np.eye(4))
    path = tmp_path / "a.nii"
    nib.save(volume, path)
    content = bytearray(path.read_bytes())
    content[112:120] = struct.pack("<2f", 0.5, -100)  # scl_slope, scl_inter of NIfTI-1
    path.write_bytes(content)
    assert np.allclose(read_volume(path)[0].ravel(), np.arange(24) / 2 - 100)


def test_a_fourth_axis_of_length_one_is_dropped(tmp_path):
    path = save(tmp_path / "a.nii.gz", image()[..., None])
    assert np.array_equal(read_volume(path)[0], image())
    assert inspect_volume(path).shape == (6, 7, 8)


def test_one_slice_is_a_volume(tmp_path):
    assert read_volume(save(tmp_path / "a.nii.gz", image((6, 7, 1))))[0].shape == (6, 7, 1)


def test_a_report_tells_what_a_volume_is(tmp_path):
    affine = np.array([[0, -2.0, 0, 0], [-1, 0, 0, 0], [0, 0, 3, 0], [0, 0, 0, 1]])
    report = inspect_volume(save(tmp_path / "a.nii.gz", label(), affine))
    assert report.shape == (6, 7, 8)
    assert report.spacing == (1, 2, 3)
    assert report.orientation == "PLS"
    assert (report.dtype, report.codes) == ("uint8", (2, 0))
    assert not report.problems
    assert not report.warnings
    assert report.to_json()["path"] == str(tmp_path / "a.nii.gz")


REFUSED = {
    "complex": (image().astype(np.complex64), np.eye(4), "holds complex voxels"),
    "two axes": (image((6, 7)), np.eye(4), r"has 2 axes \(shape \(6, 7\)\)"),
    "time": (image((3, 3, 3, 5)), np.eye(4), "has a 4th axis .* which is time"),
    "five axes": (image((3, 3, 3, 1, 1)), np.eye(4), "has a 4th axis"),
    "flat": (image(), np.diag([1.0, 0, 1, 1]), "has a voxel edge of 0 mm"),
    "not finite": (image(), np.diag([1.0, np.nan, 1, 1]), "has an affine that is not finite"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_3d_volume_is_refused(tmp_path, name):
    values, affine, message = REFUSED[name]
    volume = nib.Nifti1Image(values, None)
    volume.header.set_sform(affine, code=1)
    nib.save(volume, tmp_path / "a.nii.gz")
    with pytest.raises(DataError, match=f"a.nii.gz: {message}"):
        read_volume(tmp_path / "a.nii.gz")
    with pytest.raises(DataError, match=message):
        read_grid(tmp_path / "a.nii.gz")


def test_a_missing_file_and_another_format_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"a\.nii: does not exist"):
        read_volume(tmp_path / "a.nii")
    nib.save(nib.MGHImage(image(), np.eye(4)), tmp_path / "a.mgz")
    with pytest.raises(DataError, match=r"a\.mgz: is a MGH file, not NIfTI"):
        read_volume(tmp_path / "a.mgz")


def test_a_file_cut_off_anywhere_is_refused_in_one_line(tmp_path):
    whole = save(tmp_path / "whole.nii.gz", image((12, 13, 14))).read_bytes()
    plain = gzip.decompress(whole)
    for content, name in ((whole, "cut.nii.gz"), (plain, "cut.nii")):
        for part in (0.01, 0.05, 0.3, 0.9, 0.999):
            (tmp_path / name).write_bytes(content[: int(part * len(content))])
            with pytest.raises(DataError) as error:
                read_volume(tmp_path / name)
            assert str(error.value).startswith(str(tmp_path / name))
            assert "\n" not in str(error.value)
            assert inspect_volume(tmp_path / name).problems


def test_a_changed_bit_in_a_compressed_file_is_found(tmp_path):
    path = save(tmp_path / "a.nii.gz", image())
    content = bytearray(path.read_bytes())
    content[-6] ^= 1  # in the checksum at the end of a gzip stream
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"is damaged or cut off \(CRC check failed"):
        read_volume(path)


def test_a_header_that_promises_too_much_is_refused_before_allocating(tmp_path):
    path = save(tmp_path / "a.nii", image())
    content = bytearray(path.read_bytes())
    content[42:48] = struct.pack("<3h", 30000, 30000, 30000)  # dim[1:4] of NIfTI-1
    path.write_bytes(content)
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(bytes(content)))
    for name in ("a.nii", "a.nii.gz"):
        # 2.7e13 voxels of 4 bytes
        with pytest.raises(DataError, match=r"declares 108 TB of voxels .* cannot hold"):
            read_grid(tmp_path / name)


def test_a_well_compressed_volume_is_not_mistaken_for_a_damaged_one(tmp_path):
    plain = save(tmp_path / "a.nii", np.zeros((128, 128, 128), np.float64))
    path = tmp_path / "a.nii.gz"
    path.write_bytes(gzip.compress(plain.read_bytes(), compresslevel=9))
    assert path.stat().st_size * 900 < 128**3 * 8
    assert read_volume(path)[0].shape == (128, 128, 128)


def test_an_ending_in_capitals_is_read_to_the_checksum_like_any(tmp_path):
    values = np.random.default_rng(0).integers(0, 9, (20, 22, 18)).astype(np.float32)
    content = save(tmp_path / "a.nii.gz", values).read_bytes()
    assert len(content) < values.nbytes / 2
    path = tmp_path / "A.NII.GZ"
    path.write_bytes(content)
    assert np.array_equal(read_volume(path)[0], values)
    path.write_bytes(content[:-8] + bytes(8))
    with pytest.raises(DataError, match="CRC check failed"):
        read_volume(path)


def test_a_header_without_its_data_file_is_refused(tmp_path):
    nib.save(nib.Nifti1Pair(image(), np.eye(4)), tmp_path / "a.img")
    assert np.array_equal(read_volume(tmp_path / "a.hdr")[0], image())
    (tmp_path / "a.img").unlink()
    with pytest.raises(DataError, match=r"lacks its data file a\.img"):
        read_volume(tmp_path / "a.hdr")


def test_oddities_of_the_grid_are_warnings(tmp_path):
    volume = nib.Nifti1Image(image(), np.diag([1.0, 1, 1, 1]))
    volume.header.set_sform(np.diag([1.0, 1, 1, 1]), code=1)
    volume.header.set_qform(np.diag([-1.0, -1, 1, 1]), code=1)
    nib.save(volume, tmp_path / "forms.nii.gz")
    sheared = np.eye(4)
    sheared[0, 1] = 0.3
    save(tmp_path / "sheared.nii.gz", image(), sheared)
    save(tmp_path / "thick.nii.gz", image(), np.diag([1.0, 1, 8, 1]))
    found = {path.name: inspect_volume(path).warnings for path in tmp_path.iterdir()}
    assert found["forms.nii.gz"] == ["has an sform and a qform that differ; the sform is used"]
    assert found["sheared.nii.gz"] == ["has a sheared affine: its axes are not at right angles"]
    assert found["thick.nii.gz"] == ["has very unequal voxel edges (1, 1, 8 mm)"]


def test_oddities_of_the_voxels_are_warnings_unless_only_the_header_is_read(tmp_path):
    values = image()
    values[0, 0, :3] = [np.nan, np.inf, -np.inf]
    spoiled = save(tmp_path / "a.nii.gz", values)
    assert inspect_volume(spoiled).warnings == ["holds 3 voxels that are NaN or infinite"]
    assert inspect_volume(spoiled, header_only=True).warnings == []
    constant = save(tmp_path / "b.nii.gz", np.full((2, 2, 2), 7, np.int16))
    assert inspect_volume(constant).warnings == ["is constant: every voxel is 7"]
    lost = save(tmp_path / "c.nii.gz", np.full((2, 2, 2), np.nan, np.float32))
    assert inspect_volume(lost).warnings == ["holds no finite voxel"]


def test_labels_are_rounded(tmp_path):
    values = label().astype(np.float32) * np.float32(0.9999)
    assert read_label_values(save(tmp_path / "a.nii.gz", values)) == [0, 1, 2]


@pytest.mark.parametrize("value", [0.5, -1, np.nan])
def test_what_is_no_label_is_refused(tmp_path, value):
    values = label().astype(np.float32)
    values[0, 0, 0] = value
    with pytest.raises(DataError, match=r"a\.nii\.gz: is not a label map"):
        read_label_values(save(tmp_path / "a.nii.gz", values))


def test_a_pair_gives_the_labels_values(tmp_path):
    paths = save(tmp_path / "i.nii.gz", image()), save(tmp_path / "l.nii.gz", label())
    assert check_pair(*paths) == [0, 1, 2]
    assert check_pair(*paths, values={0: "a", 1: "b", 2: "c", 3: "d"}) == [0, 1, 2]
    with pytest.raises(DataError, match=r"l\.nii\.gz: holds the label value 2, .* only \[0, 1\]"):
        check_pair(*paths, values=[1, 0])


def test_grids_are_the_same_up_to_a_tenth_of_a_voxel():
    here = ("a", (10, 10, 10), np.diag([1.0, 1, 5, 1]))
    near, far = (np.diag([1.0, 1, 5, 1]) for _ in range(2))
    near[0, 3], far[0, 3] = 0.09, 0.11
    require_same_grid(here, ("b", (10, 10, 10), near))
    with pytest.raises(GeometryError, match=r"b: lies up to 0\.11 mm from .*a"):
        require_same_grid(here, ("b", (10, 10, 10), far))
    # a thousandth more of spacing is 0.009 mm at the tenth voxel, a turn of 2 degrees 0.3 mm
    require_same_grid(here, ("b", (10, 10, 10), np.diag([1.001, 1, 5, 1])))
    turned = np.diag([1.0, 1, 5, 1])
    turned[:2, :2] = [[0.9994, -0.0349], [0.0349, 0.9994]]
    with pytest.raises(GeometryError):
        require_same_grid(here, ("b", (10, 10, 10), turned))
    with pytest.raises(GeometryError, match=r"has shape \(10, 10, 9\)"):
        require_same_grid(here, ("b", (10, 10, 9), here[2]))


HOSTILE = {
    "01_truncated_gzip.nii.gz": "is damaged or cut off",
    "02_zero_byte.nii.gz": "is empty",
    "03_text_renamed.nii.gz": "is not a readable NIfTI file",
    "04_nan_inf_voxels.nii.gz": None,
    "05_4d_time_series.nii.gz": r"has a 4th axis \(shape \(52, 68, 8, 8\)\), which is time",
    "06_2d_slice.nii.gz": r"has 2 axes \(shape \(191, 256\)\)",
    "07_singular_affine.nii.gz": "has a singular affine",
    "08_zero_spacing.nii.gz": r"has a voxel edge of 0 mm \(edges 1, 1, 0\)",
    "09_extreme_anisotropy.nii.gz": None,
    "10_uint16_scl_slope.nii.gz": None,
    "11_rgb24.nii.gz": r"holds colour \(RGB\) voxels",
    "12_huge_dims_little_data.nii.gz": "declares 70.4 TB of voxels",
    "13_analyze75.hdr": "does not say where left and right are",
    "13_analyze75.img": "does not say where left and right are",
    "15_Zoë Müller \u2013 тест №1 (копия).nii.gz": None,
    "16_no_affine_codes.nii.gz": None,
    "17_constant_zero.nii.gz": None,
    "18_int64_image.nii.gz": None,
    "19_mask_of_0.99999997.nii.gz": None,
}

HOSTILE_WARNINGS = {
    "04_nan_inf_voxels.nii.gz": ["holds 218 voxels that are NaN or infinite"],
    "09_extreme_anisotropy.nii.gz": ["has very unequal voxel edges (0.86, 0.86, 28.8 mm)"],
    "16_no_affine_codes.nii.gz": [
        "states no orientation (sform and qform code 0); left and right are a guess"
    ],
    "17_constant_zero.nii.gz": ["is constant: every voxel is 0"],
}


@pytest.mark.real
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_read_or_refused_in_one_line(shared_data, name):
    path = shared_data / "hostile" / name
    report = inspect_volume(path)
    if HOSTILE[name] is None:
        values, affine, _ = read_volume(path)
        assert values.ndim == 3
        assert np.linalg.det(affine[:3, :3]) != 0
        assert not report.problems
        assert report.warnings == HOSTILE_WARNINGS.get(name, [])
        return
    with pytest.raises(DataError, match=HOSTILE[name]) as error:
        read_volume(path)
    assert str(error.value).startswith(str(path))
    assert str(error.value).count("\n") == 0
    assert str(error.value) == f"{path}: {report.problems[0]}"


@pytest.mark.real
def test_a_ct_stored_with_a_slope_is_read_in_hounsfield_units(shared_data):
    values = read_volume(shared_data / "hostile" / "10_uint16_scl_slope.nii.gz")[0]
    # its README: HU from -1100 to 1116
    assert values.min() == pytest.approx(-1100, abs=0.1)
    assert values.max() == pytest.approx(1116, abs=0.1)


@pytest.mark.real
def test_a_real_mask_of_almost_ones_is_a_mask_of_ones(shared_data):
    assert read_label_values(shared_data / "hostile" / "19_mask_of_0.99999997.nii.gz") == [0, 1]
