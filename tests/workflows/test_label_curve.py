"""The label-efficiency curve, on three tiny cases."""

import json
from dataclasses import replace

import pytest

from tests.bundles.synthetic import write_dataset
from volseg.cli.main import main
from volseg.errors import DataError
from volseg.networks import residual
from volseg.networks.card import Card
from volseg.networks.weights import save_weights
from volseg.workflows.curve_arms import Curve
from volseg.workflows.label_curve import label_curve
from volseg.workflows.splitting import choose_cases
from volseg.workflows.training import TrainingOptions

QUIET = TrainingOptions(device="cpu", progress=False)
ENCODER = {"_target_": "volseg.networks.residual.tiny", "in_channels": 1}
CARD = Card({"encoder": ENCODER}, ("MRI",), steps=3)
TINY = {
    "patch_size": [16, 16, 16],
    "max_epochs": 1,
    "epoch_length": 1,
    "precision": "fp32",
    "network_def::encoder": ENCODER,
}


def test_fewer_cases_are_among_more_and_groups_stay_together():
    names = [f"case{index}" for index in range(12)]
    groups = {name: str(index // 2) for index, name in enumerate(names)}
    few, more = (choose_cases(names, groups, count, seed=3) for count in (4, 8))
    assert few == more[:4]
    assert len({groups[name] for name in few}) == 2
    assert set(choose_cases(names, groups, 0, seed=3)) == set(names)
    assert choose_cases(names, groups, 4, seed=4) != few


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("curve")
    write_dataset(folder / "data")
    split = {"training": ["case_0", "case_1"], "validation": ["case_2"]}
    (folder / "split.json").write_text(json.dumps(split))
    encoder = folder / "encoder.safetensors"
    save_weights(encoder, {"encoder": residual.tiny()}, CARD)
    stepless = folder / "stepless.safetensors"
    save_weights(stepless, {"encoder": residual.tiny()}, replace(CARD, steps=0))
    curve = Curve([1, 0], 1, encoder, None, TINY, folder / "split.json")
    bundle = "hippocampus_segmentation"
    found = label_curve(folder / "data", folder / "out", bundle, curve, QUIET)
    return folder, curve, found


def test_both_arms_are_trained_on_the_same_cases_and_compared(finished):
    folder, _, found = finished
    names = sorted(path.name for path in (folder / "out" / "runs").iterdir())
    assert names == ["pretrained_n1_s0", "pretrained_n2_s0", "scratch_n1_s0", "scratch_n2_s0"]
    splits = [
        json.loads((folder / "out" / "runs" / name / "configs" / "split.json").read_text())
        for name in ("pretrained_n1_s0", "scratch_n1_s0")
    ]
    assert splits[0] == splits[1]
    assert len(splits[0]["training"]) == 1
    assert [(point.arm, point.cases) for point in found.points] == [
        ("scratch", 1),
        ("scratch", 2),
        ("pretrained", 1),
        ("pretrained", 2),
    ]
    log = folder / "out" / "runs" / "scratch_n1_s0" / "train" / "metrics.jsonl"
    said = json.loads(log.read_text().splitlines()[-1])["validation"]
    run = next(run for run in found.runs if (run.arm, run.cases) == ("scratch", 1))
    assert run.dice["case_2"] == pytest.approx([said["val_dice_1"], said["val_dice_2"]])
    assert "data:image/png" in (folder / "out" / "report.html").read_text()


def test_finished_runs_are_not_done_again(finished):
    folder, curve, found = finished
    bundle, where = "hippocampus_segmentation", (folder / "data", folder / "out")
    with pytest.raises(DataError, match="exists already; add --resume or --overwrite"):
        label_curve(*where, bundle, curve, QUIET)
    before = (folder / "out" / "runs.jsonl").read_text()
    again = label_curve(*where, bundle, curve, replace(QUIET, resume=True))
    assert (folder / "out" / "runs.jsonl").read_text() == before
    assert again.to_json() == found.to_json()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"overrides": {**TINY, "seed": 1}}, "had overrides = .*; go on with the same, or use"),
        ({"schedule": "llrd"}, "had schedule = None, and now it is llrd"),
        ({"encoder": "stepless"}, "had encoder of pretrained = "),
    ],
)
def test_a_curve_goes_on_only_as_it_began(finished, change, reason):
    folder, curve, _ = finished
    if "encoder" in change:
        change = {"encoder": folder / "stepless.safetensors"}
    before = (folder / "out" / "run.json").read_text()
    where = (folder / "data", folder / "out", "hippocampus_segmentation")
    with pytest.raises(DataError, match=reason):
        label_curve(*where, replace(curve, **change), replace(QUIET, resume=True))
    assert (folder / "out" / "run.json").read_text() == before


def test_controls_join_a_curve_that_is_there(finished):
    folder, curve, found = finished
    where = (folder / "data", folder / "out", "hippocampus_segmentation")
    more = replace(curve, counts=[1], controls={"auto-encoder": curve.encoder}, is_longer=True)
    again = label_curve(*where, more, replace(QUIET, resume=True))
    runs = {(run.arm, run.cases): run for run in again.runs}
    assert len(runs) == len(again.runs) == len(found.runs) + 2
    assert runs["longer", 1].steps == 4  # one of fine-tuning, three of pretraining
    assert runs["scratch", 1].steps == 1
    # the control starts from the very weights of the pretrained arm, and sees the same draws
    assert runs["auto-encoder", 1].dice == runs["pretrained", 1].dice
    against = {(each.other, each.cases): each.difference.mean for each in again.comparisons}
    assert against["auto-encoder", 1] == 0
    expected = runs["pretrained", 1].means()["case_2"] - runs["longer", 1].means()["case_2"]
    assert against["longer", 1] == pytest.approx(expected)
    assert "pretrained - longer" in str(again)
    page = (folder / "out" / "report.html").read_text()
    assert "pretrained - auto-encoder" in page


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"encoder": None, "is_longer": True}, "give one with --encoder"),
        ({"controls": {"scratch": "x"}}, "'scratch' cannot name a control"),
        ({"controls": {"a b": "x"}}, "'a b' cannot name a control; use letters, digits"),
        ({"controls": {"a": "no.file"}}, "no.file is no file; give the weights of the arm a"),
        ({"is_longer": True, "encoder": "stepless"}, "does not say how many steps it was trained"),
    ],
)
def test_controls_that_cannot_be_are_refused_before_anything_is_written(finished, change, reason):
    folder, curve, _ = finished
    if change.get("encoder"):
        change = {**change, "encoder": folder / "stepless.safetensors"}
    with pytest.raises(DataError, match=reason):
        label_curve(
            folder / "data", folder / "no", "hippocampus_segmentation", replace(curve, **change),
            QUIET,
        )  # fmt: skip
    assert not (folder / "no").exists()


def test_numbers_that_cannot_be_are_refused(finished, capsys):
    folder, curve, _ = finished
    for counts, seeds in (([3], 1), ([-1], 1), ([1], 0), ([], 1)):
        wrong = replace(curve, counts=counts, seeds=seeds)
        with pytest.raises(DataError, match="use numbers from 1 to 2, the training cases"):
            label_curve(folder / "data", folder / "no", "hippocampus_segmentation", wrong, QUIET)
    command = ["finetune", "--bundle", "hippocampus_segmentation", "--data", str(folder / "data")]
    assert main([*command, "--output", str(folder / "no"), "--seeds", "3"]) == 1
    assert "--seeds goes with --cases" in capsys.readouterr().err
    assert main([*command, "--output", str(folder / "no"), "--longer"]) == 1
    assert "--control and --longer go with --cases" in capsys.readouterr().err
    assert not (folder / "no").exists()
