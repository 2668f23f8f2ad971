"""Stored parameters bent to other channels, grids and windows."""

from typing import ClassVar

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from volseg.errors import WeightsError
from volseg.networks.adaption import (
    channel_mixing,
    declared_adaptions,
    fit_parameter,
    inflate_channels,
    resize_bias_table,
    resize_patch_kernel,
    resize_position_table,
)

counts = st.integers(1, 5)


def names(count):
    return [f"channel {index}" for index in range(count)]


@given(given_count=counts, wanted=counts, seed=st.integers(0, 99))
def test_an_image_repeated_over_the_channels_gives_what_it_gave(given_count, wanted, seed):
    generator = torch.Generator().manual_seed(seed)
    kernel = torch.randn(3, given_count, 2, 1, 2, generator=generator)
    image = torch.randn(1, 1, 3, 4, 5, generator=generator)
    mixing = channel_mixing(names(given_count), wanted)
    inflated = kernel if mixing is None else inflate_channels(kernel, mixing)
    before = functional.conv3d(image.expand(1, given_count, 3, 4, 5), kernel)
    after = functional.conv3d(image.expand(1, wanted, 3, 4, 5), inflated)
    torch.testing.assert_close(after, before, atol=1e-5, rtol=1e-5)


def test_one_channel_for_four_is_a_quarter_in_each():
    mixing = channel_mixing(["T1"], 4)
    inflated = inflate_channels(torch.full((2, 1, 1, 1, 1), 8.0), mixing)
    assert torch.equal(inflated, torch.full((2, 4, 1, 1, 1), 2.0))


def test_two_channels_are_repeated_in_turn():
    mixing = channel_mixing(["T1", "T2"], 4)
    kernel = torch.tensor([6.0, 10.0]).reshape(1, 2, 1, 1, 1)
    assert inflate_channels(kernel, mixing).flatten().tolist() == [3, 5, 3, 5]


def test_two_channels_for_three_share_only_the_first():
    kernel = torch.tensor([6.0, 10.0]).reshape(1, 2, 1, 1, 1)
    assert inflate_channels(kernel, channel_mixing(["a", "b"], 3)).flatten().tolist() == [3, 10, 3]


def test_fewer_channels_are_summed():
    kernel = torch.tensor([1.0, 2.0, 4.0]).reshape(1, 3, 1, 1, 1)
    assert inflate_channels(kernel, channel_mixing(["a", "b", "c"], 2)).flatten().tolist() == [5, 2]


def test_a_named_channel_keeps_its_kernel_and_a_new_one_starts_at_zero():
    kernel = torch.tensor([3.0, 7.0]).reshape(1, 2, 1, 1, 1)
    mixing = channel_mixing(["T1", "T2"], ["FLAIR", "T2", "T1"])
    assert inflate_channels(kernel, mixing).flatten().tolist() == [0, 7, 3]


def test_a_named_channel_that_is_gone_is_shared_out():
    kernel = torch.tensor([3.0, 8.0]).reshape(1, 2, 1, 1, 1)
    mixing = channel_mixing(["T1", "T2"], ["T1", "FLAIR"])
    assert inflate_channels(kernel, mixing).flatten().tolist() == [7, 4]


def test_names_that_have_nothing_in_common_count_by_place():
    assert torch.equal(channel_mixing(["CT"], ["T1", "T2"]), torch.full((2, 1), 0.5))


@pytest.mark.parametrize("wanted", [2, ["T1", "T2"]])
def test_equal_channels_need_no_mixing(wanted):
    assert channel_mixing(["T1", "T2"], wanted) is None


def test_equal_names_in_another_order_are_exchanged():
    assert channel_mixing(["T1", "T2"], ["T2", "T1"]).tolist() == [[0, 1], [1, 0]]


@pytest.mark.parametrize(
    ("given_names", "wanted", "message"),
    [([], 2, "0 channels"), (["T1"], 0, "to 0"), (["T1"], ["T1", "T1"], "not unique")],
)
def test_channels_without_number_or_with_one_name_twice_are_refused(given_names, wanted, message):
    with pytest.raises(WeightsError, match=message):
        channel_mixing(given_names, wanted)


def test_a_position_table_of_the_same_grid_is_itself():
    table = torch.randn(1, 3, 2, 3, 4)
    assert resize_position_table(table, (2, 3, 4)) is table


@given(grid=st.tuples(counts, counts, counts), size=st.tuples(counts, counts, counts))
def test_a_constant_table_stays_constant(grid, size):
    table = torch.full((2, *grid), 1.5)
    for resize in (resize_position_table, resize_bias_table):
        resized = resize(table, size)
        torch.testing.assert_close(resized, torch.full((2, *size), 1.5))


def test_position_vectors_are_sampled_at_the_centres_of_the_new_tokens():
    # Centres of 4 cells on a line of 2 cells of length 1: 0.25, 0.75, 1.25, 1.75; the values 0 and
    # 8 stand at 0.5 and 1.5, and the outermost centres lie beyond them.
    table = torch.tensor([0.0, 8.0]).reshape(1, 1, 1, 2)
    assert resize_position_table(table, (1, 1, 4)).flatten().tolist() == [0, 2, 6, 8]


def test_each_axis_of_a_position_table_is_its_own():
    ramp = torch.arange(3.0).reshape(1, 3, 1, 1).expand(1, 3, 4, 5)
    resized = resize_position_table(ramp, (3, 6, 2))
    assert torch.equal(resized, torch.arange(3.0).reshape(1, 3, 1, 1).expand(1, 3, 6, 2))


def test_bias_of_the_outermost_and_the_zero_offset_stays():
    # Window 2 has the offsets -1, 0, 1; window 3 has -2 ... 2: halfway values between.
    table = torch.tensor([[4.0, 0.0, 2.0], [1.0, 3.0, 5.0]]).reshape(2, 1, 1, 3)
    resized = resize_bias_table(table, (1, 1, 5))
    assert resized[0].flatten().tolist() == [4, 2, 0, 1, 2]
    assert resized[1].flatten().tolist() == [1, 2, 3, 4, 5]


class Stem(nn.Module):
    adaptable: ClassVar = {"kernel": "channels", "absent": "channels"}

    def __init__(self):
        super().__init__()
        self.kernel = nn.Parameter(torch.zeros(1))


def test_declarations_are_found_by_full_name_and_only_where_the_parameter_is():
    network = nn.Sequential(nn.Linear(1, 1), nn.Sequential(Stem()))
    assert declared_adaptions(network) == {"1.0.kernel": "channels"}
    assert declared_adaptions(Stem()) == {"kernel": "channels"}


def test_what_is_not_declared_is_never_bent():
    assert fit_parameter(torch.zeros(2, 1, 1, 1, 1), (2, 3, 1, 1, 1), None, None) is None
    assert fit_parameter(torch.zeros(2, 3, 3, 3), (2, 5, 5, 5), None, None) is None


def test_a_parameter_that_fits_is_taken_as_it_is():
    stored = torch.zeros(2, 3, 3, 3)
    assert fit_parameter(stored, (2, 3, 3, 3), None, None) is stored
    assert fit_parameter(stored, (2, 3, 3, 3), "bias", None) is stored


def test_a_kernel_with_other_channels_than_the_card_names_does_not_fit():
    mixing = channel_mixing(["T1", "T2"], 3)
    assert fit_parameter(torch.zeros(4, 1, 1, 1, 1), (4, 3, 1, 1, 1), "channels", mixing) is None


def test_a_table_with_other_heads_does_not_fit():
    assert fit_parameter(torch.zeros(2, 3, 3, 3), (4, 5, 5, 5), "bias", None) is None


class TestPatchKernels:
    @staticmethod
    def kernel(size):
        return torch.randn(3, 2, *size, generator=torch.Generator().manual_seed(0))

    def test_a_size_that_is_the_same_changes_nothing(self):
        kernel = self.kernel((4, 4, 4))
        assert resize_patch_kernel(kernel, (4, 4, 4)) is kernel
        assert fit_parameter(kernel, (3, 2, 4, 4, 4), "patches", None) is kernel

    @pytest.mark.parametrize("size", [(8, 8, 8), (6, 4, 5)])
    def test_an_enlarged_patch_gives_what_the_patch_gave(self, size):
        kernel = self.kernel((4, 4, 4))
        patch = torch.randn(5, 2, 4, 4, 4, generator=torch.Generator().manual_seed(1))
        before = torch.einsum("oidhw,nidhw->no", kernel, patch)
        enlarged = functional.interpolate(patch, size, mode="trilinear")
        after = torch.einsum("oidhw,nidhw->no", resize_patch_kernel(kernel, size), enlarged)
        torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-4)

    @pytest.mark.parametrize("size", [(2, 2, 2), (8, 4, 2)])
    def test_a_uniform_patch_gives_what_it_gave(self, size):
        kernel = self.kernel((4, 4, 4))
        sums = [k.sum((2, 3, 4)) for k in (kernel, resize_patch_kernel(kernel, size))]
        torch.testing.assert_close(sums[1], sums[0], rtol=1e-4, atol=1e-4)

    def test_half_the_size_sums_pairs(self):
        # Of all kernels on pairs of equal voxels the nearest has the sum of each pair.
        kernel = torch.arange(4.0).view(1, 1, 1, 1, 4)
        assert resize_patch_kernel(kernel, (1, 1, 2)).flatten().tolist() == pytest.approx([1, 5])

    def test_channels_and_size_change_at_once(self):
        kernel = self.kernel((4, 4, 4))
        mixing = torch.full((4, 2), 0.25)
        fitted = fit_parameter(kernel, (3, 4, 2, 2, 2), "patches", mixing)
        assert fitted.shape == (3, 4, 2, 2, 2)
        torch.testing.assert_close(fitted.sum((1, 2, 3, 4)), kernel.sum((1, 2, 3, 4)))
