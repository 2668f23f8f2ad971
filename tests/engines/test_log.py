"""The log of a run."""

import json

import pytest
import torch

from volseg.engines.log import EpochMeans, MetricsFile
from volseg.pretext.task import PretextResult


def result(loss, spread):
    return PretextResult(
        torch.tensor(loss), {"l2": torch.tensor(loss)}, {"spread": torch.tensor(spread)}
    )


def test_an_epoch_is_the_mean_of_its_steps():
    means = EpochMeans()
    means.add(result(1.0, 10.0))
    means.add(result(3.0, 30.0))
    assert means.take() == {"loss": 2.0, "parts": {"l2": 2.0}, "monitors": {"spread": 20.0}}


def test_each_epoch_starts_anew():
    means = EpochMeans()
    means.add(result(1.0, 1.0))
    means.take()
    means.add(result(5.0, 1.0))
    assert means.take()["loss"] == 5.0


def test_records_come_back(tmp_path):
    file = MetricsFile(tmp_path / "new" / "metrics.jsonl")
    records = [{"step": 1, "loss": 0.5}, {"step": 2, "lr": {"all": 1e-3}, "list": [1, 2]}]
    for record in records:
        file.append(record)
    assert file.read() == records


def test_a_number_that_json_lacks_becomes_null(tmp_path):
    file = MetricsFile(tmp_path / "metrics.jsonl")
    file.append({"step": 1, "dice": [float("nan"), float("inf"), 1.0]})
    assert json.loads(file.path.read_text()) == {"step": 1, "dice": [None, None, 1.0]}


def test_truncating_forgets_what_came_after_and_what_a_kill_cut_off(tmp_path):
    file = MetricsFile(tmp_path / "metrics.jsonl")
    for step in (5, 10, 15):
        file.append({"step": step})
    with file.path.open("a") as stream:
        stream.write('{"step": 2')
    file.truncate(10)
    assert file.path.read_text() == '{"step": 5}\n{"step": 10}\n'


@pytest.mark.parametrize("text", ["", '{"step": 1'])
def test_a_log_without_a_whole_line_is_empty(tmp_path, text):
    path = tmp_path / "metrics.jsonl"
    path.write_text(text)
    assert MetricsFile(path).read() == []


def test_truncating_a_log_that_is_not_there_makes_none(tmp_path):
    MetricsFile(tmp_path / "metrics.jsonl").truncate(0)
    assert list(tmp_path.iterdir()) == []
