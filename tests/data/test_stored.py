"""New intensities are stored as the scan stores its own."""

import nibabel as nib
import numpy as np
import pytest

from tests.data.files import save
from volseg.data.geometry import SPATIAL_FIELDS
from volseg.data.headers import read_raw_header
from volseg.data.stored import write_floating, write_like
from volseg.data.volumes import read_volume
from volseg.errors import GeometryError

AFFINE = np.array([[-0.9, 0.1, 0, 90], [0.1, 0.9, 0.05, -80], [0, -0.05, 2.4, -30], [0, 0, 0, 1.0]])


def store(path, values, slope=1.0, inter=0.0, codes=(2, 1)):
    """Write a volume whose header scales it."""
    image = nib.Nifti1Image(values, AFFINE)
    image.header.set_slope_inter(slope, inter)
    image.set_sform(AFFINE, code=codes[0])
    image.set_qform(AFFINE, code=codes[1], strip_shears=True)
    nib.save(image, path)
    return path


@pytest.mark.parametrize("dtype", [np.uint8, np.int16])
def test_scaled_whole_numbers_are_rounded_to_their_steps_and_held_in_range(tmp_path, dtype):
    stored = np.arange(60, dtype=dtype).reshape(3, 4, 5)
    source = store(tmp_path / "scan.nii.gz", stored, slope=6.5, inter=-10.0)
    values = read_volume(source)[0].astype(np.float32)
    highest = np.iinfo(dtype).max
    values[0, 0, 0] = 6.5 * 7 - 10 - 3.0  # nearest to step 7
    values[0, 0, 1] = 1e7
    values[0, 0, 2] = -1e7
    write_like(tmp_path / "out.nii.gz", values, source)
    made = nib.load(tmp_path / "out.nii.gz")
    assert made.get_data_dtype() == dtype
    assert (made.dataobj.slope, made.dataobj.inter) == (6.5, -10.0)
    raw = made.dataobj.get_unscaled()
    assert raw[0, 0, :3].tolist() == [7, highest, np.iinfo(dtype).min]
    np.testing.assert_array_equal(raw.ravel()[3:], stored.ravel()[3:])


@pytest.mark.parametrize("dtype", [">f4", "<f4", "<f8"])
def test_floats_stay_floats_and_those_that_did_not_change_keep_every_bit(tmp_path, dtype):
    source = store(tmp_path / "scan.nii.gz", np.linspace(0, 1, 60).reshape(3, 4, 5).astype(dtype))
    before = read_volume(source)[0]
    values = before.astype(np.float32)
    values[1, 2, 3] = 7.5
    write_like(tmp_path / "out.nii.gz", values, source)
    after = read_volume(tmp_path / "out.nii.gz")[0]
    assert after[1, 2, 3] == 7.5
    assert np.argwhere(after != before).tolist() == [[1, 2, 3]]
    assert nib.load(tmp_path / "out.nii.gz").get_data_dtype().itemsize == np.dtype(dtype).itemsize


@pytest.mark.parametrize("codes", [(2, 1), (1, 0), (0, 1)])
def test_the_header_says_of_space_what_the_scan_says(tmp_path, codes):
    source = store(tmp_path / "scan.nii.gz", np.ones((3, 4, 5), np.float32), codes=codes)
    for write in (write_like, write_floating):
        write(tmp_path / "out.nii.gz", np.ones((3, 4, 5), np.float32), source)
        ours, theirs = (
            read_raw_header(nib.load(path)) for path in (tmp_path / "out.nii.gz", source)
        )
        for name in SPATIAL_FIELDS:
            part = slice(4) if name == "pixdim" else slice(None)
            np.testing.assert_array_equal(ours[name].ravel()[part], theirs[name].ravel()[part])


def test_values_of_another_grid_are_refused(tmp_path):
    source = save(tmp_path / "scan.nii.gz", np.ones((3, 4, 5), np.float32))
    with pytest.raises(GeometryError, match=r"is \(3, 4, 6\) voxels"):
        write_like(tmp_path / "out.nii.gz", np.ones((3, 4, 6), np.float32), source)
