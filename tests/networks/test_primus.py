import pytest
import torch

from tests.contracts import EncoderContract
from volseg.errors import GeometryError
from volseg.networks import primus
from volseg.networks.primus import PrimusEncoder, rotary_angles, rotate


class TestPrimusEncoder(EncoderContract):
    @pytest.fixture
    def encoder(self):
        torch.manual_seed(0)
        return PrimusEncoder(2, (8, 12, 4), 4, 12, 4, 2)


def test_only_the_distance_of_two_tokens_counts():
    # What a query and a key give does not change if both are moved by the same number of tokens.
    turns = rotary_angles((4, 1, 5), 12, torch.device("cpu")).view(2, 4, 1, 5, 12)
    query, key = torch.randn(2, 1, 12, generator=torch.Generator().manual_seed(0))
    products = [
        rotate(query, turns[:, a, 0, b]) @ rotate(key, turns[:, a + 1, 0, b + 2]).mT
        for a, b in [(0, 0), (2, 1), (1, 2)]
    ]
    for product in products[1:]:
        torch.testing.assert_close(product, products[0])


def test_the_medium_one_has_the_parameters_that_its_docstring_says():
    with torch.device("meta"):
        count = sum(p.numel() for p in primus.medium(size=(64, 64, 64)).parameters())
    positions = (20**3 - 8**3) * 864  # that table would be filled with random numbers
    said = float(primus.medium.__doc__.split(": ")[-1].split()[0])
    assert round((count + positions) / 1e5) / 10 == said


def test_heads_that_do_not_fit_are_refused():
    with pytest.raises(GeometryError, match="a width that is one of 6 times the heads"):
        PrimusEncoder(1, (8, 8, 8), 4, 20, 4, 2)
