"""``run.json``: there from the start, complete at the end, whatever happens."""

import hashlib
import json
import logging

import pytest
import torch

from volseg import __version__
from volseg.errors import DataError, WeightsError
from volseg.workflows import record as module
from volseg.workflows.record import hash_files, recording, versions


def read(folder):
    return json.loads((folder / "run.json").read_text())


def test_the_record_says_what_was_run_and_how_it_went(tmp_path):
    given = tmp_path / "input.txt"
    given.write_bytes(b"abc")
    with recording(tmp_path, "try", {"seed": 3}, [given]) as record:
        assert read(tmp_path)["status"] == "running"
        record["results"]["dice"] = 0.5
    found = read(tmp_path)
    assert (found["verb"], found["status"], found["settings"]) == ("try", "done", {"seed": 3})
    assert found["results"] == {"dice": 0.5}
    assert found["inputs"][0]["sha256"] == hashlib.sha256(b"abc").hexdigest()
    assert found["inputs"][0]["bytes"] == 3
    assert found["versions"]["volseg"] == __version__
    assert found["machine"]["device"] == "cpu"
    assert found["seconds"] >= 0
    assert found["peak_memory_mib"]["host"] > 10
    assert found["previous"] == []


def test_what_fails_is_recorded_and_raised(tmp_path):
    with pytest.raises(DataError, match="no case"), recording(tmp_path, "try", {}):
        raise DataError("no case")
    assert read(tmp_path)["status"] == "failed"
    assert read(tmp_path)["error"] == "DataError: no case"


def test_an_interruption_is_recorded_too(tmp_path):
    with pytest.raises(KeyboardInterrupt), recording(tmp_path, "try", {}):
        raise KeyboardInterrupt
    assert read(tmp_path)["status"] == "failed"


def test_earlier_runs_into_the_same_folder_are_kept_in_order(tmp_path):
    for verb in ("first", "second", "third"):
        with recording(tmp_path, verb, {}):
            pass
    assert [run["verb"] for run in read(tmp_path)["previous"]] == ["first", "second"]


@pytest.mark.parametrize("text", ["{", "[]", "7"])
def test_a_record_that_cannot_be_read_is_replaced(tmp_path, text):
    (tmp_path / "run.json").write_text(text)
    with recording(tmp_path, "try", {}):
        pass
    assert read(tmp_path)["previous"] == []


def test_an_input_that_cannot_be_read_is_named_and_the_rest_hashed(tmp_path):
    there = tmp_path / "there"
    there.write_bytes(b"")
    lost, found = hash_files([tmp_path / "lost", there])
    assert lost["error"] == "No such file or directory"
    assert found["sha256"] == hashlib.sha256(b"").hexdigest()


def test_a_folder_that_takes_no_record_stops_the_run_before_it_starts(tmp_path):
    (tmp_path / "file").touch()
    with (
        pytest.raises(WeightsError, match="cannot write"),
        recording(tmp_path / "file", "try", {}),
    ):
        pytest.fail("the run was started")


def test_a_disk_that_fills_up_meanwhile_does_not_hide_what_was_found(tmp_path, monkeypatch, caplog):
    def refuse(path, content):
        raise WeightsError(f"cannot write {path}: No space left on device")

    with caplog.at_level(logging.WARNING), recording(tmp_path, "try", {}):
        monkeypatch.setattr(module, "write_atomically", refuse)
    assert "No space left on device" in caplog.text


def test_the_versions_are_those_that_are_imported():
    assert versions()["torch"] == torch.__version__


def test_a_package_that_is_not_there_is_said_so(monkeypatch):
    monkeypatch.setattr(module, "PACKAGES", ("no-such-package",))
    assert versions()["no-such-package"] == "not installed"
