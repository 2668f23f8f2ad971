"""Intensities end on a scale that does not depend on the scanner's."""

import json
import logging

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from monai.bundle import ConfigParser
from monai.data import MetaTensor

from volseg.errors import DataError
from volseg.transforms.intensity import (
    NormalizeForegroundd,
    ReplaceNonFinited,
    ScaleWindowd,
    normalize_foreground,
    replace_non_finite,
)

NAN, INFINITY = float("nan"), float("inf")


def noise(seed=0, shape=(6, 7, 8)):
    """Give a volume of positive noise."""
    values = np.random.default_rng(seed).gamma(2.0, 50.0, shape).astype(np.float32)
    return torch.from_numpy(values)


def test_the_foreground_ends_with_mean_zero_and_deviation_one():
    result = normalize_foreground(noise(), 0, 100)
    foreground = result[noise() > noise().min()]
    # 336 voxels in 32-bit: the mean is exact to about 1e-7
    assert float(foreground.mean()) == pytest.approx(0, abs=1e-6)
    assert float(foreground.std(correction=0)) == pytest.approx(1, abs=1e-6)


def test_a_worked_example():
    # the minimum, 0, is background; 1, 3, 5 have mean 3 and variance 8/3
    volume = torch.tensor([0.0, 1.0, 3.0, 5.0]).reshape(1, 1, 4)
    scale = (8 / 3) ** 0.5
    expected = torch.tensor([1 - 3, 1 - 3, 0, 2]) / scale  # 0 is cut at the lowest of 1, 3, 5
    assert torch.allclose(normalize_foreground(volume, 0, 100).flatten(), expected)


def test_intensities_are_cut_at_the_percentiles_of_the_foreground():
    values = torch.arange(102.0)  # foreground 1 to 101: the 10th and 90th percentiles are 11 and 91
    result = normalize_foreground(values.reshape(1, 1, -1), 10, 90).flatten()
    assert torch.equal(result[:12], result[11].expand(12))
    assert torch.equal(result[91:], result[91].expand(11))
    assert (result[11:92].diff() > 0).all()


@given(factor=st.sampled_from([1e-3, 0.5, 7.0, 1e4]), offset=st.sampled_from([-500.0, 0.0, 3.0]))
def test_gain_and_offset_of_the_scanner_do_not_matter(factor, offset):
    volume = noise().double()
    moved = normalize_foreground(volume * factor + offset)
    # in 64 bits the gain costs about 1e-12 at worst; the result is rounded to 32
    assert torch.allclose(moved, normalize_foreground(volume), atol=1e-5)


def test_the_amount_of_background_does_not_matter():
    volume = noise()
    padded = torch.nn.functional.pad(volume, (5, 5, 5, 5, 5, 5), value=float(volume.min()))
    inner = normalize_foreground(padded)[5:-5, 5:-5, 5:-5]
    assert torch.allclose(inner, normalize_foreground(volume), atol=1e-6)


@pytest.mark.parametrize("value", [0.0, 5.0, -3e8])
def test_a_constant_volume_becomes_zeros(value):
    assert torch.equal(normalize_foreground(torch.full((2, 3, 4), value)), torch.zeros(2, 3, 4))


def test_a_foreground_of_one_value_becomes_zeros():
    volume = torch.tensor([0.0, 7.0, 7.0, 0.0]).reshape(1, 2, 2)
    assert not normalize_foreground(volume).any()


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int64, torch.float16])
def test_the_stored_type_does_not_matter(dtype):
    volume = torch.arange(60).reshape(3, 4, 5)
    result = normalize_foreground(volume.to(dtype))
    assert result.dtype == torch.float32
    assert torch.equal(result, normalize_foreground(volume.float()))


def test_non_finite_voxels_take_the_minimum_and_leave_the_others_alone():
    volume = noise()
    spoiled = volume.clone()
    lowest = int(volume.argmin())
    places = [place for place in (3, 100, 200) if place != lowest]
    spoiled.view(-1)[places] = torch.tensor([NAN, INFINITY, -INFINITY])[: len(places)]
    clean = volume.clone()
    clean.view(-1)[places] = volume.min()
    assert torch.equal(normalize_foreground(spoiled), normalize_foreground(clean))
    assert not normalize_foreground(torch.full((2, 2, 2), NAN)).any()


def test_channels_are_normalised_apart():
    volume = torch.stack([noise(0), 1000 * noise(1)])
    result = NormalizeForegroundd("image")({"image": volume})["image"]
    assert torch.equal(result[0], normalize_foreground(volume[0]))
    assert torch.equal(result[1], normalize_foreground(volume[1]))


def test_metadata_and_other_items_stay():
    affine = torch.diag(torch.tensor([2.0, 2, 3, 1], dtype=torch.float64))
    case = {"image": MetaTensor(noise()[None], affine=affine), "name": "a"}
    for transform in (NormalizeForegroundd("image"), ScaleWindowd("image", 0, 500)):
        result = transform(case)
        assert torch.equal(result["image"].affine, affine)
        assert result["name"] == "a"
        assert torch.equal(case["image"].as_tensor(), noise()[None])


@pytest.mark.parametrize(("lower", "upper"), [(5, 5), (-1, 99), (0, 101), (99, 1)])
def test_percentiles_that_leave_nothing_are_refused(lower, upper):
    with pytest.raises(DataError, match=r"use 0 <= lower < upper <= 100"):
        NormalizeForegroundd("image", lower, upper)


def test_a_window_maps_its_ends_to_zero_and_one_and_non_finite_to_zero():
    volume = torch.tensor([-INFINITY, NAN, -2000, -1000, 0, 1000, 3000, INFINITY])
    result = ScaleWindowd("image", -1000, 1000)({"image": volume})["image"]
    assert result.tolist() == [0, 0, 0, 0, 0.5, 1, 1, 0]
    assert result.dtype == torch.float32


def test_an_empty_window_is_refused():
    with pytest.raises(DataError, match="window is 40 to 40"):
        ScaleWindowd("image", 40, 40)


@pytest.mark.parametrize(
    "transform", [NormalizeForegroundd(["image"], 1, 99), ScaleWindowd("image", -160, 240)]
)
def test_the_settings_are_a_config_of_an_equal_normaliser(transform):
    config = json.loads(json.dumps(transform.settings()))
    again = ConfigParser({"it": config}).get_parsed_content("it")
    assert type(again) is type(transform)
    assert again.settings() == transform.settings()
    case = {"image": noise()[None] - 100}
    assert torch.equal(again(case)["image"], transform(case)["image"])


def test_replaced_voxels_are_counted_in_a_warning_that_names_the_file(caplog):
    volume = MetaTensor(noise()[None], meta={"filename_or_obj": "a/b.nii.gz"})
    volume[0, 0, 0, :3] = torch.tensor([NAN, INFINITY, -INFINITY])
    with caplog.at_level(logging.WARNING, logger="volseg"):
        result = ReplaceNonFinited("image")({"image": volume})["image"].as_tensor()
    rest = noise().flatten()[3:]
    assert torch.equal(result.flatten()[3:], rest)
    assert result.flatten()[:3].tolist() == [float(rest.min())] * 3
    assert "a/b.nii.gz: 3 voxels are NaN or infinite" in caplog.text


def test_a_finite_volume_passes_without_a_word(caplog):
    case = {"image": noise()[None]}
    assert ReplaceNonFinited("image")(case)["image"] is case["image"]
    assert not caplog.records


def test_a_volume_that_is_mostly_lost_is_refused():
    volume = torch.full((2, 2, 2), NAN)
    volume[0] = 1
    assert torch.equal(replace_non_finite(volume), torch.ones(2, 2, 2))  # half may be lost
    volume[0, 0, 0] = INFINITY
    with pytest.raises(DataError, match=r"scan\.nii: 62% of the voxels are NaN"):
        replace_non_finite(volume, "scan.nii")
