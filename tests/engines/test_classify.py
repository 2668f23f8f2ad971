"""Training and validating a classifier."""

import numpy as np
import pytest
import torch
from monai.inferers import SimpleInferer
from torch import nn

from tests.engines.tiny import loop
from volseg.data.pipelines import image_augmentation
from volseg.engines.classify import (
    _balanced_cross_entropy,
    classification_evaluator,
    classification_trainer,
)
from volseg.engines.optimisation import Optimisation
from volseg.networks.classifier import Classifier
from volseg.networks.residual import ResidualEncoder
from volseg.networks.weights import load_segmenter


def cases(count, seed=0):
    """Noise that is white, or the same along the first or the second axis: textures, not sizes."""
    random = np.random.default_rng(seed)
    found = []
    for index in range(count):
        image = random.standard_normal((1, 8, 8, 8))
        if index % 3:
            image[:] = image.take([0], axis=index % 3)
        found.append({"image": torch.from_numpy(image.astype(np.float32)), "label": index % 3})
    return found


class Saying(nn.Module):
    """Says of each volume what stands in its first voxels."""

    def forward(self, x):
        return x[:, 0, 0, 0, :3]


def saying(logits, labels):
    volumes = []
    for row, label in zip(logits, labels, strict=True):
        image = torch.zeros(1, 1, 1, 3)
        image[0, 0, 0] = torch.tensor(row)
        volumes.append({"image": image, "label": label})
    return volumes


def test_the_evaluator_gives_the_scores_made_by_hand():
    logits = [[9.0, 0, 0], [0, 9, 0], [0, 9, 0], [0, 0, 9]]
    data = saying(logits, [0, 0, 1, 2])
    network = Saying()
    network.register_parameter("none", nn.Parameter(torch.zeros(1)))
    evaluator = classification_evaluator(network, data, SimpleInferer(), "cpu", is_graded=True)
    evaluator.run()
    found = evaluator.state.metrics
    assert found["val_balanced_accuracy"] == pytest.approx((0.5 + 1 + 1) / 3)
    # areas: class 0 has a tie half the time (0.75); class 1: (1 + 1/2 + 1) / 3; class 2: 1
    assert found["val_auc"] == pytest.approx((0.75 + 2.5 / 3 + 1) / 3)
    expected = sum(
        a * b * d for a, b, d in [(2, 2, 1), (2, 1, 4), (1, 1, 1), (1, 1, 1), (1, 1, 4), (1, 2, 1)]
    )
    assert found["val_kappa"] == pytest.approx(1 - 1 / (expected / 4))
    assert evaluator.state.key_metric_name == "val_kappa"


def test_every_class_weighs_the_same_in_all():
    loss = _balanced_cross_entropy([{"label": 0}] * 6 + [{"label": 2}] * 2, 3)
    assert loss.weight.tolist() == pytest.approx([8 / 18, 0, 8 / 6])


def test_a_few_steps_learn_what_is_easy_and_leave_weights_that_load(tmp_path):
    torch.manual_seed(0)
    network = Classifier(ResidualEncoder(1, (4, 8)), 3, pool="max", dropout=0)
    data = cases(12)
    evaluator = classification_evaluator(network, cases(9, seed=1), SimpleInferer(), "cpu")
    trainer = classification_trainer(
        network,
        data,
        image_augmentation((8, 8, 8), rotation=0.0, scale=0.0, intensity=0.0),
        2,
        Optimisation(learning_rate=0.02),
        loop(tmp_path, batch_size=6, epoch_length=20),
        evaluator,
    )
    trainer.run()
    assert evaluator.state.metrics["val_auc"] > 0.7
    again = Classifier(ResidualEncoder(1, (4, 8)), 3, pool="max", dropout=0)
    load_segmenter(again, tmp_path / "models" / "model.safetensors")
    volume = data[0]["image"][None]
    network.eval()
    again.eval()
    assert torch.equal(network(volume), again(volume))
    assert {path.name for path in (tmp_path / "models").iterdir()} >= {"model.pt"}
