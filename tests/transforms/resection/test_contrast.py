"""Parts are as bright as the table says, on any scale of intensity."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from volseg.errors import DataError
from volseg.transforms.resection.contrast import (
    CONTRASTS,
    draw_places,
    mix_palette,
    recognise,
)
from volseg.transforms.resection.statistics import TissueStatistics


def tissues(fluid, grey, white):
    levels = ((each, 5.0) for each in (fluid, grey, white))
    return TissueStatistics(*levels, low=0.0, high=300.0, skull=20.0, noise=4.0, lag1=(0, 0, 0))


T1, T2, FLAIR = tissues(30, 100, 150), tissues(250, 120, 80), tissues(20, 110, 90)
MIDDLE = dict.fromkeys(draw_places(0), 0.5)


def rescale(scale, slope, shift):
    levels = {
        name: (slope * getattr(scale, name)[0] + shift, slope * getattr(scale, name)[1])
        for name in ("fluid", "grey", "white")
    }
    ends = {name: slope * getattr(scale, name) + shift for name in ("low", "high", "skull")}
    return replace(scale, **levels, **ends)


@given(
    contrast=st.sampled_from([each for each in CONTRASTS if each != "CT"]),
    slope=st.floats(0.01, 50),
    shift=st.floats(-500, 500),
    seed=st.integers(0, 2**62),
)
def test_a_palette_follows_the_unit_of_the_scan(contrast, slope, shift, seed):
    places = draw_places(seed)
    plain = mix_palette(contrast, T1, places).levels
    other = mix_palette(contrast, rescale(T1, slope, shift), places).levels
    for part, level in plain.items():
        assert other[part] == pytest.approx(
            slope * level + shift, rel=1e-6, abs=1e-6 * slope + 1e-6
        )


@pytest.mark.parametrize("contrast", ["T1", "T1c", "T2", "FLAIR", "PD"])
@given(seed=st.integers(0, 2**62))
def test_fluid_stays_near_that_of_the_ventricles(contrast, seed):
    # At most 15 % of the way to grey matter, or 10 % of that to white matter.
    level = mix_palette(contrast, T1, draw_places(seed)).levels["fluid"]
    assert 30 <= level <= 30 + 0.1 * (150 - 30)


def test_blood_is_isointense_on_early_t1_and_bright_on_later():
    assert mix_palette("T1", T1, MIDDLE).levels["clot"] == pytest.approx(100)
    assert mix_palette("T1", T1, MIDDLE, "subacute").levels["clot"] == pytest.approx(1.4 * 150)


def test_blood_is_dark_on_early_t2():
    assert mix_palette("T2", T2, MIDDLE).levels["clot"] == pytest.approx(0.45 * 250)


@given(contrast=st.sampled_from(["T1", "T1c", "T2", "FLAIR", "PD", "unknown"]))
def test_at_an_unknown_stage_blood_and_gliosis_have_any_brightness(contrast):
    low, high = (
        mix_palette(contrast, FLAIR, dict.fromkeys(MIDDLE, place), "unknown").levels
        for place in (0.0, 1.0)
    )
    assert [low["clot"], high["clot"]] == pytest.approx([0.1 * 300, 1.1 * 300])
    assert low["gliosis"] > 90  # white matter
    assert high["gliosis"] == pytest.approx(20)  # fluid
    assert 20 - 8 <= low["protein"] < high["protein"] < 90


def test_on_ct_blood_has_hounsfield_units_at_an_unknown_stage_too():
    scale = tissues(8, 38, 28)
    assert mix_palette("CT", scale, MIDDLE, "unknown") == mix_palette("CT", scale, MIDDLE, "early")


def test_gliosis_is_dark_on_t1_and_bright_on_t2_and_flair():
    assert mix_palette("T1", T1, MIDDLE).levels["gliosis"] == pytest.approx(0.775 * 150)
    assert 80 < mix_palette("T2", T2, MIDDLE).levels["gliosis"] < 250
    assert mix_palette("FLAIR", FLAIR, MIDDLE).levels["gliosis"] == pytest.approx(1.65 * 90)


def test_only_a_contrast_agent_enhances():
    shows = [each for each in CONTRASTS if "enhancement" in mix_palette(each, T1, MIDDLE).levels]
    assert shows == ["T1c"]


def test_computed_tomography_is_in_hounsfield_units():
    levels = mix_palette("CT", T1, MIDDLE).levels
    assert levels["air"] == pytest.approx(-990)
    assert levels["clot"] == pytest.approx(65)
    assert 0 < levels["fluid"] < 20
    assert levels["plate"] > 2000


@pytest.mark.parametrize(
    ("scale", "contrast"), [(T1, "T1"), (T2, "T2"), (FLAIR, "FLAIR"), (tissues(90, 60, 120), "PD")]
)
def test_an_unknown_contrast_reads_as_the_order_of_its_tissues(scale, contrast):
    assert recognise(scale) == contrast
    assert mix_palette("unknown", scale, MIDDLE) == mix_palette(contrast, scale, MIDDLE)


def test_an_unheard_of_contrast_is_refused():
    with pytest.raises(DataError, match=r"contrast 'DWI' is not known; use one of T1, T1c"):
        mix_palette("DWI", T1, MIDDLE)
