"""Training and validating a detector."""

import numpy as np
import pytest
import torch
from ignite.engine import Events

from tests.engines.tiny import loop
from volseg.data.box_pipelines import box_augmentation
from volseg.engines.detect import detection_evaluator, detection_trainer
from volseg.engines.initial import initial_network
from volseg.engines.optimisation import Optimisation
from volseg.errors import DataError, VolsegError
from volseg.networks.box_windows import BoxWindows
from volseg.networks.detector import Detector
from volseg.networks.residual import ResidualEncoder
from volseg.networks.weights import load_segmenter
from volseg.transforms.boxes import find_boxes

SIZE = (16, 16, 16)


def case(seed=0, lesions=2):
    """Make noise with bright solids."""
    random = np.random.default_rng(seed)
    label = np.zeros(SIZE, int)
    for low in ((1, 2, 8), (9, 8, 1))[:lesions]:
        label[tuple(slice(n, n + 6) for n in low)] = 1
    image = random.normal(0, 0.3, SIZE) + 3 * label
    boxes, classes = find_boxes(label, 2)
    return {
        "image": torch.from_numpy(image[None].astype(np.float32)),
        "boxes": torch.from_numpy(boxes),
        "classes": torch.from_numpy(classes),
    }


def make():
    torch.manual_seed(0)
    return Detector(ResidualEncoder(1, (4, 8, 8)), anchors=((6, 6, 6),), width=8)


def training(folder, data, network=None, epochs=2, **changes):
    network = network or make()
    inferer = BoxWindows(SIZE, least_score=0.1)
    evaluator = detection_evaluator(network, data, inferer, "cpu")
    augment = box_augmentation(SIZE, (0,), intensity=0.1, most_boxes=4)
    options = {"batch_size": 1, "epoch_length": 3, **changes}
    learning = Optimisation(learning_rate=0.01, clip_norm=1.0)
    trainer = detection_trainer(
        network, data, augment, epochs, learning, loop(folder, **options), evaluator
    )
    return trainer, evaluator, network


def test_a_few_steps_on_one_case_find_all_its_lesions(tmp_path):
    data = [case()]
    trainer, evaluator, _ = training(tmp_path, data, epochs=1, epoch_length=60)
    trainer.run()
    found = evaluator.state.metrics
    assert evaluator.state.key_metric_name == "val_map"
    assert found["val_sensitivity"] == 1
    again = make()
    load_segmenter(again, tmp_path / "models" / "model.safetensors")
    boxes = BoxWindows(SIZE, least_score=0.1)(data[0]["image"][None], again.eval())[0]
    overlaps = [max(overlap(box[:6], lesion) for box in boxes) for lesion in data[0]["boxes"]]
    assert min(overlaps) >= 0.3
    assert (tmp_path / "models" / "model.pt").is_file()


def overlap(one, other):
    edges = (torch.minimum(one[3:], other[3:]) - torch.maximum(one[:3], other[:3])).clamp(min=0)
    volumes = [(box[3:] - box[:3]).prod() for box in (one, other)]
    return float(edges.prod() / (sum(volumes) - edges.prod()))


def test_a_resumed_run_ends_with_the_very_same_weights(tmp_path):
    data = [case(0), case(1, 1), case(2, 0)]
    whole, _, network = training(tmp_path / "whole", data)
    whole.run()
    half, _, _ = training(tmp_path / "half", data)
    half.add_event_handler(Events.EPOCH_COMPLETED, lambda engine: engine.terminate())
    half.run()
    rest, _, resumed = training(tmp_path / "half", data, resume=True)
    rest.run()
    assert rest.state.epoch == 2
    for name, value in network.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


class Saying:
    """Says what it was told, volume after volume."""

    def __init__(self, answers):
        self.answers = iter(answers)

    def __call__(self, image, network):
        return torch.tensor(next(self.answers)).reshape(1, -1, 8)


def test_the_scores_are_those_made_by_hand():
    first, second = case(lesions=2), case(lesions=1)
    right = first["boxes"].tolist()
    answers = [
        [[*right[0], 0.9, 0], [0, 0, 0, 2, 2, 2, 0.8, 0]],  # one of two, and a false one
        [[*right[0], 0.7, 0]],
    ]
    evaluator = detection_evaluator(make(), [first, second], Saying(answers), "cpu")
    evaluator.run()
    # precision at a recall up to 1/3 is 1, up to 2/3 it is 2/3, beyond 0: at 101 recalls
    expected = (34 * 1 + 33 * 2 / 3) / 101
    assert evaluator.state.metrics["val_map"] == pytest.approx(expected, abs=1e-6)
    assert evaluator.state.metrics["val_sensitivity"] == pytest.approx(2 / 3)


def test_cases_without_any_lesion_are_refused_in_one_line(tmp_path):
    with pytest.raises(DataError, match="none of the 2 cases that train holds a lesion"):
        training(tmp_path, [case(lesions=0), case(1, 0)])
    evaluator = detection_evaluator(make(), [case(lesions=0)], Saying([[]]), "cpu")
    with pytest.raises(DataError, match="no case that validates holds a lesion"):
        evaluator.run()


def test_a_loss_of_ones_own_is_refused(tmp_path):
    augment = box_augmentation(SIZE)
    learning = Optimisation(loss=torch.nn.MSELoss())
    with pytest.raises(VolsegError, match="the loss of a detector is RetinaNet's"):
        detection_trainer(make(), [case()], augment, 1, learning, loop(tmp_path))


def test_it_starts_from_a_pretrained_encoder(tmp_path):
    trainer, _, network = training(tmp_path, [case()], epochs=1)
    trainer.run()
    heir = initial_network(make(), tmp_path / "models" / "model.safetensors", "cpu")
    assert torch.equal(
        heir.state_dict()["heads.classification.cls_logits.bias"],
        network.state_dict()["heads.classification.cls_logits.bias"],
    )
