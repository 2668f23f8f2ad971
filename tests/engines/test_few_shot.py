"""A probe of frozen features."""

import pytest
import torch
from torch import nn

from tests.engines.tiny import EPOCHS, PATCH, Denoising, encoder, loop, optimisation, volumes
from volseg.engines.few_shot import KEY_METRIC, FewShotProbe, dice, fit_ridge
from volseg.engines.log import MetricsFile
from volseg.engines.pretrain import pretrain_trainer
from volseg.engines.watch import Watch
from volseg.errors import DataError
from volseg.networks.encoder import Encoder, FeatureSpec
from volseg.networks.weights import read_card


class Known(Encoder):
    """Gives the image itself, and its mean over cells of 2, as features."""

    def __init__(self, *, is_blind=False):
        super().__init__()
        strides = ((1, 1, 1), (2, 2, 2))
        self.spec = FeatureSpec(1, (1, 1), strides, "fill", (2, 2, 2))
        self.scale = nn.Parameter(torch.full((), 0.0 if is_blind else 1.0))

    def forward(self, x, mask=None):
        return [self.scale * x, self.scale * nn.functional.avg_pool3d(x, 2)]

    def layer_groups(self):
        return [[self.scale]]


def halves(count=4):
    """Volumes of which the bright half is class 1."""
    image = torch.zeros(1, 8, 8, 8)
    image[:, 4:] = 1
    return [{"image": image + 0.1 * i, "label": (image > 0).long()} for i in range(count)]


def probe(network, cases, **options):
    found = FewShotProbe(network, cases, 2, (8, 8, 8), **{"labelled": 2, **options})
    found.run()
    return found.state.metrics[KEY_METRIC]


def test_features_that_tell_the_class_score_1_and_equal_ones_do_not():
    assert probe(Known(), halves()) == 1
    assert probe(Known(is_blind=True), halves()) in (0, pytest.approx(2 / 3))  # nothing, or all


def test_the_layer_is_that_of_a_regression_on_separable_points():
    rows = torch.tensor([[0.0, 5.0], [1.0, 5.0], [10.0, 5.0], [11.0, 5.0]])
    weight, bias = fit_ridge(rows, torch.tensor([0, 0, 1, 1]), 2)
    said = rows @ weight.t() + bias
    assert said.argmax(1).tolist() == [0, 0, 1, 1]
    torch.testing.assert_close(said.sum(1), torch.ones(4), rtol=0, atol=1e-5)
    middle = torch.tensor([[5.5, 5.0]]) @ weight.t() + bias
    torch.testing.assert_close(middle, torch.full((1, 2), 0.5), rtol=0, atol=1e-5)


def test_the_scale_of_a_feature_does_not_matter():
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(40, 3, generator=generator)
    classes = (rows[:, 0] > 0).long()
    first, second = (
        (r @ w.t() + b)
        for r, (w, b) in [(r, fit_ridge(r, classes, 2)) for r in (rows, rows * 1000)]
    )
    torch.testing.assert_close(first, second, rtol=1e-3, atol=1e-4)


def test_a_missed_class_scores_0_and_an_absent_one_is_left_out():
    empty, full = torch.zeros(4, dtype=torch.bool), torch.ones(4, dtype=torch.bool)
    assert dice(empty, full) == 0
    assert dice(empty, empty).isnan()
    assert dice(full, torch.tensor([True, False, False, False])).item() == pytest.approx(0.4)


def test_a_probe_is_the_same_twice_and_leaves_the_encoder_as_it_was():
    network = encoder().train()
    cases = volumes(4)
    first, second = (FewShotProbe(network, cases, 2, PATCH, labelled=2) for _ in range(2))
    before = {key: value.clone() for key, value in network.state_dict().items()}
    first.run()
    second.run()
    assert first.state.metrics == second.state.metrics
    assert network.training
    assert all(torch.equal(value, network.state_dict()[key]) for key, value in before.items())
    assert all(parameter.grad is None for parameter in network.parameters())


def test_a_pretraining_logs_its_probe_and_keeps_what_it_scored_best(tmp_path, caplog):
    caplog.set_level("INFO", "volseg")
    task = Denoising(encoder())
    watch = Watch(probe=FewShotProbe(task.encoder, volumes(4), 2, PATCH, labelled=2))
    where = loop(tmp_path)
    trainer = pretrain_trainer(
        task, volumes(4), PATCH, EPOCHS, optimisation(ema_decay=None), where, watch=watch
    )
    trainer.run()
    log = MetricsFile(tmp_path / "train" / "metrics.jsonl").read()
    scores = [record["validation"][KEY_METRIC] for record in log]
    assert all(0 <= score <= 1 for score in scores)
    best = log[max(range(EPOCHS), key=lambda i: (scores[i], -i))]
    assert read_card(tmp_path / "models" / "best_encoder.safetensors").steps == best["step"]
    assert read_card(tmp_path / "models" / "encoder.safetensors").steps == log[-1]["step"]
    assert "the probe of the untrained encoder gives" in caplog.text
    watch.probe.run()
    assert watch.probe.state.metrics[KEY_METRIC] == pytest.approx(scores[-1])


@pytest.mark.parametrize(("labelled", "classes"), [(0, 2), (4, 2), (2, 1)])
def test_a_probe_without_cases_or_classes_is_refused(labelled, classes):
    with pytest.raises(DataError, match="give more cases than teach"):
        FewShotProbe(encoder(), volumes(4), classes, PATCH, labelled=labelled)
