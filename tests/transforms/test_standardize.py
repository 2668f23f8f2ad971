"""Tissue ends at mean 0 and standard deviation 1, whatever air surrounds it."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from monai.bundle import ConfigParser
from monai.data import MetaTensor

from volseg.errors import DataError
from volseg.transforms.standardize import (
    StandardizeTissued,
    standardize_tissue,
    tissue_threshold,
)


def head(size=24, air=6, noise=0.0, seed=0):
    """Make a cube of tissue of 90, 100 or 110 in noisy air."""
    random = np.random.default_rng(seed)
    tissue = 100 + 10 * random.integers(-1, 2, (size,) * 3)
    volume = noise * np.abs(random.normal(0, 1, (size + 2 * air,) * 3))
    inside = slice(air, air + size)
    volume[inside, inside, inside] = tissue
    return torch.from_numpy(volume)


def tissue_of(volume, air=6):
    inside = slice(air, volume.shape[0] - air)
    return volume[inside, inside, inside]


def test_tissue_gets_mean_0_and_deviation_1():
    tissue = tissue_of(standardize_tissue(head()))
    assert float(tissue.mean()) == pytest.approx(0, abs=0.02)
    assert float(tissue.std()) == pytest.approx(1, abs=0.02)


def test_air_noise_changes_nothing():
    quiet, noisy = (standardize_tissue(head(noise=noise)) for noise in (0.0, 5.0))
    torch.testing.assert_close(tissue_of(quiet), tissue_of(noisy), atol=0.02, rtol=0)


def test_more_air_changes_nothing():
    near, far = (standardize_tissue(head(air=air)) for air in (6, 18))
    # The larger volume is read at every second voxel: 12^3 of tissue, whose mean errs by 0.024.
    torch.testing.assert_close(tissue_of(near), tissue_of(far, 18), atol=0.1, rtol=0)


@given(gain=st.floats(1e-3, 1e4), offset=st.floats(-1e3, 1e3))
def test_the_unit_of_the_scanner_does_not_matter(gain, offset):
    volume = head(size=8, air=3)
    found = standardize_tissue(volume * gain + offset)
    torch.testing.assert_close(found, standardize_tissue(volume), atol=2e-3, rtol=0)


def test_the_threshold_lies_half_way_between_the_means():
    values = torch.tensor([0.0, 1.0, 2.0, 20.0, 21.0, 22.0])
    assert tissue_threshold(values) == pytest.approx((1 + 21) / 2, rel=1e-3)


def test_a_few_vessels_as_bright_as_a_lamp_do_not_set_the_scale():
    volume = head()
    bright = volume.clone()
    bright[12, 12, 12:20] = 50_000
    others = bright < 50_000
    found, expected = (standardize_tissue(each)[others] for each in (bright, volume))
    torch.testing.assert_close(found, expected, atol=0.05, rtol=0)


def test_what_has_no_spread_becomes_zeros():
    assert not standardize_tissue(torch.full((5, 5, 5), 7.0)).any()
    assert not standardize_tissue(torch.full((5, 5, 5), torch.nan)).any()


def test_voxels_that_are_not_finite_take_the_minimum():
    volume = head()
    broken = volume.clone()
    broken[0, 0, 0] = torch.nan
    broken[0, 0, 1] = -torch.inf
    torch.testing.assert_close(standardize_tissue(broken), standardize_tissue(volume))


def test_metadata_stay_and_settings_build_an_equal_normaliser():
    normalizer = StandardizeTissued(["image"], upper=99.0)
    image = MetaTensor(head()[None], affine=2 * torch.eye(4, dtype=torch.float64))
    found = normalizer({"image": image, "other": 1})
    assert torch.equal(found["image"].affine, image.affine)
    assert found["image"].dtype == torch.float32
    again = ConfigParser(normalizer.settings()).get_parsed_content("")
    assert torch.equal(again({"image": image})["image"], found["image"])


def test_a_percentile_outside_0_to_100_is_refused():
    with pytest.raises(DataError, match="percentile is 0; use one above 0"):
        StandardizeTissued(["image"], upper=0)


@pytest.mark.real
def test_a_real_brain_keeps_its_scale_with_and_without_its_head(shared_data):
    import nibabel as nib

    folder = shared_data / "brain_mri" / "TCGA-DU-7294"
    values = nib.load(folder / "TCGA-DU-7294_t1.nii.gz").get_fdata()[::2, ::2, ::2]
    image = torch.from_numpy(values.clip(0))
    noisy = torch.where(image > 0, image, 15 * torch.rand(image.shape, dtype=torch.float64))
    brain = image > 200
    first, second = (standardize_tissue(each)[brain] for each in (image, noisy))
    assert float((first - second).abs().mean()) < 0.05
