"""Losing channels at random."""

from collections import Counter

import pytest
import torch

from volseg.errors import DataError
from volseg.transforms.channel_dropout import RandDropChannelsd, blank_channels


def drawn(prob, present, count):
    """Count which channels are left."""
    transform = RandDropChannelsd(prob=prob)
    transform.set_random_state(0)
    flags = torch.tensor(present)
    return Counter(tuple(transform.sample(flags).tolist()) for _ in range(count))


def test_every_set_that_is_not_empty_is_as_likely_as_any_other():
    counts = drawn(1.0, [True, True, True], 1400)
    assert len(counts) == 7
    assert (False, False, False) not in counts
    # 200 are expected of each; the spread of a binomial of 1400 and 1/7 is 13
    assert all(abs(count - 200) < 52 for count in counts.values())


def test_a_channel_that_was_never_there_does_not_come_back():
    assert set(drawn(1.0, [True, False], 20)) == {(True, False)}


def test_with_probability_zero_all_stay():
    assert set(drawn(0.0, [True, True], 20)) == {(True, True)}


def test_an_image_without_any_channel_is_left_alone():
    assert set(drawn(1.0, [False, False], 5)) == {(False, False)}


def test_noise_after_a_loss_is_taken_out_again_and_what_is_left_is_untouched():
    image = torch.ones(4, 2, 2, 2)
    image[3] = 0
    transform = RandDropChannelsd(prob=1.0)
    transform.set_random_state(3)
    case = transform({"image": image})
    kept = case["kept"]
    assert 0 < int(kept[:3].sum()) < 3
    assert not kept[3]
    noisy = {**case, "image": case["image"] + 0.5}
    result = blank_channels(noisy)
    assert list(result) == ["image"]
    expected = torch.where(kept, 1.5, 0.0)
    assert torch.equal(result["image"].amax((1, 2, 3)), expected)
    assert torch.equal(result["image"].amin((1, 2, 3)), expected)


def test_a_probability_beyond_one_is_refused():
    with pytest.raises(DataError, match=r"losing channels is 1\.5; use 0 to 1"):
        RandDropChannelsd(prob=1.5)
