import pytest
import torch

from tests.contracts import EncoderContract
from volseg.errors import GeometryError
from volseg.networks import residual
from volseg.networks.residual import ResidualEncoder, fill_hidden


class TestResidualEncoder(EncoderContract):
    @pytest.fixture
    def encoder(self):
        torch.manual_seed(0)
        return ResidualEncoder(in_channels=2, widths=(4, 8, 8))


class TestAnisotropicResidualEncoder(EncoderContract):
    @pytest.fixture
    def encoder(self):
        torch.manual_seed(0)
        return ResidualEncoder(1, (4, 8, 8), (1, 2, 1), ((2, 2, 1), (2, 2, 2)))


def test_hidden_voxels_take_the_mean_of_the_visible_ones():
    x = torch.tensor([1.0, 2.0, 3.0, 100.0]).reshape(1, 1, 4, 1, 1)
    hidden = torch.tensor([False, False, False, True]).reshape(1, 4, 1, 1)
    assert fill_hidden(x, hidden).flatten().tolist() == [1, 2, 3, 2]


def test_a_volume_that_is_wholly_hidden_becomes_zero():
    filled = fill_hidden(torch.ones(1, 1, 2, 2, 2), torch.ones(1, 2, 2, 2, dtype=torch.bool))
    assert filled.abs().max() == 0


def test_one_voxel_at_the_deepest_level_is_refused():
    with pytest.raises(GeometryError, match=r"one voxel.*use \(8, 4, 4\) or more"):
        ResidualEncoder(1, (4, 4, 4))(torch.zeros(1, 1, 4, 4, 4))


def test_levels_that_disagree_are_refused():
    with pytest.raises(GeometryError, match="2 widths, 3 block counts and 1 downsampling"):
        ResidualEncoder(1, (4, 8), (1, 1, 1))


@pytest.mark.parametrize(
    ("preset", "millions"),
    [(residual.tiny, 0.22), (residual.small, 0.89), (residual.base, 18.8), (residual.large, 90.4)],
)
def test_a_preset_has_the_size_its_docstring_says(preset, millions):
    with torch.device("meta"):
        count = sum(parameter.numel() for parameter in preset().parameters())
    assert f"{millions} million parameters" in preset.__doc__
    assert round(count / 1e6, 2 if millions < 1 else 1) == millions
