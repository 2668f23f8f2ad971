"""Whatever its format, an image is read where it lies, or refused in one line."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from tests.data.dicom.files import along, noise, save_series
from tests.data.files import image, save
from tests.data.itk_texts import VALUES, write_meta, write_nrrd
from volseg.data.reading import (
    Reading,
    Source,
    format_of,
    read_source,
    read_source_grid,
    source_of,
)
from volseg.data.volumes import inspect_volume, read_volume
from volseg.errors import DataError

OBLIQUE = np.array([[0, -1.8, 0.4, 5.5], [0.9, 0, 0, -7], [0, 0.6, 1.2, 11], [0, 0, 0, 1]])
"""RAS: the first axis runs to the front, the second left and up, the third right and up."""


def read(path: Path) -> Reading:
    return read_source(source_of(path))


@pytest.mark.parametrize(
    ("file", "name", "kind"),
    [
        ("a/b.c.nii.gz", "b.c", "nifti"),
        ("B.NII", "B", "nifti"),
        ("x.hdr", "x", "nifti"),
        ("x.seg.nrrd", "x.seg", "nrrd"),
        ("x.nhdr", "x", "nrrd"),
        ("x.mha", "x", "metaimage"),
        ("x.mhd", "x", "metaimage"),
    ],
)
def test_the_ending_tells_format_and_name_before_a_file_is_looked_at(file, name, kind):
    path = Path(file)
    assert source_of(path) == Source(name, (path,), kind)
    assert source_of(path, "study/scan").name == "study/scan"
    assert format_of(path) == kind


def test_another_ending_tells_no_format(tmp_path):
    assert format_of(Path("IM0001")) is None
    (tmp_path / "notes.txt").write_text("no image")
    with pytest.raises(DataError, match=r"notes.txt: is no image file"):
        source_of(tmp_path / "notes.txt")


def test_a_nifti_file_is_read_as_ever(tmp_path):
    path = save(tmp_path / "a.nii.gz", image(), OBLIQUE)
    reading = read(path)
    values, affine, _ = read_volume(path)
    assert np.array_equal(reading.values, values)
    assert np.array_equal(reading.affine, affine)
    assert reading.files == reading.source.files == (path,)


def test_a_nifti_file_has_the_warnings_of_its_inspection(tmp_path):
    volume = nib.Nifti1Image(np.full((3, 3, 3), np.nan, np.float32), None)
    volume.dataobj[0, 0, 0] = 1
    volume.header["pixdim"][1:4] = (1, 1, 9)
    nib.save(volume, tmp_path / "a.nii")
    warnings = read(tmp_path / "a.nii").warnings
    assert list(warnings) == inspect_volume(tmp_path / "a.nii").warnings
    assert len(warnings) == 4  # no orientation, unequal edges, NaN, constant


@pytest.mark.real
def test_hostile_nifti_files_are_refused_and_warned_of_as_by_their_inspection(shared_data):
    paths = sorted((shared_data / "hostile").glob("*.nii.gz"))
    assert len(paths) > 10
    for path in paths:
        report = inspect_volume(path)
        if report.problems:
            with pytest.raises(DataError) as caught:
                read(path)
            assert str(caught.value) == f"{path}: {report.problems[0]}"
        else:
            assert list(read(path).warnings) == report.warnings


@pytest.mark.parametrize("ending", [".mha", ".mhd", ".nrrd", ".nhdr"])
@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.float32, np.float64])
@pytest.mark.parametrize("is_compressed", [True, False])
def test_what_itk_has_written_is_read_where_it_lies(tmp_path, ending, kind, is_compressed):
    values = image((4, 5, 6)).astype(kind)
    written = sitk.GetImageFromArray(values.T)
    axes = np.diag([-1, -1, 1]) @ OBLIQUE[:3, :3]
    spacing = np.linalg.norm(axes, axis=0)
    written.SetSpacing(spacing.tolist())
    written.SetDirection((axes / spacing).ravel().tolist())
    written.SetOrigin((OBLIQUE[:3, 3] * [-1, -1, 1]).tolist())
    sitk.WriteImage(written, tmp_path / f"a{ending}", is_compressed)
    reading = read(tmp_path / f"a{ending}")
    assert np.array_equal(reading.values, values)
    assert reading.values.dtype == kind
    assert np.allclose(reading.affine, OBLIQUE, atol=1e-6)


def test_a_meta_image_counts_towards_left_and_back(tmp_path):
    fields = {"ElementSpacing": "2 3 4", "Offset": "10 20 30"}
    reading = read(write_meta(tmp_path / "a.mha", **fields))
    assert np.array_equal(reading.values, VALUES)
    placed = [[-2, 0, 0, -10], [0, -3, 0, -20], [0, 0, 4, 30], [0, 0, 0, 1]]
    assert np.array_equal(reading.affine, placed)
    assert reading.warnings == ()


def test_a_nrrd_file_lies_where_its_space_says(tmp_path):
    directions = {"space directions": "(0,2,0) (-3,0,0) (0,0,4)", "space origin": "(10,20,30)"}
    right = read(write_nrrd(tmp_path / "a.nrrd", {**directions, "space": "RAS"}))
    assert np.array_equal(right.values, VALUES)
    assert np.array_equal(
        right.affine, [[0, -3, 0, 10], [2, 0, 0, 20], [0, 0, 4, 30], [0, 0, 0, 1]]
    )
    left = read(write_nrrd(tmp_path / "b.nrrd", {**directions, "space": "LAS"}))
    assert np.array_equal(left.affine, np.diag([-1, 1, 1, 1]) @ right.affine)


def test_a_fourth_axis_of_length_one_is_dropped(tmp_path):
    flat = dict.fromkeys(("space", "space directions", "space origin"))
    reading = read(write_nrrd(tmp_path / "a.nrrd", {**flat, "dimension": 4, "sizes": "2 3 4 1"}))
    assert np.array_equal(reading.values, VALUES)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"space": None, "space directions": None, "space origin": None},
            "states no space; left and right are a guess",
        ),
        ({"space": "scanner-xyz"}, "states the space scanner-xyz; left and right are a guess"),
        (
            {"space directions": "(1,0,0) (0.5,1,0) (0,0,1)"},
            "has a sheared affine: its axes are not at right angles",
        ),
        (
            {"space directions": "(1,0,0) (0,1,0) (0,0,9)"},
            "has very unequal voxel edges (1, 1, 9 mm)",
        ),
    ],
)
def test_an_unusual_nrrd_file_is_read_with_a_warning(tmp_path, fields, message):
    reading = read(write_nrrd(tmp_path / "a.nrrd", fields))
    assert reading.warnings == (message,)


def test_a_sheared_nrrd_file_keeps_its_shear(tmp_path):
    fields = {"space": "RAS", "space directions": "(2,0,0) (0.5,1,0) (0,0,3)"}
    reading = read(write_nrrd(tmp_path / "a.nrrd", fields))
    assert np.allclose(reading.affine[:3, :3], [[2, 0.5, 0], [0, 1, 0], [0, 0, 3]], atol=1e-12)


REFUSED_META = {
    "flat": ({"ElementSpacing": "1 0 1"}, r"has a voxel edge of 0 mm \(edges 1, 0, 1\)"),
    "singular": ({"TransformMatrix": "1 0 0 1 0 0 0 0 1"}, "has a singular affine"),
    "nowhere": ({"Offset": "nan 0 0"}, "has the Offset 'nan 0 0', which are no finite numbers"),
    "no numbers": ({"Offset": "x 0 0"}, "has the Offset 'x 0 0'"),
    "two axes": (
        {
            "NDims": 2,
            "TransformMatrix": "1 0 0 1",
            "Offset": "0 0",
            "ElementSpacing": "1 1",
            "DimSize": "6 4",
        },
        r"has 2 axes \(shape \(6, 4\)\); give a 3D volume",
    ),
    "time": (
        {
            "NDims": 4,
            "TransformMatrix": " ".join(str(int(n)) for n in np.eye(4).ravel()),
            "Offset": "0 0 0 0",
            "ElementSpacing": "1 1 1 1",
            "DimSize": "2 2 3 2",
        },
        "has a 4th axis .* which is time",
    ),
    "colour": (
        {"ElementNumberOfChannels": 3, "DimSize": "2 2 2"},
        r"holds 3 numbers a voxel \(colour or vectors\)",
    ),
    "cut off": ({"DimSize": "2 3 9"}, "is damaged or cut off"),
    "absurd": ({"DimSize": "32767 32767 32767"}, "does not fit into memory"),
}


@pytest.mark.parametrize("name", REFUSED_META)
def test_a_meta_image_that_is_no_placed_volume_is_refused_in_one_line(tmp_path, name):
    fields, message = REFUSED_META[name]
    path = write_meta(tmp_path / "a.mha", **fields)
    with pytest.raises(DataError, match=message) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


REFUSED_NRRD = {
    "flat": ({"space directions": "(1,0,0) (0,0,0) (0,0,1)"}, "has an affine that is not finite"),
    "singular": ({"space directions": "(1,0,0) (1,0,0) (0,0,1)"}, "has a singular affine"),
    "nowhere": ({"space origin": "(nan,0,0)"}, "is not a readable NRRD file .*nan"),
    "vectors": (
        {
            "dimension": 4,
            "sizes": "2 1 3 4",
            "kinds": "list domain domain domain",
            "space directions": "none (1,0,0) (0,1,0) (0,0,1)",
        },
        "holds 2 numbers a voxel",
    ),
    "cut off": ({"sizes": "2 3 9"}, "is damaged or cut off"),
    "absurd": ({"sizes": "32767 32767 32767"}, "does not fit into memory"),
}


@pytest.mark.parametrize("name", REFUSED_NRRD)
def test_a_nrrd_file_that_is_no_placed_volume_is_refused_in_one_line(tmp_path, name):
    fields, message = REFUSED_NRRD[name]
    path = write_nrrd(tmp_path / "a.nrrd", fields)
    with pytest.raises(DataError, match=message) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("ending", [".mha", ".nrrd", ".nii.gz", ""])
def test_the_grid_is_known_before_the_voxels_are_read(tmp_path, ending):
    path = tmp_path / f"a{ending}"
    if ending == ".nii.gz":
        save(path, image(), OBLIQUE)
    elif ending:
        (write_meta if ending == ".mha" else write_nrrd)(path)
    else:
        save_series(path, noise(), along(6, (0, 0.5, 2)))
    source = source_of(path)
    reading = read_source(source)
    name, shape, affine = read_source_grid(source)
    assert (name, shape) == (str(source.files[0]), reading.values.shape)
    assert np.array_equal(affine, reading.affine)


def test_the_grid_of_a_file_without_a_place_is_refused(tmp_path):
    path = write_meta(tmp_path / "a.mha", ElementSpacing="1 0 1")
    with pytest.raises(DataError, match="has a voxel edge of 0 mm"):
        read_source_grid(source_of(path))


@pytest.mark.parametrize("ending", [".mha", ".nrrd", ".nii.gz"])
def test_absent_empty_and_renamed_files_are_named(tmp_path, ending):
    path = tmp_path / f"a{ending}"
    with pytest.raises(DataError, match="does not exist"):
        read(path)
    path.touch()
    with pytest.raises(DataError, match="is empty"):
        read(path)
    path.write_text("This is a text, not an image. " * 20)
    with pytest.raises(DataError, match=r"is not a readable (NRRD|MetaImage|NIfTI) file"):
        read(path)


@pytest.mark.parametrize("ending", [".nrrd", ".mha"])
def test_a_dicom_file_by_another_name_is_not_read(tmp_path, ending):
    (path,) = save_series(tmp_path, noise(), along(1, (0, 0, 2)), file=f"a{ending}")
    with pytest.raises(DataError, match=r"is not a readable (NRRD|MetaImage) file"):
        read(path)


def test_a_constant_series_has_a_warning(tmp_path):
    save_series(tmp_path, np.full((4, 5, 6), 7, np.int16), along(6, (0, 0, 2)))
    assert read(tmp_path).warnings == ("is constant: every voxel is 7",)
