"""A mask in NIfTI says of space what its image says, and what its labels are called."""

import errno
import gzip
import json
import os
from itertools import product
from xml.etree import ElementTree

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 - the name that its own documentation uses

from tests.data.test_geometry import ORIENTATIONS, affine_of, turn
from tests.inference.outputs.readings import CLASSES, FLIP, SHAPE, files_in, mask, nifti, nrrd
from volseg.data.reading import read_source, source_of
from volseg.errors import DataError, GeometryError
from volseg.inference.outputs import whole
from volseg.inference.outputs.nifti import read_legend
from volseg.inference.outputs.segmentation import write_segmentation

SPATIAL_BYTES = [(76, 92), (123, 124), (252, 328)]
"""Offsets of pixdim, units, and all from qform_code to srow_z, in nifti1.h."""

SPACING = (0.7, 1.3, 2.9)


def raw(path):
    return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()


@pytest.mark.parametrize("axes", ORIENTATIONS)
@pytest.mark.parametrize("degrees", [0, 23])
def test_a_mask_beside_nifti_lies_where_its_image_lies_in_any_of_48_orientations(
    tmp_path, axes, degrees
):
    affine = affine_of(turn(degrees, 0) @ turn(degrees) @ axes, SPACING, shape=SHAPE)
    reading = nifti(tmp_path, affine)
    write_segmentation(mask(), reading, CLASSES, tmp_path / "mask.nii.gz")
    written, image = nib.load(tmp_path / "mask.nii.gz"), nib.load(tmp_path / "image.nii.gz")
    assert np.array_equal(np.asanyarray(written.dataobj), mask())
    assert np.array_equal(written.affine, image.affine)
    ours, theirs = raw(tmp_path / "mask.nii.gz"), raw(tmp_path / "image.nii.gz")
    assert all(ours[first:last] == theirs[first:last] for first, last in SPATIAL_BYTES)


@pytest.mark.parametrize("axes", ORIENTATIONS)
@pytest.mark.parametrize("degrees", [0, 23])
def test_a_nifti_mask_beside_nrrd_lies_where_its_image_lies_for_nibabel_and_for_itk(
    tmp_path, axes, degrees
):
    affine = affine_of(turn(degrees, 0) @ turn(degrees) @ axes, SPACING, shape=SHAPE)
    write_segmentation(mask(), nrrd(tmp_path, affine), CLASSES, tmp_path / "mask.nii.gz")
    written = nib.load(tmp_path / "mask.nii.gz")
    assert np.array_equal(np.asanyarray(written.dataobj), mask())
    assert np.allclose(written.affine, affine, atol=1e-5)  # 32 bits of 10 mm
    assert np.allclose(written.header.get_qform(), affine, atol=1e-4)
    assert (int(written.header["sform_code"]), int(written.header["qform_code"])) == (1, 1)
    assert written.header.get_xyzt_units()[0] == "mm"
    seen = sitk.ReadImage(str(tmp_path / "mask.nii.gz"))
    for index in ((0, 0, 0), (4, 5, 3), (1, 2, 3)):
        place = (FLIP @ affine @ [*index, 1])[:3]
        assert np.allclose(seen.TransformIndexToPhysicalPoint(index), place, atol=1e-4)
        assert seen[index] == mask()[index]


@pytest.mark.parametrize("codes", list(product(range(3), range(3))))
def test_codes_are_those_of_the_image_also_where_there_are_none(tmp_path, codes):
    reading = nifti(tmp_path, affine_of(turn(20), SPACING, shape=SHAPE), codes=codes)
    write_segmentation(mask(), reading, CLASSES, tmp_path / "mask.nii.gz")
    ours, theirs = raw(tmp_path / "mask.nii.gz"), raw(tmp_path / "image.nii.gz")
    assert all(ours[first:last] == theirs[first:last] for first, last in SPATIAL_BYTES)


@pytest.mark.parametrize("ending", [".nrrd", ".mha"])
def test_a_sheared_image_gets_an_sform_alone_for_a_quaternion_holds_no_shear(tmp_path, ending):
    affine = affine_of(np.array([[1, 0.3, 0], [0, 1, 0], [0, 0, 1]]), SPACING, shape=SHAPE)
    reading = nrrd(tmp_path, affine, ending=ending)
    write_segmentation(mask(), reading, CLASSES, tmp_path / "mask.nii.gz")
    written = nib.load(tmp_path / "mask.nii.gz")
    assert (int(written.header["sform_code"]), int(written.header["qform_code"])) == (1, 0)
    assert np.allclose(written.affine, affine, atol=1e-5)
    edges = np.linalg.norm(affine[:3, :3], axis=0)
    assert np.allclose(written.header["pixdim"][1:4], edges, atol=1e-6)


@pytest.mark.parametrize("shape", [(1, 6, 4), (5, 1, 4), (5, 6, 1), (1, 1, 1)])
@pytest.mark.parametrize("make", [nifti, nrrd])
def test_one_slice_is_a_volume_too(tmp_path, shape, make):
    affine = affine_of(turn(20), (0.5, 0.5, 9.0), shape=shape)
    write_segmentation(mask(shape), make(tmp_path, affine, shape), CLASSES, tmp_path / "m.nii.gz")
    written = nib.load(tmp_path / "m.nii.gz")
    assert written.shape == shape
    assert np.allclose(written.affine, affine, atol=1e-5)


def test_a_far_origin_is_no_reason_to_refuse_a_mask(tmp_path):
    affine = affine_of(turn(20, 1) @ turn(11), (0.1, 0.1, 4), (9e4, -8e4, 7e4), SHAPE)
    write_segmentation(mask(), nrrd(tmp_path, affine), CLASSES, tmp_path / "mask.nii.gz")
    assert np.allclose(nib.load(tmp_path / "mask.nii.gz").affine, affine, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_names_and_colours_stand_in_the_header_and_no_reader_minds(tmp_path, capfd, ending):
    classes = {0: "background", 2: "grüne Zelle <&>", 300: "肝臓"}
    labels, target = mask(values=(0, 2, 300)), tmp_path / f"mask{ending}"
    reading = nifti(tmp_path, np.eye(4))
    write_segmentation(labels, reading, classes, target, colors={300: (1, 2, 255)})
    written = nib.load(target)
    assert read_legend(written) == {
        2: ("grüne Zelle <&>", (255, 159, 28)),
        300: ("肝臓", (1, 2, 255)),
    }
    # independent of our reader: code 30, and XML as Connectome Workbench documents it
    (extension,) = written.header.extensions
    table = ElementTree.fromstring(extension.content).find("VolumeInformation/LabelTable")
    assert extension.get_code() == 30
    assert [item.get("Key") for item in table] == ["2", "300"]
    assert int(written.header["intent_code"]) == 1002  # NIFTI_INTENT_LABEL
    assert np.array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(target))).T, labels)
    assert np.array_equal(read_source(source_of(target)).values, labels)
    assert capfd.readouterr() == ("", "")


def test_nifti_2_and_big_endian_images_and_pairs_get_masks_too(tmp_path):
    affine, values = affine_of(turn(10), SPACING, shape=SHAPE), np.zeros(SHAPE, np.int16)
    image = nib.Nifti1Image(values, affine)
    nib.save(nib.Nifti2Image(values, affine), tmp_path / "second.nii")
    nib.save(nib.Nifti1Pair(values, affine), tmp_path / "pair.img")
    big = nib.Nifti1Image(values, None, image.header.as_byteswapped(">"))
    nib.save(big, tmp_path / "big.nii")
    for name in ("second.nii", "pair.img", "pair.hdr", "big.nii"):
        reading = read_source(source_of(tmp_path / name))
        write_segmentation(mask(), reading, CLASSES, tmp_path / "mask.nii.gz")
        written = nib.load(tmp_path / "mask.nii.gz")
        assert np.array_equal(written.affine, nib.load(tmp_path / name).affine)
        assert np.array_equal(np.asanyarray(written.dataobj), mask())
        assert isinstance(written, nib.Nifti2Image) == (name == "second.nii")
        assert list(read_legend(written)) == [1, 2]


def test_a_mask_without_a_list_of_labels_is_named(tmp_path):
    nifti(tmp_path, np.eye(4))
    with pytest.raises(DataError, match=r"image\.nii\.gz: has no list of labels in its header"):
        read_legend(nib.load(tmp_path / "image.nii.gz"))


def test_the_sidecar_gives_names_colours_voxels_and_volumes(tmp_path):
    labels = np.zeros(SHAPE, np.uint8)
    labels[:2, :3, :2] = 2  # 12 voxels
    reading = nifti(tmp_path, np.diag([-2.0, 3.0, 4.0, 1.0]))  # 24 cubic millimetres
    (tmp_path / "out").mkdir()
    write_segmentation(
        labels, reading, CLASSES, tmp_path / "out" / "a.nii.gz", colors={1: (16, 0, 255)}
    )
    content = json.loads((tmp_path / "out" / "a.json").read_text())
    assert content["Sources"] == ["../image.nii.gz"]
    assert content["SpatialReference"] == "../image.nii.gz"
    assert content["Labels"] == {
        "1": {"Name": "liver", "Color": "#1000ff", "Voxels": 0, "VolumeInMillilitres": 0.0},
        "2": {"Name": "tumour", "Color": "#2ec4ff", "Voxels": 12, "VolumeInMillilitres": 0.288},
    }
    assert files_in(tmp_path / "out") == ["a.json", "a.nii.gz"]


def test_a_dseg_has_the_table_and_the_sources_of_bids(tmp_path):
    target = tmp_path / "sub-1_dseg.nii.gz"
    sources = ["bids:raw:sub-1/anat/sub-1_T1w.nii.gz"]
    write_segmentation(mask(), nifti(tmp_path, np.eye(4)), CLASSES, target, sources=sources)
    table = (tmp_path / "sub-1_dseg.tsv").read_text()
    assert table == "index\tname\tcolor\n1\tliver\t#ff9f1c\n2\ttumour\t#2ec4ff\n"
    assert json.loads((tmp_path / "sub-1_dseg.json").read_text())["Sources"] == sources


@pytest.mark.parametrize("name", ["mask.nii.gz", "mask_dseg.nii", "mask.seg.nrrd"])
def test_a_full_disk_leaves_what_was_there_and_nothing_else(tmp_path, monkeypatch, name):
    reading = nifti(tmp_path, np.eye(4))
    (tmp_path / name).write_bytes(b"an older mask")

    def refuse(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(whole.os, "fsync", refuse)
    with pytest.raises(OSError, match=rf"No space left on device: .*{name}") as error:
        write_segmentation(mask(), reading, CLASSES, tmp_path / name)
    assert error.value.errno == errno.ENOSPC
    assert (tmp_path / name).read_bytes() == b"an older mask"
    assert files_in(tmp_path) == sorted(["image.nii.gz", name])


CHANGES = {
    "another voxel": (-1, 1, "1 voxels read back with another label"),
    "another row": (283, 1, "has srow_x"),
    "another code": (254, 2, "has sform_code 3 and its image 1"),
    "another type": (70, 6, "holds int8|read back"),
    "another name": (420, 1, "names of its labels|not well-formed|read back"),
}


@pytest.mark.parametrize(("offset", "change", "message"), CHANGES.values(), ids=CHANGES)
def test_a_mask_that_the_disk_has_changed_does_not_get_its_name(
    tmp_path, monkeypatch, offset, change, message
):
    reading = nifti(tmp_path, np.eye(4))
    save = nib.Nifti1Image.to_filename

    def damage(image, path):
        save(image, path)
        content = bytearray(path.read_bytes())
        content[offset] ^= change
        path.write_bytes(content)

    monkeypatch.setattr(nib.Nifti1Image, "to_filename", damage)
    with pytest.raises(GeometryError, match=rf"mask\.nii: .*({message})"):
        write_segmentation(mask(), reading, CLASSES, tmp_path / "mask.nii")
    assert files_in(tmp_path) == ["image.nii.gz"]


REFUSED = {
    "another shape": (mask((5, 6, 5)), CLASSES, r"mask is \(5, 6, 5\) voxels and its image"),
    "floats": (mask().astype(np.float32), CLASSES, "mask holds float32; give whole numbers"),
    "negative": (mask().astype(np.int16) - 1, CLASSES, "mask holds values from -1 to 1"),
    "too high": (mask().astype(np.int64) << 15, CLASSES, "mask holds values from 0 to 65536"),
    "without a name": (mask(), {0: "background", 1: "liver"}, "holds the value 2, which no class"),
    "no classes": (mask() * 0, {0: "background"}, r"label values are \[\]; give at least one"),
    "a negative class": (mask(), {-1: "a", 1: "b", 2: "c"}, r"label values are \[-1, 1, 2\]"),
    "two lines": (mask(), {1: "a\nb", 2: "c"}, r"label 1 has the name 'a\\nb'; give one line"),
}


@pytest.mark.parametrize(("labels", "classes", "message"), REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize("ending", [".nii.gz", ".seg.nrrd", ".dcm"])
def test_what_no_format_holds_is_refused_in_one_line(tmp_path, labels, classes, message, ending):
    reading = nifti(tmp_path, np.eye(4))
    with pytest.raises((DataError, GeometryError), match=message):
        write_segmentation(labels, reading, classes, tmp_path / f"mask{ending}")
    assert files_in(tmp_path) == ["image.nii.gz"]


def test_an_unknown_ending_and_an_impossible_colour_are_refused(tmp_path):
    reading = nifti(tmp_path, np.eye(4))
    with pytest.raises(DataError, match=r"mask\.png: has an ending of no segmentation; use \.nii"):
        write_segmentation(mask(), reading, CLASSES, tmp_path / "mask.png")
    with pytest.raises(DataError, match=r"label 1 has the colour \(0, 256, 0\)"):
        write_segmentation(mask(), reading, CLASSES, tmp_path / "m.nii", colors={1: (0, 256, 0)})
