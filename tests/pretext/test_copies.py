"""Features of turned copies, whose variance is known."""

import pytest
import torch

from volseg.pretext.copies import cosine_of_copies, share_within


def test_the_pull_is_a_share_and_small_features_do_not_meet_it():
    rows = torch.tensor([[[1.0, 4], [3, 4]], [[5, 8], [7, 8]]])  # 1 of 5, and 0 of 4
    assert share_within(rows).item() == pytest.approx(0.1)
    assert share_within(rows / 50).item() == pytest.approx(0.1, rel=5e-3)  # the floor is 1e-6
    assert share_within(rows[:1, :, :1]).item() == pytest.approx(1)  # a batch of one
    assert share_within(torch.ones(2, 2, 3)) == 0


def test_equal_copies_have_a_cosine_of_one_and_opposite_ones_of_minus_one():
    rows = torch.tensor([[[1.0, 0], [1, 0]], [[-1, 0], [-1, 0]]])
    assert cosine_of_copies(rows).item() == pytest.approx(1)
    turned = torch.tensor([[[1.0, 0], [-1, 0]], [[0, 1], [0, -1]]])
    assert cosine_of_copies(turned).item() == pytest.approx(-1)
    assert share_within(turned).item() == pytest.approx(1, abs=1e-5)  # the floor is 1e-6
