"""Masks of real images in every format, against readers that are not volseg's."""

import shutil

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 - the name that its own documentation uses
from highdicom.seg import segread
from pydicom import dcmread
from pydicom.uid import generate_uid

from tests.inference.outputs.readings import FLIP, files_in
from volseg.data.reading import read_source, source_of
from volseg.errors import DataError
from volseg.inference.outputs.maps import write_map
from volseg.inference.outputs.segmentation import write_segmentation
from volseg.inference.outputs.volumes import measure_volumes
from volseg.inference.scratch import Scratch
from volseg.inference.survey import NativeMap

pytestmark = pytest.mark.real

CLASSES = {0: "background", 1: "liver", 2: "tumour", 5: "left kidney"}

IMAGES = [
    "Task04_Hippocampus/imagesTr/hippocampus_001.nii.gz",
    "brain_labelmaps/training_seg_09.nii.gz",
    "brain_mri/MR_Gd.nii.gz",
    "brain_mri/chris_PD.nii.gz",
    "brain_mri/monai_anatomical.nii",
    "brain_mri/pyradiomics_brain1_image.nrrd",
    "ct/CT_pitch.nii.gz",
    "ct/totalsegmentator/example_ct_sm.nii.gz",
    "ct/lung/lung_ibsi_image.nii.gz",
    "ct/sarcoma/sts_008_PET.nii.gz",
    "dicom/sts_008_MR_T1/image",
    "dicom/totalsegmentator_ct_jpeg2000",
    "dicom/torchio_head",
    "postop/PGBM-002/PGBM-002_t1c.nii.gz",
]

SERIES = ["dicom/sts_008_MR_T1/image", "dicom/torchio_head"]


def read(shared_data, name):
    if not (shared_data / name).exists():
        pytest.skip(f"{name} is not there")
    return read_source(source_of(shared_data / name))


def block(shape):
    """Give a mask with a block of each label, off centre along each axis."""
    labels = np.zeros(shape, np.uint8)
    for value, start in ((1, 0.1), (2, 0.35), (5, 0.7)):
        spans = [
            slice(int(start * n), max(int((start + 0.2) * n), int(start * n) + 1)) for n in shape
        ]
        labels[tuple(spans)] = value
    return labels


def map_of(labels):
    """Give a map that is a fifth of the labels."""
    scratch = Scratch((1, *labels.shape), 2, None)
    scratch.values[0] = labels.astype(np.uint16) * (65535 // 5)
    return NativeMap(scratch, float(np.float32(1 / 65535)), ("entropy",))


@pytest.mark.parametrize("name", IMAGES)
def test_masks_and_maps_lie_on_real_images(shared_data, tmp_path, name):
    reading = read(shared_data, name)
    labels = block(reading.values.shape)
    write_segmentation(labels, reading, CLASSES, tmp_path / "m.nii.gz")
    write_segmentation(labels, reading, CLASSES, tmp_path / "m.seg.nrrd")
    write_map("entropy", map_of(labels), reading, tmp_path / "p.nii.gz")
    files = ["m.json", "m.nii.gz", "m.seg.nrrd", "p.json", "p.nii.gz"]
    assert files_in(tmp_path) == files
    chart = nib.load(tmp_path / "p.nii.gz")
    assert np.allclose(chart.get_fdata(), labels / 5, atol=1e-6)
    assert np.allclose(chart.affine, nib.load(tmp_path / "m.nii.gz").affine)
    mask, itk = nib.load(tmp_path / "m.nii.gz"), sitk.ReadImage(str(tmp_path / "m.seg.nrrd"))
    assert np.array_equal(np.asanyarray(mask.dataobj), labels)
    assert np.array_equal(sitk.GetArrayViewFromImage(itk).T, labels)
    for index in np.argwhere(labels == 5)[[0, -1]].tolist():
        place = (reading.affine @ [*index, 1])[:3]
        assert np.allclose((mask.affine @ [*index, 1])[:3], place, atol=1e-3)
        assert np.allclose(
            itk.TransformIndexToPhysicalPoint(index), FLIP[:3, :3] @ place, atol=1e-6
        )


@pytest.mark.parametrize("name", ["brain_mri/pyradiomics_brain1_image.nrrd", *SERIES])
def test_itk_puts_a_nifti_mask_where_it_puts_the_image(shared_data, tmp_path, name):
    reading = read(shared_data, name)
    labels = block(reading.values.shape)
    write_segmentation(labels, reading, CLASSES, tmp_path / "m.nii.gz")
    mask = sitk.ReadImage(str(tmp_path / "m.nii.gz"))
    if reading.source.format == "dicom":
        reader = sitk.ImageSeriesReader()
        reader.SetFileNames([str(file) for file in reading.files])
        image = reader.Execute()
    else:
        image = sitk.ReadImage(str(reading.files[0]))
    # the same voxel of the mask and of the image, found through the world that ITK sees
    for index in np.argwhere(labels == 2)[[0, -1]].tolist():
        place = mask.TransformIndexToPhysicalPoint(index)
        there = image.TransformPhysicalPointToContinuousIndex(place)
        assert np.allclose(there, index, atol=1e-3)
        assert image[index] == pytest.approx(reading.values[tuple(index)])


@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP"])
@pytest.mark.parametrize("name", SERIES)
def test_a_dicom_segmentation_lies_on_the_real_slices(shared_data, tmp_path, name, kind):
    reading = read(shared_data, name)
    labels = block(reading.values.shape)
    write_segmentation(labels, reading, CLASSES, tmp_path / "m.dcm", dicom_kind=kind)
    segments = segread(tmp_path / "m.dcm")
    uids = [dcmread(file, stop_before_pixels=True).SOPInstanceUID for file in reading.files]
    found = segments.get_pixels_by_source_instance(
        uids, combine_segments=True, assert_missing_frames_are_empty=True
    )
    expected = labels if kind == "LABELMAP" else np.where(labels == 5, 3, labels)
    assert np.array_equal(found.T, expected)
    volume = segments.get_volume(combine_segments=True)
    for index in np.argwhere(volume.array == 2)[[0, -1]].tolist():
        place = FLIP @ volume.affine @ [*index, 1]
        voxel = np.rint(np.linalg.solve(reading.affine, place)[:3]).astype(int)
        assert np.allclose(reading.affine @ [*voxel, 1], place, atol=1e-3)
        assert labels[tuple(voxel)] == 2


def test_slices_whose_uids_an_anonymiser_has_emptied_are_refused(shared_data, tmp_path):
    reading = read(shared_data, "dicom/totalsegmentator_ct_jpeg2000")
    with pytest.raises(DataError, match=r"has no SOPClassUID, SOPInstanceUID, .*StudyInstanceUID"):
        write_segmentation(block(reading.values.shape), reading, CLASSES, tmp_path / "m.dcm")
    assert files_in(tmp_path) == []


def test_a_compressed_series_gets_a_segmentation_and_its_own_masks_volume(shared_data, tmp_path):
    folder = shared_data / "dicom" / "totalsegmentator_ct_jpeg2000"
    if not folder.exists():
        pytest.skip("the series is not there")
    shutil.copytree(folder, tmp_path / "series")
    study, series = generate_uid(), generate_uid()
    for file in (path for path in (tmp_path / "series").iterdir() if path.is_file()):
        dataset = dcmread(file)
        meta = dataset.file_meta
        own = (meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID, study, series)
        names = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
        for keyword, value in zip(names, own, strict=True):
            setattr(dataset, keyword, value)
        dataset.save_as(file)
    reading = read_source(source_of(tmp_path / "series"))
    mask = nib.load(f"{folder}_seg_total.nii.gz")
    labels = np.asanyarray(mask.dataobj)[:, ::-1].astype(np.uint8)  # rows in the opposite order
    turned = np.diag([1.0, -1, 1, 1])
    turned[1, 3] = labels.shape[1] - 1
    assert np.allclose(mask.affine @ turned, reading.affine, atol=1e-3)
    classes = {int(value): f"label {value}" for value in np.unique(labels)}
    for kind in ("BINARY", "LABELMAP"):
        write_segmentation(labels, reading, classes, tmp_path / "m.dcm", dicom_kind=kind)
        array = segread(tmp_path / "m.dcm").get_volume(combine_segments=True).array
        assert np.count_nonzero(array) == np.count_nonzero(labels)
    volumes = measure_volumes(labels, reading.affine, classes)
    pixels = 0.9765625**2 * 2 / 1000  # from the headers: slices lie 2 mm apart
    counted = np.count_nonzero(labels == max(classes)) * pixels
    assert volumes[f"label {max(classes)}"] == pytest.approx(counted)
