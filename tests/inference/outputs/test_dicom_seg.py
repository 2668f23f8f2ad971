"""A DICOM segmentation lies on its slices, voxel by voxel, for another library too."""

import numpy as np
import pytest
from highdicom.seg import Segmentation, segread
from pydicom import dcmread

from tests.data.test_geometry import ORIENTATIONS, affine_of, turn
from tests.inference.outputs.readings import CLASSES, FLIP, SHAPE, dicom, files_in, mask, nifti
from volseg.data.reading import read_source, source_of
from volseg.errors import DataError, GeometryError
from volseg.inference.outputs import segmentation
from volseg.inference.outputs.dicom_check import unpack_frames
from volseg.inference.outputs.segmentation import write_segmentation

KINDS = ["BINARY", "LABELMAP"]

SPACING = (0.7, 1.3, 2.9)


def filled(shape=SHAPE, values=(0, 1, 2)):
    """Give a mask without an empty slice, so that its volume has the extent of the series."""
    return mask(shape, values=values)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("axes", ORIENTATIONS)
def test_voxels_lie_where_they_lay_in_any_of_48_orientations(tmp_path, axes, kind):
    affine = affine_of(turn(11, 0) @ turn(23) @ axes, SPACING, shape=SHAPE)
    reading, labels = dicom(tmp_path, affine), filled()
    write_segmentation(labels, reading, CLASSES, tmp_path / "seg.dcm", dicom_kind=kind)
    # highdicom sorts the frames into a volume of its own, (slices, rows, columns) and its affine
    volume = segread(tmp_path / "seg.dcm").get_volume(combine_segments=True)
    for index in np.ndindex(*volume.array.shape):
        place = FLIP @ volume.affine @ [*index, 1]
        voxel = np.linalg.solve(affine, place)[:3]
        assert np.abs(voxel - np.rint(voxel)).max() < 1e-3
        assert volume.array[index] == labels[tuple(np.rint(voxel).astype(int))]
    assert volume.array.size == labels.size


@pytest.mark.parametrize("kind", KINDS)
def test_each_frame_refers_to_the_slice_that_it_lies_on(tmp_path, kind):
    reading = dicom(tmp_path, affine_of(turn(10), SPACING, shape=SHAPE))
    labels = np.zeros(SHAPE, np.uint8)
    labels[1, 2, 1], labels[4, 0, 3] = 1, 2
    write_segmentation(labels, reading, CLASSES, tmp_path / "seg.dcm", dicom_kind=kind)
    written, slices = dcmread(tmp_path / "seg.dcm"), [dcmread(file) for file in reading.files]
    assert written.NumberOfFrames == 2  # blank frames are left out
    uids = [header.SOPInstanceUID for header in slices]
    for frame, item in zip(
        unpack_frames(written), written.PerFrameFunctionalGroupsSequence, strict=True
    ):
        source = item.DerivationImageSequence[0].SourceImageSequence[0]
        k = uids.index(source.ReferencedSOPInstanceUID)
        position = item.PlanePositionSequence[0].ImagePositionPatient
        assert position == slices[k].ImagePositionPatient
        assert np.array_equal(frame.T != 0, labels[:, :, k] != 0)
    (series,) = written.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == slices[0].SeriesInstanceUID
    assert {item.ReferencedSOPInstanceUID for item in series.ReferencedInstanceSequence} == set(
        uids
    )
    assert written.StudyInstanceUID == slices[0].StudyInstanceUID
    assert written.FrameOfReferenceUID == slices[0].FrameOfReferenceUID
    assert written.SeriesInstanceUID != slices[0].SeriesInstanceUID
    assert written.PatientName == "Doe^Jane"


def test_segments_say_what_they_are_in_words_colours_and_codes(tmp_path):
    classes = {0: "background", 2: "left kidney", 5: "Größe\\肝臓", 9: "non-enhancing tumor"}
    reading = dicom(tmp_path, np.eye(4), SpecificCharacterSet="ISO_IR 100", PatientName="Müller^A")
    labels = filled(values=(0, 2, 9))
    write_segmentation(labels, reading, classes, tmp_path / "seg.dcm", colors={2: (255, 0, 0)})
    written = dcmread(tmp_path / "seg.dcm")
    kidney, size, tumour = written.SegmentSequence
    assert [item.SegmentNumber for item in written.SegmentSequence] == [1, 2, 3]
    assert size.SegmentLabel == "Größe/肝臓"
    assert written.PatientName == "Müller^A"
    kind = kidney.SegmentedPropertyTypeCodeSequence[0]
    assert (kind.CodeValue, kind.CodingSchemeDesignator) == ("64033007", "SCT")  # kidney
    modifier = kind.SegmentedPropertyTypeModifierCodeSequence[0]
    assert modifier.CodeValue == "7771000"  # left
    assert kidney.SegmentedPropertyCategoryCodeSequence[0].CodeValue == "91723000"  # anatomy
    assert tumour.SegmentedPropertyCategoryCodeSequence[0].CodeValue == "49755003"  # morphology
    assert size.SegmentedPropertyTypeCodeSequence[0].CodeValue == "85756007"  # tissue
    # red is L* 53.2, a* 80.1, b* 67.2 in CIE's colours; DICOM scales them to 16 bits
    expected = [53.2 / 100 * 65535, (80.1 + 128) / 255 * 65535, (67.2 + 128) / 255 * 65535]
    assert np.allclose(kidney.RecommendedDisplayCIELabValue, expected, atol=400)
    assert {item.SegmentAlgorithmType for item in written.SegmentSequence} == {"AUTOMATIC"}


def test_a_label_map_keeps_its_values_and_bits_count_from_one(tmp_path):
    reading, classes = dicom(tmp_path, np.eye(4)), {0: "background", 3: "a", 300: "b"}
    labels = filled(values=(0, 3, 300))
    found = {}
    for kind in KINDS:
        write_segmentation(labels, reading, classes, tmp_path / "seg.dcm", dicom_kind=kind)
        segments = segread(tmp_path / "seg.dcm")
        found[kind] = sorted(segments.segment_numbers)
        assert segments.SegmentationType == kind
    assert found == {"BINARY": [1, 2], "LABELMAP": [3, 300]}


@pytest.mark.parametrize("kind", KINDS)
def test_an_empty_mask_is_a_blank_frame_a_label_and_describes_all_labels(tmp_path, kind):
    reading = dicom(tmp_path, affine_of(turn(10), SPACING, shape=SHAPE))
    write_segmentation(
        np.zeros(SHAPE, np.uint8), reading, CLASSES, tmp_path / "seg.dcm", dicom_kind=kind
    )
    written = dcmread(tmp_path / "seg.dcm")
    assert written.NumberOfFrames == (2 if kind == "BINARY" else 1)
    assert not any(frame.any() for frame in unpack_frames(written))
    labels = [item.SegmentLabel for item in written.SegmentSequence if item.SegmentNumber]
    assert labels == ["liver", "tumour"]
    (series,) = written.ReferencedSeriesSequence
    assert len(series.ReferencedInstanceSequence) == SHAPE[2]


@pytest.mark.parametrize("kind", KINDS)
def test_one_slice_and_one_label_and_a_tilted_gantry_come_back(tmp_path, kind):
    sheared = affine_of(np.array([[1, 0, 0], [0, 1, 0.3], [0, 0, 1]]), SPACING, shape=SHAPE)
    for name, affine, shape in (("one", np.eye(4), (5, 6, 1)), ("tilted", sheared, SHAPE)):
        (tmp_path / name).mkdir()
        reading = dicom(tmp_path / name, affine, shape)
        target = tmp_path / name / "seg.dcm"
        labels = filled(shape, (0, 1))
        write_segmentation(labels, reading, {1: "spot"}, target, dicom_kind=kind)
        frames = np.stack(list(unpack_frames(dcmread(target))))
        order = slice(None) if np.array_equal(frames.T, labels) else slice(None, None, -1)
        assert np.array_equal(frames[order].T, labels)


def test_what_the_standard_lets_be_empty_may_be_missing(tmp_path):
    reading = dicom(tmp_path, np.eye(4), PatientID=None, SliceThickness=None, PatientName=None)
    write_segmentation(filled(), reading, CLASSES, tmp_path / "seg.dcm")
    written = dcmread(tmp_path / "seg.dcm")
    assert written.PatientID in ("", None)
    assert written.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].SliceThickness == 1


@pytest.mark.parametrize("keyword", ["StudyInstanceUID", "FrameOfReferenceUID", "SOPClassUID"])
def test_slices_that_cannot_be_referred_to_are_refused_by_what_they_lack(tmp_path, keyword):
    reading = dicom(tmp_path, np.eye(4), **{keyword: ""})
    before = files_in(tmp_path)
    with pytest.raises(DataError, match=rf"0\.dcm: has no {keyword}, by which .* write \.nii\.gz"):
        write_segmentation(filled(), reading, CLASSES, tmp_path / "seg.dcm")
    assert files_in(tmp_path) == before


def test_other_sources_and_series_are_refused(tmp_path):
    reading = nifti(tmp_path, np.eye(4))
    with pytest.raises(DataError, match=r"refers to DICOM slices, and image is nifti; write \.nii"):
        write_segmentation(filled(), reading, CLASSES, tmp_path / "seg.dcm")
    series = dicom(tmp_path, np.eye(4), SOPInstanceUID="1.2.3")
    with pytest.raises(DataError, match="series: has slices with the same SOPInstanceUID"):
        write_segmentation(filled(), series, CLASSES, tmp_path / "seg.dcm")
    one = type(series)(series.source, series.values, series.affine, series.files[:1])
    with pytest.raises(DataError, match=r"series: has 4 slices in 1 files; .* one file a slice"):
        write_segmentation(filled(), one, CLASSES, tmp_path / "seg.dcm")
    with pytest.raises(DataError, match="'RTSTRUCT' is no kind of DICOM segmentation; use BINARY"):
        write_segmentation(filled(), series, CLASSES, tmp_path / "s.dcm", dicom_kind="RTSTRUCT")
    odd = dicom(tmp_path, np.eye(4), PatientSex="unknown")
    with pytest.raises(DataError, match=r"series: no DICOM segmentation fits its slices \(.*\)"):
        write_segmentation(filled(), odd, CLASSES, tmp_path / "seg.dcm")
    series.files[2].write_bytes(b"gone")
    with pytest.raises(DataError, match=r"2\.dcm: is no DICOM file any more"):
        write_segmentation(filled(), series, CLASSES, tmp_path / "seg.dcm")


def test_without_the_extra_the_message_says_what_to_install(tmp_path, monkeypatch):
    def fail(_):
        raise ModuleNotFoundError("No module named 'highdicom'", name="highdicom")

    monkeypatch.setattr(segmentation, "import_module", fail)
    with pytest.raises(DataError, match=r"needs highdicom; install it with .*volseg\[dicom\]"):
        write_segmentation(filled(), nifti(tmp_path, np.eye(4)), CLASSES, tmp_path / "seg.dcm")


def test_slices_in_another_order_than_the_mask_are_noticed(tmp_path):
    reading = dicom(tmp_path, affine_of(turn(10), SPACING, shape=SHAPE))
    turned = type(reading)(reading.source, reading.values, reading.affine, reading.files[::-1])
    before = files_in(tmp_path)
    with pytest.raises(GeometryError, match=r"seg\.dcm: has slice \d .* mm off the place"):
        write_segmentation(filled(), turned, CLASSES, tmp_path / "seg.dcm")
    assert files_in(tmp_path) == before


def test_a_series_as_uneven_as_may_be_read_gets_its_segmentation(tmp_path):
    affine = affine_of(turn(10, 0), (0.5, 0.5, 6), shape=SHAPE)
    reading = dicom(tmp_path, affine, offsets=(0, 0.09, -0.09, 0))  # 0.5 mm, a whole pixel
    assert np.allclose(read_source(source_of(tmp_path)).affine, affine, atol=1e-6)
    write_segmentation(filled(), reading, CLASSES, tmp_path / "seg.dcm")
    (tmp_path / "worse").mkdir()
    worse = dicom(tmp_path / "worse", affine, offsets=(0, 0.11, 0, 0))
    with pytest.raises(GeometryError, match=r"has slice 1 0\.66 mm off the place"):
        write_segmentation(filled(), worse, CLASSES, tmp_path / "worse" / "seg.dcm")


def test_rows_taken_for_columns_are_noticed(tmp_path):
    reading = dicom(tmp_path, np.eye(4), shape=(5, 5, 4))
    swapped = reading.affine[:, [1, 0, 2, 3]]
    turned = type(reading)(reading.source, reading.values, swapped, reading.files)
    with pytest.raises(GeometryError, match=r"seg\.dcm: has rows or columns that run otherwise"):
        write_segmentation(filled((5, 5, 4)), turned, CLASSES, tmp_path / "seg.dcm")


def flipped_bit(written):
    written.PixelData = bytes([written.PixelData[0] ^ 1]) + written.PixelData[1:]


def moved_frame(written):
    item = written.PerFrameFunctionalGroupsSequence[1].PlanePositionSequence[0]
    item.ImagePositionPatient = [0, 0, 77]


def other_slice(written):
    item = written.PerFrameFunctionalGroupsSequence[1].DerivationImageSequence[0]
    item.SourceImageSequence[0].ReferencedSOPInstanceUID = "1.2.3"


def other_spacing(written):
    item = written.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    item.PixelSpacing = [1, 2]


CHANGES = {
    flipped_bit: "1 voxels read back with another label",
    moved_frame: r"has a frame at .*77.*, not at the place of slice",
    other_slice: r"refers to the instance 1\.2\.3",
    other_spacing: "has another orientation or pixel spacing",
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_reads_back_otherwise_does_not_get_its_name(
    tmp_path, monkeypatch, change, kind
):
    reading = dicom(tmp_path, np.eye(4))
    before, save = files_in(tmp_path), Segmentation.save_as

    def damage(written, path):
        change(written)
        save(written, path)

    monkeypatch.setattr(Segmentation, "save_as", damage)
    with pytest.raises(GeometryError, match=rf"seg\.dcm: {CHANGES[change]}"):
        write_segmentation(filled(), reading, CLASSES, tmp_path / "seg.dcm", dicom_kind=kind)
    assert files_in(tmp_path) == before
