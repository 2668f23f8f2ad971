import pytest
import torch

from tests.contracts import DecoderContract, EncoderContract
from volseg.errors import GeometryError
from volseg.networks.decoder_subpixel import SubpixelDecoder
from volseg.networks.residual import ResidualEncoder
from volseg.networks.segmenter import Segmenter


class TestPatchedResidualEncoder(EncoderContract):
    @pytest.fixture
    def encoder(self):
        torch.manual_seed(0)
        return ResidualEncoder(2, (4, 8, 8), patch=(2, 2, 1))


class TestSubpixelDecoder(DecoderContract):
    @pytest.fixture
    def encoder(self):
        torch.manual_seed(0)
        return ResidualEncoder(1, (4, 8, 8), patch=(2, 2, 2))

    @pytest.fixture
    def decoder(self, encoder):
        return SubpixelDecoder(encoder.spec)


@pytest.mark.parametrize(
    ("patch", "stride"), [((1, 1, 1), r"\(1, 1, 1\)"), ((2, 2, 1), r"\(2, 2, 1\)")]
)
def test_a_map_that_cannot_be_enlarged_alike_is_refused(patch, stride):
    encoder = ResidualEncoder(1, (4, 8), patch=patch)
    with pytest.raises(GeometryError, match=f"has stride {stride}.*use ConvolutionalDecoder"):
        SubpixelDecoder(encoder.spec)


def test_neighbours_within_a_coarse_voxel_can_differ():
    torch.manual_seed(0)
    network = Segmenter(ResidualEncoder(1, (8, 8), patch=(2, 2, 2)), 2, SubpixelDecoder)
    image = torch.zeros(1, 1, 8, 8, 8)
    image[..., ::2] = 1
    target = (image[:, 0] > 0).long()
    optimizer = torch.optim.Adam(network.parameters(), 0.02)
    for _ in range(60):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(network(image), target).backward()
        optimizer.step()
    assert torch.equal(network(image).argmax(1), target)


def test_no_convolution_runs_at_full_resolution():
    network = Segmenter(ResidualEncoder(1, (4, 8), patch=(2, 2, 2)), 2, SubpixelDecoder)
    sizes = []
    for module in network.modules():
        if isinstance(module, torch.nn.Conv3d) and module.kernel_size == (3, 3, 3):
            module.register_forward_hook(lambda m, x, y: sizes.append(y.shape[-1]))
    network(torch.zeros(1, 1, 16, 16, 16))
    assert max(sizes) == 8
