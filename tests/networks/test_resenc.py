import pytest
import torch

from tests.contracts import EncoderContract
from volseg.errors import GeometryError
from volseg.networks import resenc
from volseg.networks.resenc import ResEncEncoder


class TestResEncEncoder(EncoderContract):
    @pytest.fixture
    def encoder(self):
        torch.manual_seed(0)
        return ResEncEncoder(2, (4, 8, 8), (1, 2, 1))


class TestResEncEncoderOfThickSlices(EncoderContract):
    @pytest.fixture
    def encoder(self):
        torch.manual_seed(0)
        return ResEncEncoder(
            1, (4, 6, 6), (1, 1, 1), ((1, 2, 2), (2, 2, 2)), ((1, 3, 3), (3, 3, 3), (3, 3, 3))
        )


def test_the_large_one_has_the_parameters_that_its_docstring_says():
    with torch.device("meta"):
        count = sum(p.numel() for p in resenc.large().parameters())
    assert round(count / 1e5) / 10 == float(resenc.large.__doc__.split(": ")[-1].split()[0])


def test_levels_that_do_not_agree_are_refused():
    with pytest.raises(GeometryError, match="2 widths, 1 block counts"):
        ResEncEncoder(1, (4, 8), (1,))
