"""Centred kernel alignment."""

import pytest
import torch

from volseg.errors import DataError
from volseg.evaluation.cka import linear_cka


def test_rotation_scale_and_shift_do_not_matter():
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(20, 5, generator=generator)
    turn = torch.linalg.qr(torch.randn(5, 5, generator=generator)).Q
    assert linear_cka(features, 3 * features @ turn + 7) == pytest.approx(1, abs=1e-5)


def test_noise_of_many_features_is_not_alike():
    # The biased estimate is above 0.9 here
    generator = torch.Generator().manual_seed(1)
    one, other = (torch.randn(24, 400, generator=generator) for _ in range(2))
    assert abs(linear_cka(one, other)) < 0.1


def test_too_few_or_unequal_samples_are_refused():
    with pytest.raises(DataError, match="3 and 3 samples; give at least 4"):
        linear_cka(torch.ones(3, 2), torch.ones(3, 2))
