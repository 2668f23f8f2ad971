import pytest
import torch

from tests.contracts import DecoderContract
from volseg.errors import GeometryError
from volseg.networks.decoder import ConvolutionalDecoder, upsampling_factor
from volseg.networks.encoder import FeatureSpec
from volseg.networks.residual import ResidualEncoder


class TestConvolutionalDecoder(DecoderContract):
    @pytest.fixture
    def encoder(self):
        torch.manual_seed(0)
        return ResidualEncoder(2, (4, 8, 8), downsampling=((2, 2, 1), (2, 2, 2)))

    @pytest.fixture
    def decoder(self, encoder):
        return ConvolutionalDecoder(encoder.spec)


class TestConvolutionalDecoderWithItsOwnStem(DecoderContract):
    @pytest.fixture
    def encoder(self):
        torch.manual_seed(0)
        return _Coarse(1, (4, 8, 8))

    @pytest.fixture
    def decoder(self, encoder):
        return ConvolutionalDecoder(encoder.spec, width=3)

    def test_the_stem_sees_the_image(self, encoder, decoder):
        image = torch.rand(1, 1, 8, 8, 4)
        features = encoder(image)
        maps = decoder(image, features)
        assert decoder.channels == (3, 8, 8)
        assert not torch.equal(maps[0], decoder(image.flip(2), features)[0])


class _Coarse(ResidualEncoder):
    """An encoder without a map at full resolution."""

    def __init__(self, in_channels, widths):
        super().__init__(in_channels, widths)
        spec = self.spec
        self.spec = FeatureSpec(
            in_channels, spec.channels[1:], spec.strides[1:], spec.mask_mode, spec.divisor
        )

    def forward(self, x, mask=None):
        return super().forward(x, mask)[1:]


def test_the_factor_between_two_strides_is_their_ratio():
    assert upsampling_factor((1, 2, 2), (2, 4, 2)) == (2, 2, 1)


@pytest.mark.parametrize("coarse", [(2, 2, 2), (3, 4, 4)])
def test_strides_that_are_no_pyramid_are_refused(coarse):
    with pytest.raises(GeometryError, match=r"are no pyramid; .*UnetrDecoder"):
        upsampling_factor((2, 2, 2), coarse)
