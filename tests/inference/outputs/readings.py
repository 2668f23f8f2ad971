"""Images of each format on any grid, and masks for them."""

from pathlib import Path

import nibabel as nib
import numpy as np
import SimpleITK as sitk  # noqa: N813 - the name that its own documentation uses
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from volseg.data.reading import Reading, Source, read_source, source_of

SHAPE = (5, 6, 4)

CLASSES = {0: "background", 1: "liver", 2: "tumour"}

FLIP = np.diag([-1.0, -1.0, 1.0, 1.0])


def mask(shape=SHAPE, seed=0, values=(0, 1, 2)):
    """Give a mask of random labels."""
    chosen = np.random.default_rng(seed).choice(values, shape)
    return chosen.astype(np.uint8 if max(values) < 256 else np.uint16)


def nifti(folder, affine, shape=SHAPE, codes=(1, 1)):
    """Write a NIfTI image whose codes are those of sform and qform; give its reading."""
    image = nib.Nifti1Image(np.zeros(shape, np.int16), affine)
    image.header.set_sform(affine if codes[0] else None, codes[0])
    image.header.set_qform(affine if codes[1] else None, codes[1])
    nib.save(nib.Nifti1Image(image.dataobj, None, image.header), folder / "image.nii.gz")
    return read_source(source_of(folder / "image.nii.gz"))


def nrrd(folder, affine, shape=SHAPE, ending=".nrrd"):
    """Write an NRRD or MetaImage; give its reading."""
    image = sitk.GetImageFromArray(np.zeros(shape[::-1], np.int16))
    edges = np.linalg.norm(affine[:3, :3], axis=0)
    image.SetSpacing(edges)
    image.SetDirection((FLIP @ affine)[:3, :3].__truediv__(edges).ravel())
    image.SetOrigin((FLIP @ affine)[:3, 3])
    sitk.WriteImage(image, str(folder / f"image{ending}"))
    return read_source(source_of(folder / f"image{ending}"))


def header(affine, shape, uids):
    """Give what all slices of a series say."""
    matrix = FLIP @ affine
    edges = np.linalg.norm(matrix[:3, :2], axis=0)
    study, series, frame = uids
    return {
        "SOPClassUID": CTImageStorage,
        "Modality": "CT",
        "StudyInstanceUID": study,
        "SeriesInstanceUID": series,
        "FrameOfReferenceUID": frame,
        "PatientName": "Doe^Jane",
        "PatientID": "1",
        "SeriesNumber": 3,
        "Columns": shape[0],
        "Rows": shape[1],
        "ImageOrientationPatient": [*(matrix[:3, :2] / edges).T.ravel().round(12)],
        "PixelSpacing": [*edges[::-1].round(12)],
        "SliceThickness": 1,
        "SamplesPerPixel": 1,
        "PixelRepresentation": 1,
        "BitsAllocated": 16,
        "BitsStored": 16,
        "HighBit": 15,
        "PhotometricInterpretation": "MONOCHROME2",
        "PixelData": np.arange(shape[0] * shape[1], dtype="<i2").tobytes(),
    }


def dicom(folder, affine, shape=SHAPE, offsets=None, **changes):
    """Write a DICOM series with changes to its headers, `None` to leave one out; read it.

    Offsets are those of each slice along the third axis, in slices.
    """
    uids, files = [generate_uid() for _ in range(3)], []
    for index in range(shape[2]):
        offset = offsets[index] if offsets else 0
        place = (FLIP @ affine @ [0, 0, index + offset, 1])[:3]
        own = {
            "ImagePositionPatient": [float(f"{value:.10g}") for value in place],
            "SOPInstanceUID": generate_uid(),
            "InstanceNumber": index + 1,
        }
        dataset, meta = Dataset(), FileMetaDataset()
        for keyword, value in {**header(affine, shape, uids), **own, **changes}.items():
            if value is not None:
                setattr(dataset, keyword, value)
        meta.update({"TransferSyntaxUID": ExplicitVRLittleEndian})
        meta.update({"MediaStorageSOPClassUID": CTImageStorage})
        meta.update({"MediaStorageSOPInstanceUID": own["SOPInstanceUID"]})
        dataset.file_meta = meta
        files.append(folder / f"{index}.dcm")
        dataset.save_as(files[-1], enforce_file_format=True)
    values = np.zeros(shape, np.int16)
    return Reading(Source("series", tuple(files), "dicom"), values, affine, tuple(files))


def files_in(folder: Path):
    """Give the names of all files in a folder, hidden ones too."""
    return sorted(path.name for path in folder.iterdir())
