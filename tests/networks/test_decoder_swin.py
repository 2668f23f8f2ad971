from functools import partial

import pytest
import torch

from tests.contracts import DecoderContract
from volseg.errors import GeometryError
from volseg.networks import swin
from volseg.networks.decoder import ConvolutionalDecoder
from volseg.networks.decoder_swin import SwinDecoder
from volseg.networks.residual import ResidualEncoder
from volseg.networks.segmenter import Segmenter
from volseg.networks.swin import SwinEncoder
from volseg.networks.vit import ViTEncoder


class TestSwinDecoder(DecoderContract):
    @pytest.fixture
    def encoder(self):
        torch.manual_seed(0)
        return SwinEncoder(2, 8, (1, 1, 1), (1, 2, 4), window=2)

    @pytest.fixture
    def decoder(self, encoder):
        torch.manual_seed(0)
        return SwinDecoder(encoder.spec, window=2)


class TestSwinDecoderOverConvolutions(DecoderContract):
    @pytest.fixture
    def encoder(self):
        torch.manual_seed(0)
        return ResidualEncoder(1, (3, 8, 16), downsampling=((2, 2, 1), (2, 2, 2)))

    @pytest.fixture
    def decoder(self, encoder):
        torch.manual_seed(0)
        return SwinDecoder(encoder.spec, window=3, head_width=4)


def test_there_are_five_skips_and_a_thin_stem():
    with torch.device("meta"):
        decoder = SwinDecoder(swin.base().spec)
    assert decoder.channels == (24, 48, 96, 192, 384, 768)
    assert decoder.strides == tuple((2**i,) * 3 for i in range(6))


def test_heads_are_those_of_the_encoder_at_the_same_width():
    with torch.device("meta"):
        for encoder in (swin.small(), swin.base()):
            decoder = SwinDecoder(encoder.spec)
            wanted = [stage.blocks[0].attention.heads for stage in encoder.stages]
            assert [step.blocks[0].attention.heads for step in decoder.steps] == wanted


@pytest.mark.parametrize(
    ("decoder", "width", "millions"),
    [
        (ConvolutionalDecoder, 48, 27.7),
        (partial(SwinDecoder, window=7), 48, 16.6),
        (partial(SwinDecoder, window=7), 24, 4.45),
    ],
)
def test_a_network_has_the_size_counted_for_this_design(decoder, width, millions):
    with torch.device("meta"):
        network = Segmenter(SwinEncoder(1, width, window=7), 2, decoder)
    count = sum(parameter.numel() for parameter in network.parameters())
    assert count / 1e6 == pytest.approx(millions, rel=0.01)


def test_neighbours_meet_across_the_borders_of_windows():
    encoder = SwinEncoder(1, 8, (1, 1), (1, 1), window=2)
    decoder = SwinDecoder(encoder.spec, window=2)
    features = [level.detach() for level in encoder(torch.randn(1, 1, 16, 16, 16))]
    features[1].requires_grad_()
    level = decoder(torch.randn(1, 1, 16, 16, 16), features)[2]
    level[0, :, 0, 0, 0].sum().backward()
    reached = features[1].grad[0].abs().sum(0) > 0
    # Window of 2, then the shifted one, whose first piece is a single token.
    assert reached[:2, :2, :2].all()
    level = decoder(torch.randn(1, 1, 16, 16, 16), features)[2]
    features[1].grad = None
    level[0, :, 1, 1, 1].square().sum().backward()
    reached = features[1].grad[0].abs().sum(0) > 0
    assert reached.all()


def test_a_plain_transformer_is_refused_with_the_decoder_that_suits_it():
    encoder = ViTEncoder(1, (8, 8, 8), 4, 16, 4, 2)
    with pytest.raises(GeometryError, match=r"are no pyramid; .*UnetrDecoder"):
        SwinDecoder(encoder.spec)


def test_channels_that_no_head_width_divides_are_refused():
    encoder = SwinEncoder(1, 12, (1, 1), (1, 1))
    with pytest.raises(GeometryError, match=r"head widths \(16, 8\) do not divide .*\(12, 24\)"):
        SwinDecoder(encoder.spec)
