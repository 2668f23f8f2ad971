"""Maps come back within half a step, and lie where their image lies."""

import errno
import gzip
import json
import os

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 - the name that its own documentation uses

from tests.data.test_geometry import ORIENTATIONS, affine_of, turn
from tests.inference.outputs.readings import SHAPE, files_in, nifti, nrrd
from volseg.errors import DataError, GeometryError
from volseg.inference.outputs import whole
from volseg.inference.outputs.maps import write_map

SPACING = (0.7, 1.3, 2.9)


def noise(shape=SHAPE, scale=1.0, dtype=np.float32):
    return (scale * np.random.default_rng(0).random(shape)).astype(dtype)


@pytest.mark.parametrize("axes", ORIENTATIONS)
@pytest.mark.parametrize("make", [nifti, nrrd])
def test_a_map_lies_where_its_image_lies_in_any_of_48_orientations(tmp_path, axes, make):
    affine = affine_of(turn(23, 0) @ turn(23) @ axes, SPACING, shape=SHAPE)
    reading = make(tmp_path, affine)
    write_map(noise((3, *SHAPE)), reading, tmp_path / "map.nii.gz")
    written = nib.load(tmp_path / "map.nii.gz")
    assert written.shape == (*SHAPE, 3)
    assert np.allclose(written.affine, reading.affine, atol=1e-5)
    assert np.allclose(written.get_fdata(), np.moveaxis(noise((3, *SHAPE)), 0, -1), atol=1e-5)
    if make is nifti:
        content, image = (
            gzip.decompress((tmp_path / name).read_bytes())
            for name in ("map.nii.gz", "image.nii.gz")
        )
        assert content[252:328] == image[252:328]  # qform_code to srow_z


@pytest.mark.parametrize(
    ("bits", "dtype", "bound"),
    [(8, np.uint8, 1 / 510), (16, np.uint16, 1 / 131070), (32, np.float32, 0)],
)
@pytest.mark.parametrize("scale", [1.0, 0.2, 7.3])
def test_values_come_back_within_half_a_step(tmp_path, bits, dtype, bound, scale):
    values = noise(scale=scale)
    values[0, 0, 0], values[0, 0, 1] = 0, scale
    write_map(values, nifti(tmp_path, np.eye(4)), tmp_path / "map.nii.gz", bits=bits)
    written = nib.load(tmp_path / "map.nii.gz")
    found = written.get_fdata()
    assert written.get_data_dtype() == dtype
    assert np.abs(found - values).max() <= bound * scale * (1 + 1e-5)
    assert found[0, 0, 0] == 0  # nothing stays nothing
    assert found[0, 0, 1] == pytest.approx(scale, rel=1e-6)
    seen = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "map.nii.gz"))).T
    assert np.allclose(seen, found, atol=1e-6 * scale)  # ITK applies the slope too


def test_signed_half_precision_and_constant_maps_come_back(tmp_path):
    reading = nifti(tmp_path, np.eye(4))
    signed = noise(dtype=np.float16) - np.float16(0.5)
    for values in (signed, np.zeros(SHAPE, np.float32), np.full(SHAPE, 0.3), -np.ones(SHAPE)):
        write_map(values, reading, tmp_path / "map.nii.gz")
        found = nib.load(tmp_path / "map.nii.gz").get_fdata()
        assert np.abs(found - values).max() <= 1 / 131070 * (1 + 1e-4)


def test_names_stand_in_a_sidecar_in_the_order_of_the_maps(tmp_path):
    reading = nifti(tmp_path, np.eye(4))
    names = ["background", "grün"]
    write_map(noise((2, *SHAPE)), reading, tmp_path / "a_probseg.nii.gz", names=names)
    content = json.loads((tmp_path / "a_probseg.json").read_text(encoding="utf-8"))
    assert content["LabelMap"] == names
    assert content["Sources"] == ["image.nii.gz"]
    write_map(noise(), reading, tmp_path / "b.nii")
    assert files_in(tmp_path) == ["a_probseg.json", "a_probseg.nii.gz", "b.nii", "image.nii.gz"]


def bad(value):
    values = noise()
    values[1, 2, 3] = value
    return values


REFUSED = {
    "NaN": ({"values": bad(np.nan)}, "maps hold values from nan to nan; give finite numbers"),
    "infinite": ({"values": bad(np.inf)}, "to inf; give finite numbers"),
    "another shape": ({"values": noise((5, 6, 5))}, r"maps are \(5, 6, 5\) and their image"),
    "two axes": ({"values": noise((5, 6))}, r"maps are \(5, 6\) and their image"),
    "names": ({"values": noise(), "names": ["a", "b"]}, "2 names for 1 maps"),
    "bits": ({"values": noise(), "bits": 12}, "of 8, 16 or 32 bits"),
}


@pytest.mark.parametrize(("arguments", "message"), REFUSED.values(), ids=REFUSED)
def test_what_no_map_is_is_refused_and_nothing_written(tmp_path, arguments, message):
    reading = nifti(tmp_path, np.eye(4))
    with pytest.raises((DataError, GeometryError), match=message):
        write_map(reading=reading, path=tmp_path / "map.nii.gz", **arguments)
    with pytest.raises(DataError, match=r"map\.nrrd: maps are \.nii\.gz or \.nii"):
        write_map(noise(), reading, tmp_path / "map.nrrd")
    assert files_in(tmp_path) == ["image.nii.gz"]


def test_a_full_disk_leaves_nothing(tmp_path, monkeypatch):
    reading = nifti(tmp_path, np.eye(4))

    def refuse(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(whole.os, "fsync", refuse)
    with pytest.raises(OSError, match=r"No space left on device: .*map\.nii\.gz"):
        write_map(noise(), reading, tmp_path / "map.nii.gz", names=["a"])
    assert files_in(tmp_path) == ["image.nii.gz"]


@pytest.mark.parametrize(
    ("offset", "message"),
    [(-1, "1 voxels read back with another value"), (115, "has the scaling"), (286, "has srow_x")],
)
def test_a_map_that_the_disk_has_changed_does_not_get_its_name(
    tmp_path, monkeypatch, offset, message
):
    reading = nifti(tmp_path, np.eye(4))
    save = nib.Nifti1Image.to_filename

    def damage(image, path):
        save(image, path)
        content = bytearray(path.read_bytes())
        content[offset] ^= 1
        path.write_bytes(content)

    monkeypatch.setattr(nib.Nifti1Image, "to_filename", damage)
    with pytest.raises(GeometryError, match=rf"map\.nii: {message}"):
        write_map(noise(), reading, tmp_path / "map.nii")
    assert files_in(tmp_path) == ["image.nii.gz"]
