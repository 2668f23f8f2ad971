"""What a training will take."""

import time

import pytest
import torch
from monai.transforms import RandSpatialCropd

from tests.engines.tasks import TASKS
from tests.engines.test_resume import Stop, equal
from tests.engines.tiny import (
    EPOCH_LENGTH,
    EPOCHS,
    PATCH,
    Denoising,
    encoder,
    optimisation,
    pretraining,
    volumes,
)
from volseg.data.draws import Draws, draw_loader
from volseg.engines.forecast import Forecast, forecast
from volseg.engines.learner import Learner
from volseg.engines.loop import Batches
from volseg.engines.schedules import Sawtooth
from volseg.networks.segmenter import Segmenter
from volseg.pretext.task import PretextResult


def compute(task, batch, *, panels):
    return task(batch, panels=panels)


def make(build, delay=0.0, workers=0):
    torch.manual_seed(0)
    task = build()
    draws = Draws(volumes(4), task.views((8, 8, 8)))

    def batches(step, num_workers):
        time.sleep(delay)
        assert num_workers == 0
        return draw_loader(draws, 2, step, 50, num_workers)

    return Learner(task, compute, optimisation(), 50, seed=0), Batches(batches, workers)


class Counting(Denoising):
    """A task that changes a buffer while it computes, as batch normalisation does."""

    def forward(self, batch, *, panels=False):
        self.counted += 1
        return super().forward(batch, panels=panels)


@pytest.mark.parametrize("build", [TASKS["contrastive"], lambda: Counting(encoder())])
def test_a_forecast_leaves_no_trace(build):
    learner, batches = make(build)
    before = {key: value.clone() for key, value in learner.module.state_dict().items()}
    forecast(learner, batches)
    assert equal(before, learner.module.state_dict())
    assert not learner.optimizer.state
    assert learner.step == 0
    assert all(parameter.grad is None for parameter in learner.module.parameters())


def test_a_forecast_freezes_nothing():
    """Processes compare what learns when they join, and only the first one makes a forecast."""
    torch.manual_seed(0)
    network = Segmenter(encoder(), num_classes=2)
    learning = optimisation(schedule=Sawtooth(alone=0.3, warmup=0.3))
    crop = RandSpatialCropd(["image", "label"], PATCH, random_size=False)
    draws = Draws(volumes(4), crop)

    def compute(network, batch, *, panels):
        return PretextResult(network(batch["image"]).square().mean())

    learner = Learner(network, compute, learning, 50, seed=0)
    forecast(learner, Batches(lambda step, workers: draw_loader(draws, 2, step, 50, workers)))
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_a_step_takes_as_long_as_loading_and_computing():
    found = forecast(*make(TASKS["autoencoder"], delay=0.3))
    assert found.steps == 50
    assert 0.3 < found.seconds < 30


def test_workers_load_while_the_device_computes():
    """Of 0.9 s three workers leave 0.3 s a step, beside which this network takes no time."""
    alone = forecast(*make(TASKS["autoencoder"], delay=0.9)).seconds
    together = forecast(*make(TASKS["autoencoder"], delay=0.9, workers=3)).seconds
    assert together < alone


def test_it_is_said_in_one_line():
    said = str(Forecast(1200, 0.5, {"host": 900.4, "gpu": 2000.0}))
    assert said == (
        "1200 steps of about 0.5 s: 10 min without validation; memory at the peak about 900 MiB"
        " (host), 2000 MiB (gpu)"
    )


def test_it_is_logged_before_the_first_step_and_of_a_resumed_run_for_what_remains(tmp_path, caplog):
    caplog.set_level("INFO", "volseg")
    pretraining(tmp_path, handlers=[Stop()]).run()
    pretraining(tmp_path, resume=True).run()
    plans = [text for text in caplog.messages if text.startswith("plan: ")]
    total = EPOCHS * EPOCH_LENGTH
    assert [int(plan.split()[1]) for plan in plans] == [total, total - 2 * EPOCH_LENGTH]
    assert caplog.messages.index(plans[0]) < next(
        i for i, text in enumerate(caplog.messages) if text.startswith("epoch 1")
    )
