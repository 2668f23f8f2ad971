"""The head over an encoder that classifies volumes."""

import pytest
import torch

from volseg.errors import GeometryError
from volseg.networks.card import Card
from volseg.networks.classifier import Classifier
from volseg.networks.embedder import Embedder
from volseg.networks.residual import ResidualEncoder
from volseg.networks.weights import load_encoder, load_segmenter, save_weights, segmenter_parts


def make(seed=0, **options):
    torch.manual_seed(seed)
    return Classifier(ResidualEncoder(1, (2, 4)), 3, **options).eval()


@pytest.mark.parametrize("pool", ["mean_std", "max"])
def test_logits_are_a_linear_map_of_the_pooled_features_on_one_scale(pool):
    network, volume = make(pool=pool), torch.randn(2, 1, 7, 6, 4)
    features = Embedder(network.encoder, pool)(volume)
    centred = features - features.mean(1, keepdim=True)
    scaled = centred / (centred.square().mean(1, keepdim=True) + 1e-5).sqrt()
    linear = network.heads[-1]
    assert torch.allclose(network(volume), scaled @ linear.weight.T + linear.bias, atol=1e-5)


def test_every_parameter_is_in_one_group():
    network = make()
    listed = [id(p) for group in network.layer_groups() for p in group]
    assert sorted(listed) == sorted(id(p) for p in network.parameters())


def test_it_is_saved_and_loaded_and_its_encoder_serves_others(tmp_path):
    network, volume = make(), torch.randn(1, 1, 4, 4, 4)
    path = tmp_path / "model.safetensors"
    save_weights(path, segmenter_parts(network), Card({}, ("MRI",)))
    other, alone = make(1), make(2).encoder
    load_segmenter(other, path)
    load_encoder(alone, path)
    assert torch.equal(other(volume), network(volume))
    assert torch.equal(alone.embed(volume), network.encoder.embed(volume))


def test_one_class_is_refused():
    with pytest.raises(GeometryError, match="1 class tells nothing apart"):
        Classifier(ResidualEncoder(1, (2, 4)), 1)
