"""A mask as a DICOM segmentation of the slices that it was made from.

highdicom writes it. Each frame lies on one of the original slices, with its position and
orientation, and refers to it. All labels are described, also those without a voxel, so that
"looked for and not found" can be told from "not looked for". The standard wants at least one frame:
an empty mask has a blank one a label, on the first slice. Voxels are stored as they are, which
every viewer reads, and no codec can fail.
"""

from pathlib import Path
from typing import Any
from warnings import catch_warnings, simplefilter

import highdicom as hd
import numpy as np
from highdicom.color import CIELabColor
from highdicom.seg import SegmentAlgorithmTypeValues, Segmentation, SegmentDescription
from highdicom.sr import CodedConcept
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.errors import InvalidDicomError
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian

from volseg import __version__
from volseg.data.headers import one_line
from volseg.data.reading import Reading
from volseg.errors import DataError, GeometryError
from volseg.inference.outputs.dicom_check import require_equal
from volseg.inference.outputs.dicom_codes import code_of
from volseg.inference.outputs.legend import Label, Legend
from volseg.inference.outputs.whole import whole_files

MAY_BE_EMPTY = (
    *("PatientID", "PatientName", "PatientBirthDate", "PatientSex"),
    *("AccessionNumber", "StudyID", "StudyDate", "StudyTime"),
)
"""What the standard lets be empty, and many files lack altogether."""

NEEDED = (
    *("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"),
    *("FrameOfReferenceUID", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"),
)
"""By what a segmentation refers to its slices and lies on them; anonymisers empty some."""

LONGEST_LABEL = 64
"""Letters of a name in DICOM's long strings."""

KINDS = ("BINARY", "LABELMAP")
"""How labels are stored: as bits, one frame a label and slice; or as values, one frame a slice."""

REFUSALS = (AttributeError, KeyError, TypeError, ValueError)
"""What highdicom raises for slices that the standard lets no segmentation refer to."""


def write_dicom_seg(
    labels: NDArray[Any], reading: Reading, legend: Legend, path: Path, kind: str = "BINARY"
) -> None:
    """Write a mask as a DICOM segmentation.

    Args:
        labels: Label of each voxel in the type to be stored, ``(X, Y, Z)``.
        reading: The DICOM series.
        legend: The labels.
        path: The file, ``*.dcm``.
        kind: ``BINARY`` or ``LABELMAP``. Segments of the first are numbered from 1 in the order of
            the values; of the second, a segment's number is its value.

    Raises:
        DataError: If the image is no DICOM series, or one that no segmentation can refer to.
        GeometryError: If what is read back differs.
    """
    if kind not in KINDS:
        raise DataError(f"{kind!r} is no kind of DICOM segmentation; use {' or '.join(KINDS)}")
    slices = _read_slices(path, reading)
    numbers = {
        label.value: index if kind == "BINARY" else label.value
        for index, label in enumerate(legend, start=1)
    }
    table = np.zeros(legend[-1].value + 1, dtype=labels.dtype)
    table[list(numbers)] = list(numbers.values())
    frames = labels if all(table == np.arange(len(table))) else _renumber(labels, table)
    segments = [_describe(label, numbers[label.value]) for label in legend]
    try:
        with catch_warnings():  # a one-word name of a patient is nothing that a user could mend
            simplefilter("ignore", UserWarning)
            segmentation = _build(frames, slices, segments, kind)
    except REFUSALS as error:
        name = reading.source.name
        raise DataError(
            f"{name}: no DICOM segmentation fits its slices ({one_line(error)})"
        ) from error
    with whole_files(path) as (partial,):
        segmentation.save_as(partial)
        del segmentation
        try:
            require_equal(partial, frames, reading, slices)
        except GeometryError as error:
            raise GeometryError(f"{path}: {error}") from error


def _read_slices(path: Path, reading: Reading) -> list[Dataset]:
    """Read the headers of the slices, in the order of the mask's last axis."""
    if reading.source.format != "dicom":
        raise DataError(
            f"{path}: a DICOM segmentation refers to DICOM slices, and {reading.source.name} is"
            f" {reading.source.format}; write .nii.gz or .seg.nrrd"
        )
    if len(reading.files) != reading.values.shape[2]:
        raise DataError(
            f"{reading.source.name}: has {reading.values.shape[2]} slices in"
            f" {len(reading.files)} files; a DICOM segmentation needs one file a slice"
        )
    slices = [_read_header(file) for file in reading.files]
    for header in slices:  # the standard asks a segmentation for it, though not every image
        header.SliceThickness = header.get("SliceThickness") or _step(reading)
    if len({header.SOPInstanceUID for header in slices}) < len(slices):
        raise DataError(f"{reading.source.name}: has slices with the same SOPInstanceUID")
    return slices


def _step(reading: Reading) -> float:
    """Give the distance between slices in mm, with the few digits that DICOM holds."""
    return float(f"{np.linalg.norm(reading.affine[:3, 2]):.8g}")


def _read_header(file: Path) -> Dataset:
    try:
        header = dcmread(file, stop_before_pixels=True)
    except InvalidDicomError as error:
        raise DataError(f"{file}: is no DICOM file any more") from error
    if int(header.get("NumberOfFrames") or 1) > 1:
        raise DataError(
            f"{file}: holds {header.NumberOfFrames} frames, and a DICOM segmentation needs one file"
            " a slice; write .nii.gz or .seg.nrrd"
        )
    missing = [keyword for keyword in NEEDED if not header.get(keyword)]
    if missing:
        raise DataError(
            f"{file}: has no {', '.join(missing)}, by which a DICOM segmentation refers to its"
            " slices; write .nii.gz or .seg.nrrd"
        )
    for keyword in MAY_BE_EMPTY:
        if keyword not in header:
            setattr(header, keyword, None)
    return header


def _renumber(labels: NDArray[Any], table: NDArray[Any]) -> NDArray[Any]:
    renumbered = np.empty_like(labels)
    for before, after in zip(labels.T, renumbered.T, strict=True):  # an index takes 64 bits a voxel
        after[...] = table[before]
    return renumbered


def _describe(label: Label, number: int) -> SegmentDescription:
    coding = code_of(label.name)
    description = SegmentDescription(
        segment_number=number,
        segment_label=label.name.replace("\\", "/")[:LONGEST_LABEL],
        segmented_property_category=coding.category,
        segmented_property_type=coding.kind,
        algorithm_type=SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=hd.AlgorithmIdentificationSequence(
            name="volseg", version=__version__, family=codes.DCM.ArtificialIntelligence
        ),
        display_color=CIELabColor.from_rgb(*label.color),
    )
    if coding.side is not None:
        kind = description.SegmentedPropertyTypeCodeSequence[0]
        kind.SegmentedPropertyTypeModifierCodeSequence = [CodedConcept.from_code(coding.side)]
    return description


def _build(
    frames: NDArray[Any], slices: list[Dataset], segments: list[SegmentDescription], kind: str
) -> Segmentation:
    first = slices[0]
    pixels, positions = frames.transpose(2, 1, 0), None
    if not frames.any():  # highdicom would write every frame of every segment, all blank
        pixels = pixels[:1]
        positions = [hd.PlanePositionSequence("PATIENT", first.ImagePositionPatient)]
    return Segmentation(
        source_images=slices,
        pixel_array=pixels,
        segmentation_type=kind,
        segment_descriptions=segments,
        series_instance_uid=hd.UID(),
        series_number=100 * int(first.get("SeriesNumber") or 0) + 1,
        sop_instance_uid=hd.UID(),
        instance_number=1,
        manufacturer="volseg",
        manufacturer_model_name="volseg",
        software_versions=__version__,
        device_serial_number="none",
        content_label="SEGMENTATION",
        content_description="Segmentation by volseg",
        series_description="volseg segmentation",
        transfer_syntax_uid=ExplicitVRLittleEndian,
        plane_positions=positions,
        omit_empty_frames=positions is None,
        specific_character_set="ISO_IR 192",
    )
