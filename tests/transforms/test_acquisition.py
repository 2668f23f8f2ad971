"""What a scanner does to a patch, artefact by artefact."""

import pickle
from dataclasses import astuple
from math import pi, sqrt

import numpy as np
import pytest
import torch

from volseg.transforms.acquisition import (
    Acquisition,
    AcquisitionRanges,
    RandAcquisitiond,
    acquire,
    resampling,
    sample_acquisition,
)

MM = (1.0, 1.0, 1.0)


def gaussian(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def lag_one(volume, axis):
    length = volume.shape[axis]
    before, behind = volume.narrow(axis, 0, length - 1), volume.narrow(axis, 1, length - 1)
    return float((before * behind).mean() / (volume**2).mean())


def test_a_scanner_that_does_nothing_changes_nothing():
    patch = gaussian(2, 9, 10, 11)
    torch.testing.assert_close(acquire(patch, Acquisition(), MM), patch)


@pytest.mark.parametrize("width", [1.3, 2.0, 4.4, 30.0])
@pytest.mark.parametrize("phase", [0.0, 0.37, 0.99])
def test_resampling_keeps_constants(width, phase):
    down, up = resampling(24, width, phase)
    torch.testing.assert_close(down.sum(dim=1), torch.ones(len(down)))
    torch.testing.assert_close(up.sum(dim=1), torch.ones(24))


def test_resampling_keeps_ramps_away_from_the_border():
    down, up = resampling(60, 4.0, 0.3)
    ramp = torch.arange(60.0)
    torch.testing.assert_close((up @ (down @ ramp))[10:50], ramp[10:50], atol=1e-3, rtol=0)


def test_a_slice_sees_its_thickness():
    patch = torch.zeros(1, 1, 1, 66)
    patch[..., 33] = 1
    total = torch.zeros(66)
    for phase in np.linspace(0, 1, 20, endpoint=False):
        drawn = Acquisition(resolution=(0, 0, 6.5), phase=(0, 0, float(phase)))
        total += acquire(patch, drawn, MM)[0, 0, 0] / 20
    places = torch.arange(66) - 33.0
    assert float(total.sum()) == pytest.approx(1, abs=0.02)
    # A Gaussian of full width 6.5 and the triangle of linear reading, of half width 6.5.
    expected = sqrt((6.5 / 2.3548) ** 2 + 6.5**2 / 6)
    assert float((total * places**2).sum()) ** 0.5 == pytest.approx(expected, rel=0.03)


def test_slices_are_as_thick_in_mm_on_every_grid():
    patch = gaussian(1, 40, 8, 8)
    in_mm = acquire(patch, Acquisition(resolution=(6.0, 0, 0)), (1.5, 1.0, 1.0))
    in_voxels = acquire(patch, Acquisition(resolution=(4.0, 0, 0)), MM)
    torch.testing.assert_close(in_mm, in_voxels)


def test_a_width_below_the_spacing_keeps_everything():
    patch = gaussian(1, 8, 8, 8)
    seen = acquire(patch, Acquisition(resolution=(1.0, 0.5, 0.9)), MM)
    torch.testing.assert_close(seen, patch)


def test_noise_is_as_strong_as_drawn():
    patch = gaussian(1, 40, 40, 40)
    added = acquire(patch, Acquisition(noise=0.2, seed=5), MM) - patch
    # 64,000 voxels: a relative error of 0.3 %.
    assert float(added.std() / patch.std()) == pytest.approx(0.2, rel=0.012)
    assert abs(lag_one(added[0], 0)) < 0.02


def test_noise_of_thick_slices_is_smooth_across_them_and_white_within():
    patch = torch.zeros(1, 64, 64, 64)
    patch[0, 0, 0, 0] = 1000.0
    drawn = Acquisition(resolution=(4.0, 0, 0), phase=(0.5, 0.5, 0.5), noise=0.2)
    seen = acquire(patch, drawn, MM)[0, 8:-8, 8:, 8:]
    # Linear reading of white noise at 1/8, 3/8, 5/8 and 7/8 between the samples: mean products
    # 0.6055 of neighbours and 0.6563 of a voxel with itself.
    assert lag_one(seen, 0) == pytest.approx(0.6055 / 0.6563, abs=0.02)
    assert abs(lag_one(seen, 1)) < 0.02


def test_rician_noise_has_its_mean_where_there_is_no_signal():
    patch = torch.zeros(1, 40, 40, 40)
    patch[0, 0, 0, 0] = 1000.0
    noise = 0.1 * float(patch.std())
    seen = acquire(patch, Acquisition(noise=0.1, is_rician=True), MM)[0, 1:]
    assert float(seen.mean()) == pytest.approx(noise * sqrt(pi / 2), rel=0.01)
    assert float(seen.min()) >= 0


def test_a_spike_is_one_wave():
    patch = gaussian(1, 20, 24, 28)
    drawn = Acquisition(spike=0.4, wave=(3, -5, 7))
    added = (acquire(patch, drawn, MM) - patch)[0]
    spectrum = torch.fft.fftn(added).abs()
    peaks = (spectrum > 0.01 * spectrum.max()).nonzero().tolist()
    assert peaks == [[3, 24 - 5, 7], [20 - 3, 5, 28 - 7]]
    assert float(added.std() / patch.std()) == pytest.approx(0.4 / sqrt(2), rel=1e-3)


def test_ghosts_stand_at_equal_distances():
    patch = torch.zeros(1, 4, 30, 4)
    patch[0, 2, 6, 1] = 1.0
    drawn = Acquisition(motion_axis=1, ghosts=3, ghost_strength=0.1)
    seen = acquire(patch, drawn, MM)
    assert seen.nonzero()[:, 2].tolist() == [6, 16, 26]
    torch.testing.assert_close(seen[0, 2, [6, 16, 26], 1], torch.tensor([1, 0.1, 0.1]))


def test_a_moving_patient_blurs_what_changes_along_the_motion():
    steps = torch.zeros(1, 16, 16, 16)
    steps[0, :, 8:] = 1.0
    moved = acquire(steps, Acquisition(motion=2.0, motion_axis=0, motion_share=0.6), MM)
    torch.testing.assert_close(moved, steps)
    corner = steps.clone()
    corner[0, :8] = 0
    drawn = Acquisition(motion=2.0, motion_axis=0, motion_share=0.6)
    assert float((acquire(corner, drawn, MM) - corner).abs().max()) > 0.05
    still = Acquisition(motion=2.0, motion_axis=0, motion_share=0.0)
    torch.testing.assert_close(acquire(corner, still, MM), corner)


def test_a_bias_field_is_smooth_and_as_strong_as_drawn():
    patch = torch.ones(1, 32, 32, 32)
    patch[0, 0, 0, 0] = 0
    logs = []
    for seed in range(60):
        seen = acquire(patch, Acquisition(bias=0.3, seed=seed), (4.0, 4.0, 4.0))
        logs.append(seen[0, 1:].log())
    fields = torch.stack(logs)
    # 128 mm hold some 1.4 waves of 90 mm along each axis, about 20 independent values a field.
    assert float(fields.std()) == pytest.approx(0.3, rel=0.1)
    assert float(fields.diff(dim=1).abs().mean()) < 0.05


def test_a_curve_bends_the_middle_and_keeps_the_ends():
    patch = torch.linspace(-2, 2, 5).view(1, 5, 1, 1)
    seen = acquire(patch, Acquisition(gamma=2.0), MM).flatten()
    torch.testing.assert_close(seen, torch.tensor([-2, -1.75, -1, 0.25, 2]))


@pytest.mark.parametrize("seed", range(8))
def test_brightness_and_contrast_of_the_input_do_not_matter(seed):
    patch = gaussian(1, 16, 16, 16)
    drawn = sample_acquisition(np.random.RandomState(seed))
    seen = acquire(patch, drawn, MM)
    scaled = acquire(5 * patch + 3, drawn, MM)
    torch.testing.assert_close(scaled, 5 * seen + 3, atol=1e-3, rtol=1e-3)


def test_channels_move_alike_and_have_their_own_noise():
    patch = gaussian(1, 12, 12, 12).repeat(2, 1, 1, 1)
    first, second = acquire(patch, Acquisition(resolution=(3.0, 0, 0), gamma=1.3), MM)
    assert torch.equal(first, second)
    first, second = acquire(patch, Acquisition(noise=0.1), MM)
    assert not torch.equal(first, second)


def test_a_constant_patch_stays_finite():
    patch = torch.full((1, 12, 12, 12), 7.0)
    for seed in range(20):
        seen = acquire(patch, sample_acquisition(np.random.RandomState(seed)), MM)
        torch.testing.assert_close(seen, patch)


def test_artefacts_are_drawn_as_often_as_asked():
    random = np.random.RandomState(0)
    draws = [sample_acquisition(random) for _ in range(1000)]
    law = AcquisitionRanges()
    for share, count in (
        (law.slices, sum(max(each.resolution) > law.resolution for each in draws)),
        (law.bias, sum(each.bias > 0 for each in draws)),
        (law.noise, sum(each.noise > 0 for each in draws)),
        (law.ghosts, sum(each.ghosts > 0 for each in draws)),
        (law.gamma, sum(each.gamma != 1 for each in draws)),
    ):
        # Slices thinner than the coarsest resolution, a ninth of them, are not counted.
        low = share * (1000 if share != law.slices else 880)
        spread = 4 * sqrt(1000 * share * (1 - share))
        assert low - spread < count < 1000 * share + spread
    assert max(max(each.resolution) for each in draws) <= 6.5


def test_nothing_is_drawn_when_nothing_may_happen():
    never = AcquisitionRanges(
        slices=0, soft=0, bias=0, motion=0, ghosts=0, spike=0, noise=0, gamma=0
    )
    patch = gaussian(1, 6, 6, 6)
    for seed in range(5):
        drawn = sample_acquisition(np.random.RandomState(seed), never)
        torch.testing.assert_close(acquire(patch, drawn, MM), patch)


class TestTransform:
    def test_it_does_what_its_functions_do(self):
        patch = gaussian(1, 12, 12, 12)
        transform = RandAcquisitiond("image", (1.5, 1.5, 1.5)).set_random_state(3)
        done = transform({"image": patch, "label": patch})
        drawn = sample_acquisition(np.random.RandomState(3))
        assert torch.equal(done["image"], acquire(patch, drawn, (1.5, 1.5, 1.5)))
        assert done["label"] is patch

    def test_it_pickles_with_its_state_and_draws_anew(self):
        case = {"image": gaussian(1, 12, 12, 12)}
        transform = RandAcquisitiond("image").set_random_state(1)
        copy = pickle.loads(pickle.dumps(transform))
        first = transform(case)["image"]
        assert torch.equal(copy(case)["image"], first)
        assert not torch.equal(transform(case)["image"], first)

    def test_half_precision_comes_back_as_float32(self):
        done = RandAcquisitiond("image").set_random_state(0)({"image": gaussian(1, 8, 8, 8).half()})
        assert done["image"].dtype == torch.float32


def test_a_draw_is_made_of_plain_numbers():
    drawn = sample_acquisition(np.random.RandomState(0))
    flat = [x for each in astuple(drawn) for x in (each if isinstance(each, tuple) else (each,))]
    assert all(type(each) in (int, float, bool) for each in flat)
