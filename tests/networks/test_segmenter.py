from functools import partial

import pytest
import torch
from torch import nn

from volseg.errors import GeometryError
from volseg.networks.decoder import ConvolutionalDecoder
from volseg.networks.residual import ResidualEncoder
from volseg.networks.segmenter import Segmenter


@pytest.fixture
def segmenter():
    torch.manual_seed(0)
    return Segmenter(ResidualEncoder(1, (4, 8, 8)), num_classes=3)


def test_logits_have_the_size_of_the_volume(segmenter):
    assert segmenter(torch.rand(2, 1, 8, 4, 12)).shape == (2, 3, 8, 4, 12)


def test_the_first_deep_output_is_the_plain_output(segmenter):
    x = torch.rand(1, 1, 8, 4, 12)
    assert torch.equal(segmenter(x, is_deep=True)[0], segmenter(x))


def test_every_deep_output_has_full_size(segmenter):
    outputs = segmenter(torch.rand(1, 1, 8, 4, 12), is_deep=True)
    assert [tuple(o.shape) for o in outputs] == [(1, 3, 8, 4, 12)] * 3


def test_a_constant_coarse_output_stays_constant_when_enlarged(segmenter):
    nn.init.zeros_(segmenter.heads[2].weight)
    nn.init.constant_(segmenter.heads[2].bias, 7)
    coarse = segmenter(torch.rand(1, 1, 8, 4, 12), is_deep=True)[2]
    assert coarse.unique().tolist() == [7]


def test_the_decoder_may_be_a_partial():
    decoder = partial(ConvolutionalDecoder, width=5)
    network = Segmenter(ResidualEncoder(1, (4, 8)), 2, decoder, num_heads=1)
    assert len(network.heads) == 1


def test_layer_groups_hold_every_parameter_once(segmenter):
    grouped = [id(p) for group in segmenter.layer_groups() for p in group]
    assert sorted(grouped) == sorted(id(p) for p in segmenter.parameters())


@pytest.mark.parametrize("arguments", [{"num_classes": 1}, {"num_classes": 2, "num_heads": 0}])
def test_a_network_without_output_is_refused(arguments):
    with pytest.raises(GeometryError, match="segment nothing"):
        Segmenter(ResidualEncoder(1, (4, 8)), **arguments)
