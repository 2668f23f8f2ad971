import pytest
import torch
from monai.networks.nets import UNETR

from tests.contracts import DecoderContract
from tests.networks.peers import unetr_block_pairs
from volseg.errors import GeometryError
from volseg.networks.decoder_unetr import UnetrDecoder
from volseg.networks.encoder import FeatureSpec
from volseg.networks.vit import ViTEncoder


class TestUnetrDecoder(DecoderContract):
    @pytest.fixture
    def encoder(self):
        torch.manual_seed(0)
        return ViTEncoder(2, (16, 16, 16), 8, 12, 4, 2)

    @pytest.fixture
    def decoder(self, encoder):
        torch.manual_seed(0)
        return UnetrDecoder(encoder.spec, width=2)


class TestUnetrDecoderOfSmallPatches(TestUnetrDecoder):
    @pytest.fixture
    def encoder(self):
        torch.manual_seed(0)
        return ViTEncoder(1, (8, 8, 8), 4, 12, 4, 2)


def test_logits_equal_those_of_monai_with_the_same_weights():
    torch.manual_seed(0)
    size = (32, 48, 16)
    peer = UNETR(1, 2, size, feature_size=3, hidden_size=12, mlp_dim=24, num_heads=2).eval()
    ours = UnetrDecoder(ViTEncoder(1, size, 16, 12, 4, 2).spec, width=3)
    for our_part, their_part in unetr_block_pairs(ours, peer):
        # MONAI's instance norm has no scale; ours starts at one.
        our_part.load_state_dict(their_part.state_dict(), strict=False)
    image = torch.randn(2, 1, *size)
    with torch.no_grad():
        last, states = peer.vit(image)
        chosen = [states[3], states[6], states[9], last]
        features = [state.transpose(1, 2).reshape(2, 12, 2, 3, 1) for state in chosen]
        logits = peer.out(ours(image, features)[0])
        torch.testing.assert_close(logits, peer(image), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("patch", "shares"),
    [
        (4, [[0, 1, 2]]),
        (8, [[0], [1, 2]]),
        (16, [[0], [1], [2]]),
        (32, [[0], [0], [1], [2]]),
    ],
)
def test_each_patch_has_a_level_a_doubling(patch, shares):
    spec = FeatureSpec(1, (6,) * 4, ((patch,) * 3,) * 4, "drop", (patch,) * 3)
    with torch.device("meta"):
        decoder = UnetrDecoder(spec, width=2)
    assert [list(share) for share in decoder.shares] == shares
    assert decoder.strides == tuple((2**i,) * 3 for i in range(len(shares) + 2))
    assert decoder.channels == (*(2 ** (i + 1) for i in range(len(shares) + 1)), 6)


@pytest.mark.parametrize("strides", [(2, 4, 8, 16), (6, 6, 6, 6), (2, 2, 2, 2), (8, 8, 8)])
def test_other_strides_are_refused(strides):
    triples = tuple((stride,) * 3 for stride in strides)
    spec = FeatureSpec(1, (4,) * len(strides), triples, "drop", triples[-1])
    with pytest.raises(GeometryError, match=r"do not suit UNETR; .*ConvolutionalDecoder"):
        UnetrDecoder(spec)
