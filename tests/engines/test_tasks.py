"""Every pretext task under the one trainer: it logs, resumes to the same bits, and saves."""

import pytest
import torch
from safetensors.torch import load_file

from tests.engines.tasks import PATCH, TASKS, encoder, pretraining, vit
from tests.engines.test_resume import WALL_TIME, Stop, equal
from tests.engines.tiny import loop, optimisation, volumes
from volseg.engines.checkpoint import load_state
from volseg.engines.log import MetricsFile
from volseg.engines.pretrain import pretrain_trainer
from volseg.networks.opening import read_card
from volseg.pretext.autoencoder import Autoencoder
from volseg.pretext.combined import Combined
from volseg.pretext.cross_architecture import CrossArchitecture
from volseg.pretext.partners import TransformerPartner


def log_of(folder):
    records = MetricsFile(folder / "train" / "metrics.jsonl").read()
    return [{key: record[key] for key in record.keys() - WALL_TIME} for record in records]


@pytest.mark.parametrize("name", TASKS)
def test_a_task_stopped_on_its_way_resumes_to_the_same_bits(name, tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    pretraining(name, whole).run()
    pretraining(name, parts, handlers=[Stop()]).run()
    assert len(log_of(parts)) == 2
    pretraining(name, parts, resume=True).run()
    first, second = (load_state(folder / "train" / "resume.pt") for folder in (whole, parts))
    assert equal(first["learner"], second["learner"])
    log = log_of(whole)
    assert log == log_of(parts)
    assert all(record["parts"] for record in log)
    assert any(key.endswith(("_spread", "_rank")) for key in log[-1]["monitors"])
    for path in (whole / "models").iterdir():
        assert equal(load_file(path), load_file(parts / "models" / path.name))
    assert list((whole / "train" / "panels").iterdir())


def test_what_a_teacher_says_is_logged(tmp_path):
    pretraining("self_distillation", tmp_path).run()
    monitors = log_of(tmp_path)[-1]["monitors"]
    assert {"token_spread", "crop_teacher_entropy", "token_teacher_entropy"} <= set(monitors)


def test_two_encoders_are_saved_in_two_files(tmp_path):
    pretraining("cross_architecture", tmp_path).run()
    names = sorted(path.name for path in (tmp_path / "models").iterdir())
    assert names == ["encoder.safetensors", "partner.safetensors"]


def test_the_partner_in_a_sum_of_tasks_is_built_from_its_card(tmp_path):
    own, other = encoder(), vit()
    tasks = {
        "rebuilt": Autoencoder(own, partner=TransformerPartner),
        "pair": CrossArchitecture(own, other, projection=8, memory=8),
    }
    config = {
        "_target_": "volseg.networks.vit.ViTEncoder", "in_channels": 1, "size": [8, 8, 8],
        "patch": 4, "width": 24, "depth": 4, "heads": 2,
    }  # fmt: skip
    making = {"_target_": "volseg.pretext.partners.TransformerPartner", "_mode_": "callable"}
    card = {"pretext": {"tasks": {"rebuilt": {"partner": making}, "pair": {"partner": config}}}}
    where = loop(tmp_path, card=card)
    pretrain_trainer(Combined(own, tasks), volumes(4), PATCH, 1, optimisation(), where).run()
    assert read_card(tmp_path / "models" / "partner.safetensors").network == {"encoder": config}


@pytest.mark.parametrize("name", ["pseudo_mask", "combined"])
def test_a_decoder_that_was_trained_is_saved_with_the_encoder(name, tmp_path):
    pretraining(name, tmp_path).run()
    saved = load_file(tmp_path / "models" / "encoder.safetensors")
    assert {key.split(".")[0] for key in saved} == {"encoder", "decoder"}
    assert all(torch.isfinite(value).all() for value in saved.values())
