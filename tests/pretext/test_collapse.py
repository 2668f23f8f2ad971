"""The figures of collapse, on vectors whose figures are known."""

import pytest
import torch
from monai.metrics.embedding_collapse import EmbeddingCollapseMetric

from volseg.errors import VolsegError
from volseg.pretext.collapse import (
    MAXIMUM_VECTORS,
    CollapseGuard,
    cosine_of_copies,
    effective_rank,
    feature_spread,
    share_within,
)


def test_equal_vectors_have_neither_spread_nor_rank():
    constant = torch.randn(1, 768, generator=torch.Generator().manual_seed(0)).repeat(256, 1)
    assert feature_spread(constant).item() == pytest.approx(0, abs=1e-6)
    assert effective_rank(constant) == 0


def test_vectors_that_differ_in_length_alone_have_no_spread():
    line = torch.arange(1.0, 9.0)[:, None] * torch.tensor([3.0, -4.0])
    assert feature_spread(line).item() == pytest.approx(0, abs=1e-6)
    assert effective_rank(line).item() == pytest.approx(1, abs=1e-5)


def test_two_orthogonal_directions_have_the_spread_of_their_chord():
    # unit vectors at (1, 0) and (0, 1) lie at half their distance, root 2, from their mean
    assert feature_spread(torch.tensor([[5.0, 0], [0, 2.0]])).item() == pytest.approx(0.5**0.5)


@pytest.mark.parametrize("axes", [1, 2, 5])
def test_the_rank_counts_axes_of_equal_variance(axes):
    rows = torch.zeros(2 * axes, 9)
    for axis in range(axes):
        rows[2 * axis, axis], rows[2 * axis + 1, axis] = 1, -1
    assert effective_rank(rows + 3).item() == pytest.approx(axes, rel=1e-4)


def test_the_rank_weighs_axes_by_their_share():
    rows = torch.tensor([[3.0, 0], [-3, 0], [0, 1], [0, -1]])  # singular values 3 to 1
    wanted = 4 / 3**0.75  # the exponential of the entropy of 3/4 and 1/4
    assert effective_rank(rows).item() == pytest.approx(wanted, rel=1e-5)


def test_the_rank_of_many_vectors_is_that_of_a_sample():
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(10 * MAXIMUM_VECTORS, 4, generator=generator)
    assert effective_rank(rows).item() == pytest.approx(4, abs=0.1)  # sampling error of 256 rows


@pytest.mark.parametrize("rows", [torch.zeros(0, 3), torch.tensor([[1.0, float("nan")]] * 3)])
def test_what_cannot_be_measured_is_not_a_number(rows):
    assert feature_spread(rows).isnan()
    assert effective_rank(rows).isnan()


def with_offset(noise=0.01, rows=64, width=32):
    """Give what two networks agree on when they collapse: a constant, and a little noise."""
    generator = torch.Generator().manual_seed(0)
    return torch.ones(rows, width) + noise * torch.randn(rows, width, generator=generator)


def figures(rows):
    return {
        "feature_spread": feature_spread(rows).item(),
        "effective_rank": effective_rank(rows).item(),
    }


def test_the_guard_sees_an_offset_that_the_metric_of_monai_takes_for_health():
    rows = with_offset()
    collapse = EmbeddingCollapseMetric()(rows)["aggregate"]
    assert collapse < 0.2  # 1 is a collapse
    # the noise of 31 free directions has a spread of 0.01 around a constant of length 1 an entry
    assert figures(rows)["feature_spread"] == pytest.approx(0.01, rel=0.1)
    assert figures(rows)["effective_rank"] > 20
    (complaint,) = CollapseGuard().complaints(figures(rows))
    assert complaint == "feature_spread is 0.00998, below 0.1"


def test_the_guard_sees_features_on_a_line_that_have_spread():
    rows = torch.randn(64, 1, generator=torch.Generator().manual_seed(0)) * torch.ones(1, 32)
    assert figures(rows)["feature_spread"] > 0.9
    assert CollapseGuard().complaints(figures(rows)) == ["effective_rank is 1, below 1.2"]


def test_independent_features_pass_the_guard():
    rows = torch.randn(64, 32, generator=torch.Generator().manual_seed(0))
    assert CollapseGuard().complaints(figures(rows)) == []


@pytest.mark.parametrize(
    ("monitors", "count"),
    [
        ({"teacher_entropy": 0.999, "prototype_entropy": 0.999}, 1),
        ({"teacher_entropy": 0.0, "prototype_entropy": 0.0}, 1),
        ({"teacher_entropy": 0.5, "prototype_entropy": 0.9}, 0),
        ({"feature_spread": float("nan"), "masked_fraction": 0.0}, 0),
    ],
)
def test_the_guard_judges_a_teacher_by_both_ways_of_collapse(monitors, count):
    assert len(CollapseGuard().complaints(monitors)) == count


def test_an_unknown_action_is_refused():
    with pytest.raises(VolsegError, match="action is 'cry'; use 'warn' or 'stop'"):
        CollapseGuard(action="cry")


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
