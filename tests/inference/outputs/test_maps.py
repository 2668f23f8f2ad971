"""Maps come back as they were, and lie where their image lies."""

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
from volseg.inference.outputs import maps, whole
from volseg.inference.outputs.maps import map_path, write_map
from volseg.inference.scratch import Scratch
from volseg.inference.survey import NativeMap

SPACING = (0.7, 1.3, 2.9)

SLOPE = float(np.float32(1 / 65535))


def noise(count=1, shape=SHAPE, folder=None, along=0):
    """A map of random steps."""
    scratch = Scratch((count, *shape), along, folder)
    rng = np.random.default_rng(0)
    scratch.values[...] = rng.integers(0, 65536, (count, *shape))
    return NativeMap(scratch, SLOPE, tuple(f"class {value}" for value in range(count)))


@pytest.mark.parametrize("axes", ORIENTATIONS)
@pytest.mark.parametrize("make", [nifti, nrrd])
def test_a_map_lies_where_its_image_lies_in_any_of_48_orientations(tmp_path, axes, make):
    affine = affine_of(turn(23, 0) @ turn(23) @ axes, SPACING, shape=SHAPE)
    reading, chart = make(tmp_path, affine), noise(3, folder=tmp_path, along=2)
    write_map("probabilities", chart, reading, tmp_path / "map.nii.gz")
    written = nib.load(tmp_path / "map.nii.gz")
    assert written.shape == (*SHAPE, 3)
    assert np.allclose(written.affine, reading.affine, atol=1e-5)
    assert np.allclose(written.get_fdata(), np.moveaxis(chart.values, 0, -1), atol=1e-7)
    if make is nifti:
        content, image = (
            gzip.decompress((tmp_path / name).read_bytes())
            for name in ("map.nii.gz", "image.nii.gz")
        )
        assert content[252:328] == image[252:328]  # qform_code to srow_z


@pytest.mark.parametrize("along", [0, 1, 2])
@pytest.mark.parametrize("voxels", [1, 60, 1 << 22])
def test_pieces_of_any_size_make_the_same_file(tmp_path, monkeypatch, along, voxels):
    monkeypatch.setattr(maps, "PIECE_VOXELS", voxels)
    reading, chart = nifti(tmp_path, np.eye(4)), noise(2, folder=tmp_path, along=along)
    write_map("probabilities", chart, reading, tmp_path / "map.nii.gz")
    written = nib.load(tmp_path / "map.nii.gz")
    assert np.array_equal(written.dataobj.get_unscaled(), np.moveaxis(chart.scratch.values, 0, -1))
    assert written.get_data_dtype() == np.uint16


def test_itk_reads_the_same_numbers_and_nothing_stays_nothing(tmp_path):
    chart = noise()
    chart.scratch.values[0, 0, 0, :2] = 0, 65535
    write_map("entropy", chart, nifti(tmp_path, np.eye(4)), tmp_path / "map.nii.gz")
    seen = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "map.nii.gz"))).T
    assert seen.shape == SHAPE
    assert np.allclose(seen, chart.values, atol=1e-6)
    assert seen[0, 0, 0] == 0
    assert seen[0, 0, 1] == pytest.approx(1, rel=1e-6)


def test_what_a_map_is_stands_in_a_sidecar(tmp_path):
    reading = nifti(tmp_path, np.eye(4))
    chart = noise(2)
    write_map("probabilities", chart, reading, tmp_path / "a_probseg.nii.gz")
    content = json.loads((tmp_path / "a_probseg.json").read_text(encoding="utf-8"))
    assert content["LabelMap"] == ["class 0", "class 1"]
    assert content["Sources"] == ["image.nii.gz"]
    assert content["SpatialReference"] == "image.nii.gz"
    write_map("entropy", noise(), reading, tmp_path / "b.nii.gz", ["bids:raw:x"])
    content = json.loads((tmp_path / "b.json").read_text(encoding="utf-8"))
    assert content["Sources"] == ["bids:raw:x"]
    assert content["Description"] == "Entropy of the class probabilities, in nats"
    assert files_in(tmp_path) == [
        *("a_probseg.json", "a_probseg.nii.gz", "b.json", "b.nii.gz", "image.nii.gz")
    ]


def test_maps_are_named_after_their_mask(tmp_path):
    for name in ("p.1.nii.gz", "p.1.nii", "p.1.seg.nrrd", "p.1.dcm"):
        assert map_path(tmp_path / "x" / name, "variance") == tmp_path / "x/p.1_variance.nii.gz"
    mask = tmp_path / "sub-1_desc-T1w_dseg.nii.gz"
    assert map_path(mask, "probabilities").name == "sub-1_desc-T1w_probseg.nii.gz"
    assert map_path(mask, "entropy").name == "sub-1_desc-T1w_entropy.nii.gz"


def test_another_shape_or_ending_is_refused_and_nothing_written(tmp_path):
    reading = nifti(tmp_path, np.eye(4))
    with pytest.raises(GeometryError, match=r"map is \(5, 6, 5\) voxels and its image"):
        write_map("entropy", noise(shape=(5, 6, 5)), reading, tmp_path / "map.nii.gz")
    with pytest.raises(DataError, match=r"map\.nrrd: maps are \.nii\.gz"):
        write_map("entropy", noise(), reading, tmp_path / "map.nrrd")
    assert files_in(tmp_path) == ["image.nii.gz"]


def test_a_full_disk_leaves_nothing(tmp_path, monkeypatch):
    reading = nifti(tmp_path, np.eye(4))

    def refuse(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(whole.os, "fsync", refuse)
    with pytest.raises(OSError, match=r"No space left on device: .*map\.nii\.gz"):
        write_map("entropy", noise(), reading, tmp_path / "map.nii.gz")
    assert files_in(tmp_path) == ["image.nii.gz"]


@pytest.mark.parametrize(
    ("offset", "message"),
    [
        (-1, "1 voxels read back with another value"),
        (115, "has the scaling"),
        (286, "has srow_x"),
        (None, "cannot be read back"),
    ],
)
def test_a_map_that_the_disk_has_changed_does_not_get_its_name(
    tmp_path, monkeypatch, offset, message
):
    reading = nifti(tmp_path, np.eye(4))
    write = maps._write

    def damage(header, chart, path):
        write(header, chart, path)
        content = bytearray(gzip.decompress(path.read_bytes()))
        if offset is None:
            path.write_bytes(path.read_bytes()[:-40])
            return
        content[offset] ^= 1
        path.write_bytes(gzip.compress(content))

    monkeypatch.setattr(maps, "_write", damage)
    with pytest.raises(GeometryError, match=rf"map\.nii\.gz: {message}"):
        write_map("entropy", noise(), reading, tmp_path / "map.nii.gz")
    assert files_in(tmp_path) == ["image.nii.gz"]
