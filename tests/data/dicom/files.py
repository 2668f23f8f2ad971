"""DICOM files with known content."""

import warnings
from pathlib import Path

import numpy as np
import pydicom
import SimpleITK as sitk  # noqa: N813
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

SERIES = "1.2.826.0.1.3680043.8.498.1"

ROWS, COLUMNS = (1.0, 0, 0), (0, 1.0, 0)
"""Directions of an axial slice: towards the left along a row, towards the back along a column."""

SPACING = (1.5, 0.8)
"""Distance of rows, then of columns, as PixelSpacing has them."""


def noise(shape=(4, 5, 6), seed=0, low=0, high=1000):
    """Give whole numbers, (columns, rows, slices)."""
    return np.random.default_rng(seed).integers(low, high, shape).astype(np.int16)


def along(count, step, start=(10.0, 20.0, 30.0)):
    """Give evenly spaced positions."""
    return [np.asarray(start) + np.asarray(step) * k for k in range(count)]


def tagged(**tags):
    """Give a data set of these tags; tuples become lists."""
    made = Dataset()
    for keyword, value in tags.items():
        setattr(made, keyword, list(value) if isinstance(value, tuple) else value)
    return made


def dataset(values, position, directions=(ROWS, COLUMNS), **tags):
    """Give a CT slice of 16-bit numbers, (columns, rows); a tag that is `None` is left out."""
    syntax = tags.pop("syntax", ExplicitVRLittleEndian)
    usual = {
        "SOPClassUID": CTImageStorage,
        "SOPInstanceUID": generate_uid(),
        "Modality": "CT",
        "SeriesInstanceUID": SERIES,
        "SeriesNumber": 2,
        "InstanceNumber": 1,
        "Columns": values.shape[0],
        "Rows": values.shape[1],
        "PixelSpacing": SPACING,
        "ImagePositionPatient": tuple(round(float(number), 6) for number in position),
        "ImageOrientationPatient": tuple(round(float(n), 12) for axis in directions for n in axis),
        "SliceThickness": 2,
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": 16,
        "BitsStored": 16,
        "HighBit": (tags.get("BitsStored") or 16) - 1,
        "PixelRepresentation": 1 if values.dtype.kind == "i" else 0,
        "PixelData": values.T.astype(values.dtype.newbyteorder("<")).tobytes(),
    }
    kept = {key: value for key, value in {**usual, **tags}.items() if value is not None}
    made = FileDataset("", tagged(**kept), file_meta=FileMetaDataset(), preamble=b"\0" * 128)
    made.file_meta.TransferSyntaxUID = syntax
    return made


def save(made, path):
    """Write a data set; give its path."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():  # of values that are wrong on purpose
        warnings.simplefilter("ignore")
        pydicom.dcmwrite(path, made, enforce_file_format=True)
    return Path(path)


def save_series(folder, volume, positions, directions=(ROWS, COLUMNS), **tags):
    """Write slices; a list among the tags has a value for each; give the paths."""
    paths = []
    for k, position in enumerate(positions):
        own = {key: value[k] if isinstance(value, list) else value for key, value in tags.items()}
        name = own.pop("file", f"{k:03d}.dcm")
        made = dataset(volume[:, :, k], position, directions, **own)
        paths.append(save(made, folder / name))
    return paths


def enhanced(volume, positions, directions=(ROWS, COLUMNS), scales=None):
    """Give an enhanced multi-frame file of the slices in the given order."""
    turn = tagged(ImageOrientationPatient=tuple(float(n) for axis in directions for n in axis))
    measures = tagged(PixelSpacing=SPACING, SliceThickness=2)
    shared = tagged(PlaneOrientationSequence=[turn], PixelMeasuresSequence=[measures])
    frames = []
    for k, position in enumerate(positions):
        place = tagged(ImagePositionPatient=tuple(float(number) for number in position))
        groups = {"PlanePositionSequence": [place]}
        if scales is not None:
            scaling = tagged(RescaleSlope=scales[k][0], RescaleIntercept=scales[k][1])
            groups["PixelValueTransformationSequence"] = [scaling]
        frames.append(tagged(**groups))
    return dataset(
        volume[:, :, 0],
        positions[0],
        SOPClassUID="1.2.840.10008.5.1.4.1.1.2.1",
        ImagePositionPatient=None,
        ImageOrientationPatient=None,
        PixelSpacing=None,
        NumberOfFrames=len(positions),
        PixelData=np.ascontiguousarray(volume.T).tobytes(),
        SharedFunctionalGroupsSequence=[shared],
        PerFrameFunctionalGroupsSequence=frames,
    )


LPS = np.diag([-1.0, -1, 1, 1])
"""Between millimetres towards right and front and those towards left and back."""


def read_by_itk(paths):
    """Read slices in a given order, or one file, by ITK; give voxels and affine."""
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames([str(path) for path in paths])
    found = reader.Execute() if len(paths) > 1 else sitk.ReadImage(str(paths[0]))
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(found.GetDirection(), (3, 3)) * np.asarray(found.GetSpacing())
    affine[:3, 3] = found.GetOrigin()
    return sitk.GetArrayFromImage(found).T, LPS @ affine
