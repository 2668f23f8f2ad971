"""What blending windows must do, against a slow version and against MONAI."""

from itertools import pairwise, product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor
from monai.inferers import Inferer, SlidingWindowInferer

from volseg.errors import GeometryError
from volseg.inference.sliding_window import SlidingWindow
from volseg.inference.window_axes import axis_weights, window_starts

LENGTHS = st.tuples(st.integers(1, 40), st.integers(1, 20), st.sampled_from([0, 0.25, 0.5, 0.9]))


def position_network(windows):
    """Give logits that depend on the place inside the window, so that blending matters."""
    ramp = torch.arange(windows.shape[2], dtype=windows.dtype)[:, None, None]
    return torch.cat([windows.sum(1, keepdim=True) + ramp, windows[:, :1] * ramp], dim=1)


def blend_slowly(volume, network, roi, starts):
    """Blend with full weight volumes and a count map, one window at a time."""
    axes = []
    for window in roi:
        places = torch.arange(window, dtype=torch.float64) - (window - 1) / 2
        axes.append(torch.exp(-(places**2) / (2 * (window / 8) ** 2)).clamp(min=0.1))
    weight = torch.einsum("i,j,k->ijk", *axes)
    total, count = 0, torch.zeros(volume.shape[2:], dtype=torch.float64)
    total = torch.zeros(1, 2, *volume.shape[2:], dtype=torch.float64)
    for corner in product(*starts):
        box = tuple(slice(a, a + b) for a, b in zip(corner, roi, strict=True))
        total[(slice(None), slice(None), *box)] += weight * network(volume[(..., *box)])
        count[box] += weight
    return total / count


@given(LENGTHS)
def test_windows_cover_the_axis_and_overlap_at_least_as_asked(lengths):
    extra, window, overlap = lengths
    length = window + extra - 1
    starts = window_starts(length, window, overlap)
    steps = [after - before for before, after in pairwise(starts)]
    assert starts[0] == 0
    assert starts[-1] + window == length
    assert all(0 < step <= max(1, int(window * (1 - overlap))) for step in steps)


@given(LENGTHS)
def test_weights_of_an_axis_sum_to_one_at_every_voxel(lengths):
    extra, window, overlap = lengths
    length = window + extra - 1
    starts = window_starts(length, window, overlap)
    total = torch.zeros(length)
    for start, weight in zip(starts, axis_weights(length, window, starts), strict=True):
        assert (weight > 0).all()
        total[start : start + window] += weight
    assert torch.allclose(total, torch.ones(length), atol=1e-6)


@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_blend_equals_a_slow_version_with_a_count_map(batch_size):
    volume = torch.randn(1, 2, 11, 9, 6, generator=torch.Generator().manual_seed(0))
    volume = volume.double()
    blended = SlidingWindow((5, 4, 6), 0.5, batch_size)(volume, position_network)
    # by hand: 11 voxels, windows of 5, steps of at most 2; 9 of 4 by 2: 2.5 rounds to even
    starts = ([0, 2, 4, 6], [0, 2, 3, 5], [0])
    expected = blend_slowly(volume, position_network, (5, 4, 6), starts)
    assert torch.allclose(blended, expected, atol=1e-5)


@settings(max_examples=20, deadline=None)
@given(
    size=st.tuples(*[st.integers(1, 12)] * 3),
    overlap=st.sampled_from([0.0, 0.3, 0.5, 0.75]),
    batch_size=st.integers(1, 5),
)
def test_a_voxelwise_network_is_left_unchanged_and_equals_monai(size, overlap, batch_size):
    volume = torch.randn(2, 1, *size, generator=torch.Generator().manual_seed(1))

    def affine(windows):
        return torch.cat([windows, 2 - 3 * windows], dim=1)

    blended = SlidingWindow((4, 5, 6), overlap, batch_size)(volume, affine)
    monai = SlidingWindowInferer((4, 5, 6), batch_size, overlap, mode="gaussian")(volume, affine)
    assert torch.allclose(blended, affine(volume), atol=1e-5)
    assert torch.allclose(blended, monai, atol=1e-5)


def test_a_convolution_equals_monai_where_every_window_sees_its_whole_field():
    # One window is the whole volume: no blending, and padding is the network's own.
    network = torch.nn.Conv3d(1, 2, 3, padding=1)
    volume = torch.randn(1, 1, 7, 8, 9, generator=torch.Generator().manual_seed(2))
    blended = SlidingWindow((7, 8, 9))(volume, network)
    assert torch.allclose(blended, network(volume), atol=1e-6)


def test_a_volume_smaller_than_the_window_stands_in_its_middle_and_is_continued():
    seen = []

    def network(windows):
        seen.append(windows.clone())
        return windows

    row = torch.tensor([1.0, 2.0, 3.0, 4.0]).reshape(1, 1, 1, 1, 4)
    volume = row.expand(1, 1, 2, 3, 4)
    blended = SlidingWindow((5, 3, 6))(volume, network)
    continued = torch.tensor([1.0, 1.0, 2.0, 3.0, 4.0, 4.0])
    assert torch.equal(seen[0], continued.expand(1, 1, 5, 3, 6))
    assert torch.allclose(blended, volume)


def test_each_volume_of_a_batch_gives_what_it_gives_alone():
    volumes = torch.randn(3, 1, 9, 8, 7, generator=torch.Generator().manual_seed(3))
    inferer = SlidingWindow((4, 4, 4), batch_size=5)
    together = inferer(volumes, position_network)
    alone = torch.cat([inferer(volume[None], position_network) for volume in volumes])
    assert torch.allclose(together, alone, atol=1e-6)


@pytest.mark.parametrize(
    ("batch_size", "shapes"),
    [
        (4, [3, 3, 3]),  # 9 windows in the fewest batches of equal size: nothing computed twice
        (5, [5, 5]),  # the tenth is a repetition
        (100, [9]),
    ],
)
def test_every_batch_has_the_same_number_of_windows(batch_size, shapes):
    seen = []

    def network(windows):
        seen.append(len(windows))
        return windows

    SlidingWindow((4, 4, 4), 0.5, batch_size)(torch.rand(1, 1, 8, 8, 4), network)
    assert seen == shapes


def test_half_precision_logits_are_blended_in_single_precision():
    blended = SlidingWindow((4, 4, 4))(torch.full((1, 1, 9, 4, 4), 1 / 3), lambda w: w.bfloat16())
    third = torch.tensor(1 / 3).bfloat16().float()
    assert blended.dtype == torch.float32
    assert torch.allclose(blended, third.expand_as(blended), atol=1e-6)


def test_arguments_reach_the_network():
    inferer = SlidingWindow((2, 2, 2))
    blended = inferer(torch.ones(1, 1, 2, 2, 2), lambda w, a, *, b: w * a + b, 3, b=4)
    assert torch.equal(blended, torch.full((1, 1, 2, 2, 2), 7.0))


def test_no_gradient_is_kept():
    network = torch.nn.Conv3d(1, 1, 1)
    assert not SlidingWindow((2, 2, 2))(torch.ones(1, 1, 3, 3, 3), network).requires_grad


def test_a_metatensor_keeps_what_monai_would_keep():
    affine = torch.diag(torch.tensor([2.0, 3, 4, 1], dtype=torch.float64))
    image = MetaTensor(torch.rand(1, 1, 5, 5, 5), affine=affine, meta={"filename_or_obj": "a"})
    image.applied_operations = [{"class": "Orientation"}]
    inferer = SlidingWindow((4, 4, 4))
    monai = SlidingWindowInferer((4, 4, 4), mode="gaussian")
    assert isinstance(inferer, Inferer)
    kept, wanted = inferer(image, lambda w: w + 0), monai(image, lambda w: w + 0)
    assert isinstance(kept, MetaTensor)
    assert torch.equal(kept.affine, wanted.affine)
    assert kept.meta.keys() == wanted.meta.keys()
    assert kept.applied_operations == wanted.applied_operations
    assert kept.is_batch == wanted.is_batch
    assert torch.allclose(kept.as_tensor(), image.as_tensor(), atol=1e-6)


def test_windows_reach_the_network_as_plain_tensors():
    kinds = []

    def network(windows):
        kinds.append(type(windows))
        return windows

    SlidingWindow((4, 4, 4))(MetaTensor(torch.zeros(1, 1, 4, 4, 4)), network)
    assert kinds == [torch.Tensor]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"roi_size": (4, 4)}, "not three positive sizes"),
        ({"roi_size": (4, 0, 4)}, "not three positive sizes"),
        ({"roi_size": (4, 4, 4), "overlap": 1.0}, "below 1"),
        ({"roi_size": (4, 4, 4), "overlap": -0.1}, "from 0"),
        ({"roi_size": (4, 4, 4), "batch_size": 0}, "at least 1"),
    ],
)
def test_settings_out_of_range_are_refused(arguments, message):
    with pytest.raises(GeometryError, match=message):
        SlidingWindow(**arguments)


@pytest.mark.parametrize(
    ("shape", "network", "message"),
    [
        ((1, 4, 4, 4), torch.nn.Identity(), r"use \(B, C, D, H, W\)"),
        ((0, 1, 4, 4, 4), torch.nn.Identity(), "at least one"),
        ((1, 1, 4, 4, 4), lambda windows: [windows], "gave a list"),
        ((1, 1, 4, 4, 4), torch.nn.MaxPool3d(2), r"it must give \(N, K, 4, 4, 4\)"),
    ],
)
def test_what_does_not_fit_is_refused(shape, network, message):
    with pytest.raises(GeometryError, match=message):
        SlidingWindow((4, 4, 4))(torch.zeros(shape), network)


def test_the_input_survives_a_network_that_gives_it_back():
    # MONAI's inferer multiplies the logits in place, and so changes the image here.
    volume = torch.rand(1, 1, 5, 5, 5)
    before = volume.clone()
    SlidingWindow((4, 4, 4))(volume, torch.nn.Identity())
    assert torch.equal(volume, before)


def convolution(channels=2):
    torch.manual_seed(0)
    return torch.nn.Conv3d(1, channels, kernel_size=3, padding=1)


@pytest.mark.parametrize("shape", [(13, 9, 8), (3, 11, 2), (4, 4, 4), (2, 2, 2)])
@pytest.mark.parametrize("batch_size", [1, 3])
def test_slabs_in_order_are_the_whole_volume(shape, batch_size):
    volume = torch.randn(1, *shape, generator=torch.Generator().manual_seed(1))
    inferer, network = SlidingWindow((4, 5, 3), 0.5, batch_size), convolution()
    slabs = [(first, slab.clone()) for first, slab in inferer.sweep(volume, network)]
    whole = inferer(volume[None], network)[0]
    assert [first for first, _ in slabs] == [
        sum(slab.shape[1] for _, slab in slabs[:index]) for index in range(len(slabs))
    ]
    assert torch.equal(torch.cat([slab for _, slab in slabs], dim=1), whole)


@pytest.mark.parametrize("band", [slice(0, 1), slice(3, 7), slice(10, 11), slice(0, 11)])
def test_a_band_has_the_logits_of_the_whole_volume(band):
    volume = torch.randn(1, 9, 11, 8, generator=torch.Generator().manual_seed(1))
    inferer, network = SlidingWindow((4, 4, 4)), convolution()
    whole = inferer(volume[None], network)[0]
    found = torch.cat([slab.clone() for _, slab in inferer.sweep(volume, network, band)], dim=1)
    assert torch.equal(found, whole[:, :, band])


def test_a_sweep_holds_no_more_rows_than_a_window_whatever_the_length():
    largest = 0
    for _, slab in SlidingWindow((4, 4, 4)).sweep(torch.rand(1, 400, 4, 4), convolution()):
        largest = max(largest, slab.untyped_storage().nbytes())
    assert largest == 2 * 4 * 4 * 4 * 4  # classes, rows, height, width, bytes


def test_a_window_of_one_value_is_computed_once_and_gives_the_same():
    volume = torch.zeros(1, 24, 8, 8)
    volume[:, 9] = torch.rand(8, 8, generator=torch.Generator().manual_seed(1))
    network, seen = convolution(), []

    def counting(windows):
        seen.append(windows)
        return network(windows)

    inferer = SlidingWindow((4, 4, 4))
    found = inferer(volume[None], counting)[0]
    # 11 x 3 x 3 windows; those that start at row 6 or 8 see more than zeros
    assert len(seen) == 2 * 9 + 1
    unlike = inferer((volume + 1e-30 * torch.rand(volume.shape))[None], network)[0]
    assert torch.allclose(found, unlike, atol=1e-6)


def noisy_air_around_a_block():
    volume = 0.01 * torch.rand(1, 24, 8, 8, generator=torch.Generator().manual_seed(1))
    volume[:, 9:11] = 1.0
    return volume


def brightness(windows):
    """Give two classes, air and tissue, by the mean of the neighbours."""
    mean = torch.nn.functional.avg_pool3d(windows, 3, stride=1, padding=1)
    return torch.cat([0.2 - mean, mean - 0.2], dim=1)


def test_windows_of_declared_air_are_computed_once_with_the_same_labels():
    volume, seen = noisy_air_around_a_block(), []

    def counting(windows):
        seen.append(windows)
        return brightness(windows)

    plain = SlidingWindow((4, 4, 4))(volume[None], brightness).argmax(1)
    found = SlidingWindow((4, 4, 4), air=0.02)(volume[None], counting).argmax(1)
    assert plain.sum() > 0
    assert torch.equal(found, plain)
    # 11 x 3 x 3 windows; those that start at row 6, 8 or 10 see the block
    assert len(seen) == 3 * 9 + 1


def test_noisy_air_is_computed_where_no_bundle_declares_it():
    seen = []

    def counting(windows):
        seen.append(windows)
        return brightness(windows)

    SlidingWindow((4, 4, 4))(noisy_air_around_a_block()[None], counting)
    assert len(seen) == 11 * 9
