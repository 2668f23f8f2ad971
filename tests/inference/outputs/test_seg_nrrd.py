"""A .seg.nrrd holds the mask, its place, and the fields that 3D Slicer reads."""

import gzip
import resource

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 - the name that its own documentation uses

from tests.data.test_geometry import ORIENTATIONS, affine_of, turn
from tests.inference.outputs.readings import CLASSES, FLIP, SHAPE, files_in, mask, nifti, nrrd
from volseg.errors import GeometryError
from volseg.inference.outputs.segmentation import write_segmentation

SPACING = (0.7, 1.3, 2.9)


def parse(path):
    """Read an NRRD by its specification, without a library: header, fields and voxels."""
    head, _, data = path.read_bytes().partition(b"\n\n")
    header, fields = {}, {}
    for line in head.decode("utf-8").splitlines()[1:]:
        if ":=" in line:
            key, _, value = line.partition(":=")
            fields[key] = value
        elif not line.startswith("#"):
            key, _, value = line.partition(": ")
            header[key] = value
    assert header["encoding"] == "gzip"
    dtype = {"unsigned char": "<u1", "unsigned short": "<u2"}[header["type"]]
    sizes = [int(word) for word in header["sizes"].split()]
    voxels = np.frombuffer(gzip.decompress(data), dtype).reshape(sizes, order="F")
    return header, fields, voxels


def vectors(text):
    return np.array([[float(n) for n in word.strip("()").split(",")] for word in text.split()])


@pytest.mark.parametrize("axes", ORIENTATIONS)
@pytest.mark.parametrize(("make", "degrees"), [(nifti, 0), (nifti, 23), (nrrd, 23)])
def test_voxels_lie_in_left_posterior_superior_in_any_of_48_orientations(
    tmp_path, axes, make, degrees
):
    affine = affine_of(turn(degrees, 0) @ turn(degrees) @ axes, SPACING, shape=SHAPE)
    reading = make(tmp_path, affine)
    write_segmentation(mask(), reading, CLASSES, tmp_path / "mask.seg.nrrd")
    header, _, voxels = parse(tmp_path / "mask.seg.nrrd")
    assert header["space"] == "left-posterior-superior"
    assert np.array_equal(voxels, mask())
    matrix = FLIP @ reading.affine
    assert np.allclose(vectors(header["space directions"]).T, matrix[:3, :3], atol=1e-9)
    assert np.allclose(vectors(header["space origin"])[0], matrix[:3, 3], atol=1e-9)


def test_a_sheared_grid_keeps_its_shear(tmp_path):
    affine = affine_of(np.array([[1, 0.3, 0], [0, 1, 0.2], [0, 0, 1]]), SPACING, shape=SHAPE)
    write_segmentation(
        mask(), nifti(tmp_path, affine, codes=(1, 0)), CLASSES, tmp_path / "m.seg.nrrd"
    )
    header, _, _ = parse(tmp_path / "m.seg.nrrd")
    found = vectors(header["space directions"]).T
    assert np.allclose(found, (FLIP @ affine)[:3, :3], atol=1e-6)  # 32 bits in NIfTI


def test_segments_have_names_colours_values_and_one_layer_of_the_whole_extent(tmp_path):
    classes = {0: "background", 3: "grün := blau", 7: "肝臓"}
    labels = mask(values=(0, 7))
    write_segmentation(
        labels,
        nifti(tmp_path, np.eye(4)),
        classes,
        tmp_path / "m.seg.nrrd",
        colors={3: (255, 0, 51)},
    )
    _, fields, _ = parse(tmp_path / "m.seg.nrrd")
    segments = [
        {key: fields[f"Segment{index}_{key}"] for key in ("Name", "LabelValue", "Layer", "Extent")}
        for index in range(2)
    ]
    # Slicer takes a layer's extent from its first segment, which has no voxel here
    assert segments == [
        {"Name": "grün := blau", "LabelValue": "3", "Layer": "0", "Extent": "0 4 0 5 0 3"},
        {"Name": "肝臓", "LabelValue": "7", "Layer": "0", "Extent": "0 4 0 5 0 3"},
    ]
    color = [float(part) for part in fields["Segment0_Color"].split()]
    assert np.allclose(color, [1, 0, 0.2], atol=1e-6)
    assert fields["Segment0_ID"] != fields["Segment1_ID"]
    assert "Segment2_ID" not in fields
    assert fields["Segmentation_ReferenceImageExtentOffset"] == "0 0 0"
    assert fields["Segmentation_ContainedRepresentationNames"] == "Binary labelmap|"
    assert files_in(tmp_path) == ["image.nii.gz", "m.seg.nrrd"]


@pytest.mark.parametrize("shape", [(1, 6, 4), (5, 6, 1), (1, 1, 1)])
def test_one_slice_and_16_bits_and_an_empty_mask_come_back(tmp_path, shape):
    reading = nifti(tmp_path, affine_of(turn(20), SPACING, shape=shape), shape)
    classes = {0: "background", 1000: "far"}
    for labels in (mask(shape, values=(0, 1000)), np.zeros(shape, np.uint8)):
        write_segmentation(labels, reading, classes, tmp_path / "m.seg.nrrd")
        header, _, voxels = parse(tmp_path / "m.seg.nrrd")
        assert header["type"] == "unsigned short"
        assert np.array_equal(voxels, labels)


def test_a_disk_that_takes_no_more_is_named_by_the_system(tmp_path):
    reading = nifti(tmp_path, np.eye(4), (40, 40, 40))
    labels = mask((40, 40, 40))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, before[1]))
    try:
        with pytest.raises(OSError, match=r"File too large: .*m\.seg\.nrrd"):
            write_segmentation(labels, reading, CLASSES, tmp_path / "m.seg.nrrd")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert files_in(tmp_path) == ["image.nii.gz"]


def moved(image):
    image.SetOrigin((0.0, 0.0, 1e-3))


def mirrored(image):
    image.SetDirection((-1, 0, 0, 0, 1, 0, 0, 0, 1))


def renamed(image):
    image.SetMetaData("Segment1_Name", "liver")


def relabelled(image):
    image[0, 0, 0] = 3 - image[0, 0, 0]


CHANGES = {
    moved: r"lies 0\.001 mm off",
    mirrored: "mm off its image",
    renamed: "the field Segment1_Name is not 'tumour'",
    relabelled: "1 voxels read back with another label",
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_reads_back_otherwise_does_not_get_its_name(tmp_path, monkeypatch, change):
    reading = nifti(tmp_path, np.eye(4))
    write = sitk.WriteImage

    def damage(image, *arguments, **options):
        change(image)
        write(image, *arguments, **options)

    monkeypatch.setattr(sitk, "WriteImage", damage)
    with pytest.raises(GeometryError, match=rf"m\.seg\.nrrd: .*{CHANGES[change]}"):
        write_segmentation(mask(), reading, CLASSES, tmp_path / "m.seg.nrrd")
    assert files_in(tmp_path) == ["image.nii.gz"]
