"""Real series are read as other programs read them."""

import numpy as np
import pytest

from tests.data.dicom.files import read_by_itk
from volseg.data.dicom.volume import read_series


@pytest.mark.real
@pytest.mark.parametrize(
    ("folder", "count"),
    [("torchio_head", 17), ("sts_008_MR_T1/image", 28), ("totalsegmentator_ct_jpeg2000", 20)],
)
def test_real_series_are_as_itk_reads_them(shared_data, folder, count):
    paths = sorted((shared_data / "dicom" / folder).iterdir())
    assert len(paths) == count
    values, stack, warnings = read_series(paths)
    found, affine = read_by_itk([plane.file for plane in stack.planes])
    assert np.array_equal(values, found)
    assert np.abs(affine - stack.affine).max() < 1e-4
    assert warnings == []


@pytest.mark.real
def test_a_real_compressed_ct_lies_under_its_segmentation(shared_data):
    paths = list((shared_data / "dicom" / "totalsegmentator_ct_jpeg2000").iterdir())
    values, stack, _ = read_series(paths)
    labels, affine = read_by_itk(
        [shared_data / "dicom" / "totalsegmentator_ct_jpeg2000_seg_total.nii.gz"]
    )
    flipped = stack.affine @ np.array(
        [[1, 0, 0, 0], [0, -1, 0, values.shape[1] - 1], [0, 0, 1, 0], [0, 0, 0, 1]]
    )
    assert values.shape == labels.shape
    assert np.allclose(flipped, affine, rtol=0, atol=1e-3)
    bone = np.isin(labels[:, ::-1], range(26, 51))  # vertebrae of the total segmentation
    assert values[bone].mean() > values[labels[:, ::-1] == 5].mean() > -100  # 5: liver


@pytest.mark.real
def test_a_real_mri_equals_the_nifti_that_was_made_of_it(shared_data):
    paths = list((shared_data / "dicom" / "sts_008_MR_T1" / "image").iterdir())
    values, stack, _ = read_series(paths)
    found, affine = read_by_itk(
        [shared_data / "Dataset901_SarcomaMR" / "imagesTr" / "sts_008_0000.nii.gz"]
    )
    assert np.array_equal(values, found)
    assert np.allclose(stack.affine, affine, rtol=0, atol=1e-3)
