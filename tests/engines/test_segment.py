"""The trainer and the evaluator of segmentation networks."""

import pytest
import torch
from monai.inferers import SimpleInferer
from safetensors.torch import load_file
from torch import nn

from tests.engines.tiny import EPOCH_LENGTH, EPOCHS, encoder, optimisation, segmentation, volumes
from volseg.engines.initial import evaluate_weights, initial_network
from volseg.engines.log import MetricsFile
from volseg.engines.segment import (
    KEY_METRIC,
    dice_and_cross_entropy,
    segmentation_evaluator,
)
from volseg.errors import WeightsError
from volseg.networks.card import Card
from volseg.networks.decoder_subpixel import SubpixelDecoder
from volseg.networks.residual import ResidualEncoder
from volseg.networks.segmenter import Segmenter
from volseg.networks.weights import save_weights, segmenter_parts


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    segmentation(folder).run()
    return folder


class Threshold(nn.Module):
    """Says class 1 above 0.5, class 2 above 1.5."""

    def forward(self, x):
        return torch.cat([torch.zeros_like(x), x - 0.5, 2 * x - 2], dim=1)


def evaluator_of(cases, num_classes=3):
    return segmentation_evaluator(
        Threshold(), cases, SimpleInferer(), num_classes=num_classes, device="cpu"
    )


def line(*values):
    return torch.tensor(values, dtype=torch.float32).reshape(1, -1, 1, 1)


def test_dice_is_the_one_worked_out_by_hand():
    # predicted 1 1 2 0, reference 1 2 2 0: class 1: 2 * 1 / 3, class 2: 2 * 1 / 3
    # predicted 1 0 0 0, reference 1 0 0 0: class 1: 1, class 2 is absent and does not count
    cases = [
        {"image": line(1, 1, 2, 0), "label": line(1, 2, 2, 0)},
        {"image": line(1, 0, 0, 0), "label": line(1, 0, 0, 0)},
    ]
    evaluator = evaluator_of(cases)
    evaluator.run()
    metrics = evaluator.state.metrics
    assert metrics["val_dice_1"] == pytest.approx((2 / 3 + 1) / 2)
    assert metrics["val_dice_2"] == pytest.approx(2 / 3)
    assert metrics[KEY_METRIC] == pytest.approx((2 / 3 + 1) / 2)


def test_a_missed_class_counts_as_nothing_found():
    evaluator = evaluator_of([{"image": line(0, 0, 0, 0), "label": line(1, 0, 0, 0)}])
    evaluator.run()
    assert evaluator.state.metrics["val_dice_1"] == 0


def test_evaluating_twice_gives_the_same(folder):
    evaluator = evaluator_of(volumes(2), num_classes=3)
    evaluator.run()
    first = dict(evaluator.state.metrics)
    evaluator.run()
    assert evaluator.state.metrics == pytest.approx(first, nan_ok=True)


def test_the_log_holds_the_validation_of_every_epoch(folder):
    lines = MetricsFile(folder / "train" / "metrics.jsonl").read()
    assert len(lines) == EPOCHS
    for line in lines:
        assert set(line["validation"]) == {KEY_METRIC, "val_dice_1"}
        assert line["validation"][KEY_METRIC] == pytest.approx(line["validation"]["val_dice_1"])
    assert lines[-1]["validation"][KEY_METRIC] > lines[0]["validation"][KEY_METRIC]


def test_rates_are_logged_by_group(folder):
    lines = MetricsFile(folder / "train" / "metrics.jsonl").read()
    assert lines[0]["lr"]["encoder"] == 0 < lines[0]["lr"]["decoder"]


def test_the_logged_dice_is_that_of_the_saved_weights(folder):
    network = Segmenter(encoder(seed=5), num_classes=2, num_heads=2)
    from monai.inferers import SlidingWindowInferer

    evaluator = segmentation_evaluator(
        network, volumes(3, seed=1), SlidingWindowInferer((8, 8, 4), 2), num_classes=2, device="cpu"
    )
    for name in ("model.pt", "model.safetensors"):
        metrics = evaluate_weights(evaluator, network, folder / "models" / name)
        logged = MetricsFile(folder / "train" / "metrics.jsonl").read()[-1]["validation"]
        assert metrics == pytest.approx(logged)


def test_the_best_weights_are_those_of_the_best_epoch(folder):
    lines = MetricsFile(folder / "train" / "metrics.jsonl").read()
    scores = [line["validation"][KEY_METRIC] for line in lines]
    best = scores.index(max(scores)) + 1
    state = torch.load(folder / "train" / "resume.pt", weights_only=True)
    assert state["best"] == {"metric": max(scores), "epoch": best}
    last, kept = (load_file(folder / "models" / f"{n}.safetensors") for n in ("model", "best"))
    assert all(torch.equal(last[n], kept[n]) for n in last) == (best == EPOCHS)


def test_the_last_epoch_is_validated_whatever_the_interval(tmp_path):
    segmentation(tmp_path, val_interval=3).run()
    lines = MetricsFile(tmp_path / "train" / "metrics.jsonl").read()
    assert [bool(line["validation"]) for line in lines] == [False, False, True, True]


def test_monai_can_read_the_model_without_unpickling(folder):
    state = torch.load(folder / "models" / "model.pt", weights_only=True)
    network = Segmenter(encoder(), num_classes=2, num_heads=2)
    network.load_state_dict(state, strict=True)


def test_training_without_validation_saves_the_last_weights_only(tmp_path):
    from monai.transforms import RandSpatialCropd

    from tests.engines.tiny import PATCH, loop
    from volseg.engines.segment import segmentation_trainer

    network = Segmenter(encoder(), num_classes=2, num_heads=2)
    crop = RandSpatialCropd(["image", "label"], PATCH, random_size=False)
    segmentation_trainer(network, volumes(2), crop, 1, optimisation(), loop(tmp_path)).run()
    assert sorted(p.name for p in (tmp_path / "models").iterdir()) == [
        "model.pt", "model.safetensors",
    ]  # fmt: skip


def test_the_loss_of_a_certain_and_right_answer_is_nothing():
    label = torch.randint(0, 3, (2, 1, 4, 4, 4))
    certain = 100.0 * nn.functional.one_hot(label[:, 0], 3).movedim(-1, 1)
    assert dice_and_cross_entropy()(certain, label).item() == pytest.approx(0, abs=1e-4)


def test_the_loss_of_not_knowing_is_known():
    # background and class 1 in halves, all probabilities 1/2: Dice 2 * n/4 / (n/2 + n/2), CE ln 2
    label = torch.tensor([0, 1] * 32).reshape(1, 1, 4, 4, 4)
    loss = dice_and_cross_entropy()(torch.zeros(1, 2, 4, 4, 4), label)
    assert loss.item() == pytest.approx(0.5 + 0.693147, abs=1e-4)


def test_a_pretrained_encoder_is_loaded_and_its_receipt_logged(tmp_path, caplog):
    from tests.engines.tiny import pretraining

    pretraining(tmp_path).run()
    path = tmp_path / "models" / "encoder.safetensors"
    network = Segmenter(encoder(seed=9), num_classes=2)
    with caplog.at_level("INFO"):
        assert initial_network(network, path, device="cpu") is network
    assert str(path) in caplog.text
    saved = load_file(path)
    for name, value in network.encoder.state_dict().items():
        assert torch.equal(value, saved[f"encoder.{name}"])


def test_a_channel_that_the_weights_do_not_know_starts_at_nothing(tmp_path):
    path = tmp_path / "one.safetensors"
    one = Segmenter(ResidualEncoder(1, (4, 8), patch=(2, 2, 2)), 2, SubpixelDecoder).eval()
    save_weights(path, segmenter_parts(one), Card({}, ("MRI",)))
    two = Segmenter(ResidualEncoder(2, (4, 8), patch=(2, 2, 2)), 2, SubpixelDecoder).eval()
    initial_network(two, path, "cpu", ["MRI", "MRI mirrored"])
    x, other = torch.randn(2, 1, 1, 16, 16, 16)
    with torch.no_grad():
        expected, found = one.encoder(x), two.encoder(torch.cat([x, other], dim=1))
    torch.testing.assert_close(found, expected)


def test_evaluating_weights_that_are_not_there_is_refused(tmp_path):
    network = Segmenter(encoder(), num_classes=2)
    with pytest.raises(WeightsError, match=r"absent\.pt"):
        evaluate_weights(evaluator_of(volumes(1)), network, tmp_path / "absent.pt")


def test_steps_are_counted(folder):
    state = torch.load(folder / "train" / "resume.pt", weights_only=True)
    assert state["learner"]["step"] == EPOCHS * EPOCH_LENGTH
