"""Weights of other projects in the verbs: looked at, held against a network, fine-tuned from."""

import json

import pytest
import torch

from tests.bundles.synthetic import write_dataset
from tests.networks.foreign.peers import ResEnc, monai_swin, randomised
from volseg.cli.main import main
from volseg.errors import DataError, WeightsError
from volseg.networks.foreign.layout import Facts
from volseg.networks.opening import open_source, read_card
from volseg.workflows.finetune import finetune
from volseg.workflows.inspect import inspect
from volseg.workflows.training import PRETRAINED, TrainingOptions

FACTS = Facts(octants="monai_before_1_5")
RESENC = {
    "_target_": "volseg.networks.resenc.ResEncEncoder",
    "in_channels": 1,
    "widths": [4, 8],
    "blocks": [1, 1],
}
TINY = {
    "patch_size": [16, 16, 16],
    "max_epochs": 1,
    "epoch_length": 1,
    "precision": "fp32",
    "network_def::encoder": RESENC,
}


@pytest.fixture
def swin(tmp_path):
    from tests.networks.foreign.peers import BEFORE_1_5

    path = tmp_path / "model_swinvit.pt"
    torch.save({"state_dict": monai_swin(BEFORE_1_5, 2).state_dict()}, path)
    return path


@pytest.fixture
def resenc(tmp_path):
    path = tmp_path / "checkpoint_final.pth"
    state = randomised(ResEnc(1, (4, 8), (1, 1))).state_dict()
    torch.save({"network_weights": {f"encoder.{n}": t for n, t in state.items()}}, path)
    return path


def test_a_foreign_file_is_named_with_what_must_be_said_of_it(swin):
    found = inspect(swin)
    assert found.is_sound
    assert found.facts["layout"] == "MONAI Swin (SwinUNETR, model_swinvit.pt)"
    assert found.warnings[0].startswith("say --fact octants=...: monai_before_1_5")
    said = inspect(swin, facts=FACTS)
    assert said.warnings == []
    assert said.facts["encoder"]["merge_order"] == "monai_before_1_5"


def test_the_encoder_it_prints_is_the_one_that_takes_all_of_it(swin):
    printed = str(inspect(swin, facts=FACTS)).splitlines()
    (line,) = [line for line in printed if line.startswith("  encoder: ")]
    config = line.partition(": ")[2]
    found = inspect(swin, against=config, facts=FACTS)
    assert found.is_sound
    assert found.to_json()["facts"]["receipt"]["fraction"] == 1
    assert "100.0% of the encoder's parameters" in str(found)


@pytest.mark.parametrize("network", ["volseg.networks.swin.base", "hippocampus_segmentation"])
def test_a_network_that_cannot_take_it_is_a_problem_with_the_reason(swin, network):
    found = inspect(swin, against=network, facts=FACTS)
    (problem,) = found.problems
    reason = "the network in 'v2'" if "swin" in network else "the network has volseg.networks.resid"
    assert problem.startswith(f"{network} would refuse them")
    assert reason in problem


def test_a_window_of_another_size_is_told_beforehand(tmp_path, swin):
    config = {**inspect(swin, facts=FACTS).facts["encoder"], "window": 3, "in_channels": 1}
    receipt = inspect(swin, against=json.dumps(config), facts=FACTS).to_json()["facts"]["receipt"]
    assert len(receipt["resized"]) == 7
    assert receipt["inflated"] == ["encoder.embedding.weight"]


def test_a_volume_is_not_held_against_a_network(tmp_path):
    with pytest.raises(DataError, match="is no weights file"):
        inspect(tmp_path / "scan.nii.gz", against="volseg.networks.swin.base")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"octant": "v2"}, r"no fact is called 'octant'; there are \['octants'"),
        ({"heads": 0}, "fact heads is 0; it must be a number"),
        ({"size": [96, 96]}, "must be three numbers of voxels"),
        ({"channels": "T1"}, "must be names"),
    ],
)
def test_facts_that_cannot_be_are_refused(values, message):
    with pytest.raises(WeightsError, match=message):
        Facts.from_values(values)


def test_fine_tuning_starts_from_a_foreign_encoder_and_keeps_it(tmp_path, resenc):
    write_dataset(tmp_path / "data")
    options = TrainingOptions(device="cpu", progress=False)
    output = tmp_path / "run"
    result = finetune(
        tmp_path / "data", output, "hippocampus_segmentation",
        encoder=resenc, overrides=TINY, options=options,
    )  # fmt: skip
    assert any("read as nnU-Net ResEnc" in note for note in result.notes)
    assert any("does not say which images it has seen" in note for note in result.notes)
    kept = read_card(output / PRETRAINED)
    assert kept.pretext["file"] == "checkpoint_final.pth"
    assert inspect(output).is_sound
    assert read_card(output / "models" / "model.safetensors").pretext["layout"].startswith("nnU")
    # What volseg wrote speaks for itself.
    with pytest.raises(WeightsError, match=r"has a card, so no facts .* leave \['heads'\] out"):
        open_source(output / PRETRAINED, Facts(heads=3))


def test_facts_about_no_weights_are_refused(tmp_path):
    write_dataset(tmp_path / "data")
    options = TrainingOptions(device="cpu", progress=False, facts=FACTS)
    with pytest.raises(WeightsError, match=r"there are no weights, .* leave \['octants'\] out"):
        finetune(tmp_path / "data", tmp_path / "run", "hippocampus_segmentation", options=options)


def test_fine_tuning_asks_for_the_order_before_it_writes_anything(tmp_path, swin, capsys):
    write_dataset(tmp_path / "data")
    call = ["finetune", "--data", tmp_path / "data", "--bundle", "hippocampus_segmentation",
            "--encoder", swin, "--output", tmp_path / "run", "--quiet"]  # fmt: skip
    assert main([str(part) for part in call]) == 1
    assert "does not say its octants" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
