"""The verbs on the command line: arguments in, results on stdout, status out."""

import json
from pathlib import Path

import pytest

from tests.bundles.synthetic import write_dataset
from volseg.cli.main import main
from volseg.workflows import demo as demo_module
from volseg.workflows import doctor as doctor_module
from volseg.workflows.doctor import Check, Diagnosis

ENCODER = '{"_target_": "volseg.networks.residual.tiny", "in_channels": 1}'
MASKS = {
    "_target_": "volseg.pretext.pseudo_mask.PseudoMaskSegmentation",
    "encoder": "@encoder",
    "num_classes": 2,
}
TINY = [
    *("--set", "patch_size=[16, 16, 16]", "--set", "max_epochs=1", "--set", "epoch_length=2"),
    *("--device", "cpu", "--quiet", "--debug"),
]


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "tiny"
    write_dataset(folder)
    return folder


@pytest.fixture(scope="module")
def bundle(data, tmp_path_factory) -> Path:
    """Pretrain and fine-tune on the command line."""
    folder = tmp_path_factory.mktemp("runs")
    pretrain = ["pretrain", "--data", data, "--output", folder / "pre", "--seed", 1]
    assert call(*pretrain, "--set", f"encoder={ENCODER}", *TINY) == 0
    finetune = ["finetune", "--bundle", "hippocampus_segmentation", "--data", data]
    encoder = folder / "pre" / "models" / "encoder.safetensors"
    finetune += ["--output", folder / "fine", "--encoder", encoder, "--schedule", "sawtooth"]
    finetune += ["--transductive"]
    assert call(*finetune, "--set", f"network_def::encoder={ENCODER}", *TINY) == 0
    return folder / "fine"


def call(*arguments) -> int:
    return main([str(argument) for argument in arguments])


def test_the_options_reach_the_run(bundle):
    record = json.loads((bundle.parent / "pre" / "run.json").read_text())
    assert record["settings"]["config"]["seed"] == 1
    schedule = json.loads((bundle / "configs" / "train.json").read_text())["optimisation"]
    assert schedule["schedule"] == {"_target_": "volseg.engines.schedules.Sawtooth"}


def test_segmenting_and_scoring_print_one_json_document(bundle, data, tmp_path, capsys):
    segment = ["segment", data / "imagesTr", "--bundle", bundle, "--output", tmp_path / "masks"]
    assert call(*segment, "--device", "cpu", "--json", "--quiet") == 0
    assert json.loads(capsys.readouterr().out)["done"] == 3
    evaluate = ["evaluate", tmp_path / "masks", data / "labelsTr", "--quiet"]
    assert call(*evaluate, "--bundle", bundle, "--json") == 0
    assert set(json.loads(capsys.readouterr().out)["summary"]) >= {"anterior", "posterior"}
    assert call(*evaluate) == 0
    assert "surface Dice at 1 mm" in capsys.readouterr().out


def test_a_failed_case_ends_with_1(bundle, data, tmp_path, capsys):
    (tmp_path / "bad.nii.gz").touch()
    inputs = [tmp_path / "bad.nii.gz", data / "imagesTr" / "case_0.nii.gz"]
    segment = ["segment", *inputs, "--bundle", bundle, "--output", tmp_path / "masks", "--quiet"]
    assert call(*segment, "--device", "cpu") == 1
    assert "1 done, 1 failed" in capsys.readouterr().out


def test_masks_are_not_overwritten_unless_asked_to(bundle, data, tmp_path, capsys):
    image = data / "imagesTr" / "case_0.nii.gz"
    segment = ["segment", image, "--bundle", bundle, "--output", tmp_path, "--device", "cpu"]
    assert call(*segment, "--quiet") == 0
    assert call(*segment, "--quiet") == 1
    assert "exists already" in capsys.readouterr().err
    assert call(*segment, "--quiet", "--overwrite") == 0


def test_a_missing_mask_ends_with_1(data, tmp_path):
    (tmp_path / "masks").mkdir()
    label = data / "labelsTr" / "case_0.nii.gz"
    (tmp_path / "masks" / label.name).write_bytes(label.read_bytes())
    report = ["--output", tmp_path / "report"]
    assert call("evaluate", tmp_path / "masks", data / "labelsTr", "--quiet", *report) == 1
    said = json.loads((tmp_path / "report" / "results.json").read_text())
    assert [case["status"] for case in said["cases"]] == ["scored", "missed", "missed"]
    page = (tmp_path / "report" / "report.html").read_text()
    assert page.index("<svg") < page.index("<table")  # pictures first
    worst = [page.index(f"<td>case_{number}</td>") for number in (1, 2, 0)]
    assert worst == sorted(worst)


def test_an_unknown_key_ends_with_1_and_names_the_nearest(data, tmp_path, capsys):
    pretrain = ["pretrain", "--data", data, "--output", tmp_path / "run"]
    assert call(*pretrain, "--set", "learning_rat=1") == 1
    assert "the nearest is 'optimisation::learning_rate'" in capsys.readouterr().err


def test_a_preset_chooses_the_pretext_task_and_what_is_set_overrules_it(data, tmp_path, capsys):
    pretrain = ["pretrain", "--data", data, "--output", tmp_path / "run", "--preset", "pseudo_mask"]
    chosen = ["--set", f"encoder={ENCODER}", "--set", f"task={json.dumps(MASKS)}", *TINY]
    assert call(*pretrain, *chosen) == 0
    task = json.loads((tmp_path / "run" / "configs" / "train.json").read_text())["task"]
    assert task == MASKS
    log = json.loads((tmp_path / "run" / "train" / "metrics.jsonl").read_text())
    assert set(log["parts"]) == {"cross_entropy", "dice"}
    assert call(*pretrain[:-1], "pseudo_masks", "--overwrite") == 1
    assert "the nearest is 'pseudo_mask'" in capsys.readouterr().err


def test_the_probe_of_the_page_runs_on_the_command_line(data, tmp_path, repository):
    page = (repository / "docs" / "pretext" / "index.md").read_text()
    watch = page.split("```json")[1].split("```")[0]
    watch = watch.replace('"labelled_cases"', json.dumps(str(data))).replace(": 4", ": 2")
    pretrain = ["pretrain", "--data", data, "--output", tmp_path / "run"]
    assert call(*pretrain, "--set", f"encoder={ENCODER}", "--set", f"watch={watch}", *TINY) == 0
    log = json.loads((tmp_path / "run" / "train" / "metrics.jsonl").read_text())
    assert 0 <= log["validation"]["probe_dice"] <= 1
    assert (tmp_path / "run" / "models" / "best_encoder.safetensors").is_file()


def test_inspecting_ends_with_1_if_there_is_a_problem(data, tmp_path, capsys):
    assert call("inspect", data, "--quiet") == 0
    assert "no problem found" in capsys.readouterr().out
    (tmp_path / "bad.nii.gz").touch()
    assert call("inspect", tmp_path / "bad.nii.gz", "--json") == 1
    assert json.loads(capsys.readouterr().out)["problems"] == ["is empty"]


@pytest.mark.parametrize(("status", "expected"), [("ok", 0), ("failed", 1)])
def test_the_doctors_finding_is_the_status(monkeypatch, capsys, status, expected):
    found = Diagnosis({"volseg": "1"}, {}, [Check("disk", status, "")], 0)
    monkeypatch.setattr(doctor_module, "doctor", lambda: found)
    assert call("doctor") == expected
    assert "disk" in capsys.readouterr().out


def test_the_options_reach_the_demo(monkeypatch, tmp_path):
    calls = []

    def demo(output, settings, *, overwrite):
        calls.append((output, settings.seed, settings.device, settings.progress, overwrite))
        return "done"

    monkeypatch.setattr(demo_module, "demo", demo)
    arguments = ["--output", tmp_path, "--seed", 3, "--device", "cpu", "--quiet", "--overwrite"]
    assert call("demo", *arguments) == 0
    assert calls == [(tmp_path, 3, "cpu", False, True)]
