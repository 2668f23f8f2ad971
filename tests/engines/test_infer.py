"""Using a trained network through MONAI's evaluator."""

import pytest
import torch
from monai.data import Dataset
from monai.inferers import SimpleInferer
from monai.transforms import Lambdad

from volseg.engines.infer import inference_evaluator
from volseg.errors import WeightsError
from volseg.networks.card import Card
from volseg.networks.embedder import Embedder
from volseg.networks.residual import ResidualEncoder
from volseg.networks.segmenter import Segmenter
from volseg.networks.weights import save_state_dict, save_weights


def segmenter(seed: int) -> Segmenter:
    torch.manual_seed(seed)
    return Segmenter(ResidualEncoder(1, (2, 4)), num_classes=2)


def run(network, weights, volumes):
    """Run the evaluator; give what the postprocessing was shown of each case."""
    shown = []

    def keep(pred):
        shown.append(pred)
        return pred

    dataset = Dataset([{"image": volume} for volume in volumes])
    evaluator = inference_evaluator(
        network, weights, dataset, SimpleInferer(), Lambdad("pred", keep), "cpu"
    )
    evaluator.run()
    return shown


def test_each_case_is_computed_with_the_weights_of_the_file(tmp_path):
    trained = segmenter(seed=1)
    save_state_dict(tmp_path / "model.pt", trained)
    volumes = list(torch.randn(3, 1, 4, 4, 4))
    found = run(segmenter(seed=2), tmp_path / "model.pt", volumes)
    with torch.no_grad():
        expected = trained.eval()(torch.stack(volumes))
    assert torch.allclose(torch.stack(found), expected, atol=1e-6)


def test_an_encoder_alone_embeds_with_the_weights_of_the_file(tmp_path):
    trained, fresh = segmenter(seed=1).encoder, segmenter(seed=2).encoder
    path = tmp_path / "encoder.safetensors"
    save_weights(path, {"encoder": trained}, Card({"encoder": {}}, ("T1",)))
    volume = torch.randn(1, 4, 4, 4)
    (found,) = run(Embedder(fresh), path, [volume])
    with torch.no_grad():
        assert torch.allclose(found, trained.eval().embed(volume[None])[0], atol=1e-6)


def test_building_reads_no_weights_and_running_refuses_missing_ones(tmp_path):
    with pytest.raises(WeightsError, match="is not there, and random weights are of no use"):
        run(segmenter(seed=1), tmp_path / "no.pt", [torch.zeros(1, 4, 4, 4)])


def test_weights_that_do_not_fit_stop_the_run(tmp_path):
    torch.save({"weight": torch.zeros(1)}, tmp_path / "model.pt")
    with pytest.raises(WeightsError):
        run(segmenter(seed=1), tmp_path / "model.pt", [torch.zeros(1, 4, 4, 4)])
