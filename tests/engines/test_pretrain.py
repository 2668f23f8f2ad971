"""The trainer of pretext tasks."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from tests.engines.tiny import (
    EPOCH_LENGTH,
    EPOCHS,
    PATCH,
    Denoising,
    encoder,
    loop,
    optimisation,
    pretraining,
    volumes,
)
from volseg.engines.log import MetricsFile
from volseg.engines.pretrain import pretrain_trainer
from volseg.engines.watch import Watch
from volseg.errors import VolsegError
from volseg.networks.weights import load_encoder, read_card
from volseg.pretext.collapse import CollapseGuard


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    card = {"network": {"encoder": CONFIG}, "channels": ["T1"], "data": {"names": ["tiny"]}}
    pretraining(folder, card=card).run()
    return folder


CONFIG = {
    "_target_": "volseg.networks.residual.ResidualEncoder",
    "in_channels": 1,
    "widths": [4, 8],
}


def test_the_log_has_a_line_an_epoch(folder):
    lines = MetricsFile(folder / "train" / "metrics.jsonl").read()
    assert [line["step"] for line in lines] == [3, 6, 9, 12]
    assert [line["epoch"] for line in lines] == [1, 2, 3, 4]
    for line in lines:
        assert line["parts"]["l2"] == line["loss"] > 0
        assert set(line["monitors"]) == {"spread", "gradient_norm"}
        assert line["lr"]["all"] > 0
        assert line["seconds"] > 0
        assert line["validation"] == {}


def test_there_is_a_picture_an_epoch(folder):
    names = sorted(path.name for path in (folder / "train" / "panels").iterdir())
    assert names == [f"step_{EPOCH_LENGTH * epoch:07d}.png" for epoch in range(1, EPOCHS + 1)]


def test_the_weights_load_into_an_encoder_and_the_card_knows_them(folder):
    path = folder / "models" / "encoder.safetensors"
    fresh = encoder(seed=1)
    receipt = load_encoder(fresh, path)
    assert receipt.fraction == 1
    card = read_card(path)
    assert card.steps == EPOCHS * EPOCH_LENGTH
    assert card.channels == ("T1",)
    assert card.network == {"encoder": CONFIG}
    assert card.versions["torch"] == torch.__version__


def test_what_is_saved_is_the_average(folder):
    state = torch.load(folder / "train" / "resume.pt", weights_only=True)["learner"]
    saved = load_file(folder / "models" / "encoder.safetensors")
    for name, value in saved.items():
        assert torch.equal(value, state["average"][name])
    assert any(not torch.equal(value, state["module"][name]) for name, value in saved.items())


def test_a_card_of_another_network_loses_its_config_with_a_warning(tmp_path, caplog):
    card = {"network": {"encoder": {**CONFIG, "widths": [4, 4]}}}
    pretraining(tmp_path, card=card).run()
    assert "is not the network in training" in caplog.text
    saved = read_card(tmp_path / "models" / "encoder.safetensors")
    assert saved.network == {}
    assert saved.channels == ("channel 0",)


def test_the_task_is_told_after_every_step(tmp_path):
    trainer = pretraining(tmp_path)
    trainer.run()
    task = trainer.network
    assert isinstance(task, Denoising)
    total = EPOCHS * EPOCH_LENGTH
    assert task.seen == [(step, total) for step in range(1, total + 1)]


def test_one_seed_gives_one_result_and_another_another(tmp_path, folder):
    pretraining(tmp_path / "same", num_workers=2).run()
    pretraining(tmp_path / "other", seed=1).run()
    one, same, other = (
        load_file(run / "models" / "encoder.safetensors")
        for run in (folder, tmp_path / "same", tmp_path / "other")
    )
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not all(torch.equal(one[name], other[name]) for name in one)


def test_bf16_on_a_cpu_gives_the_same_bits_twice(tmp_path):
    for name in ("one", "two"):
        pretraining(tmp_path / name, learning=optimisation(precision="bf16")).run()
    one, two = (load_file(tmp_path / n / "models" / "encoder.safetensors") for n in ("one", "two"))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_the_log_is_plain_json(folder):
    for line in (folder / "train" / "metrics.jsonl").read_text().splitlines():
        json.loads(line, parse_constant=pytest.fail)


def test_a_bar_is_drawn_on_stderr_if_wanted(tmp_path, capsys):
    pretraining(tmp_path, progress=True).run()
    captured = capsys.readouterr()
    assert "12/12" in captured.err
    assert captured.out == ""


def test_a_broken_intensity_ends_the_run_with_its_step(tmp_path):
    class Break:
        def attach(self, engine):
            from ignite.engine import Events

            @engine.on(Events.ITERATION_STARTED(once=5))
            def spoil(engine):
                engine.state.batch["image"][:] = float("nan")

    with pytest.raises(VolsegError, match="the loss is nan at step 5"):
        pretraining(tmp_path, handlers=[Break()]).run()
    assert len(MetricsFile(tmp_path / "train" / "metrics.jsonl").read()) == 1


class Constant(Denoising):
    """A task that reports features without spread."""

    def forward(self, batch, *, panels=False):
        result = super().forward(batch, panels=panels)
        return replace(result, monitors={"feature_spread": torch.tensor(0.01)})


def collapsing(folder, **options):
    watch = Watch(CollapseGuard(**options))
    task = Constant(encoder())
    return pretrain_trainer(
        task, volumes(4), PATCH, EPOCHS, optimisation(), loop(folder), watch=watch
    )


def test_a_collapse_is_warned_of_after_every_epoch(tmp_path, caplog):
    collapsing(tmp_path).run()
    said = [record.getMessage() for record in caplog.records if "collapsed" in record.message]
    assert len(said) == EPOCHS
    assert "by step 3: feature_spread is 0.01, below 0.1" in said[0]


def test_a_collapse_stops_the_run_when_asked_to_and_leaves_its_log(tmp_path):
    with pytest.raises(VolsegError, match="collapsed by step 3"):
        collapsing(tmp_path, action="stop").run()
    lines = MetricsFile(tmp_path / "train" / "metrics.jsonl").read()
    assert [line["step"] for line in lines] == [3]
