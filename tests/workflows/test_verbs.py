"""The verbs, one after the other, on three tiny cases."""

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from torch import nn

from tests.bundles.synthetic import write_dataset
from volseg.bundle import Bundle
from volseg.errors import BundleError, DataError, DeviceError, VolsegError, WeightsError
from volseg.networks.weights import read_card
from volseg.workflows.evaluate import evaluate
from volseg.workflows.finetune import SCHEDULES, finetune, with_schedule
from volseg.workflows.inspect import inspect
from volseg.workflows.pretrain import pretrain
from volseg.workflows.segment import Batch, forecast_segment, segment
from volseg.workflows.splitting import SPLIT
from volseg.workflows.training import TrainingOptions, TrainingResult, summarise

BUNDLE = "hippocampus_segmentation"
QUIET = TrainingOptions(device="cpu", progress=False)
TINY = {"patch_size": [16, 16, 16], "max_epochs": 1, "epoch_length": 2, "precision": "fp32"}
ENCODER = {"_target_": "volseg.networks.residual.tiny", "in_channels": 1}
PRETRAINING = {**TINY, "encoder": ENCODER}
FINETUNING = {**TINY, "network_def::encoder": ENCODER}


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "tiny"
    write_dataset(folder)
    return folder


@pytest.fixture(scope="module")
def pretrained(data, tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("run") / "pretraining"
    pretrain(data, output, overrides=PRETRAINING, options=QUIET)
    return output


@pytest.fixture(scope="module")
def finetuned(data, pretrained, tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("run") / "finetuning"
    encoder = pretrained / "models" / "encoder.safetensors"
    options = replace(QUIET, is_transductive=True)
    finetune(data, output, BUNDLE, encoder=encoder, overrides=FINETUNING, options=options)
    return output


def test_an_encoder_that_has_seen_validation_cases_is_refused(data, pretrained, tmp_path):
    encoder = pretrained / "models" / "encoder.safetensors"
    with pytest.raises(
        DataError, match=r"on 2 of the 2 validation cases, .* or say --transductive"
    ):
        finetune(data, tmp_path / "run", BUNDLE, encoder=encoder, options=QUIET)
    assert not (tmp_path / "run").exists()


def test_a_bundle_that_classifies_is_finetuned_on_a_table(data, pretrained, tmp_path):
    rows = ["case,label", *(f"case_{index},{index}" for index in range(3))]
    (tmp_path / "grades.csv").write_text("\n".join(rows))
    encoder = pretrained / "models" / "encoder.safetensors"
    changes = {**FINETUNING, "label_table": str(tmp_path / "grades.csv")}
    options = replace(QUIET, is_transductive=True)
    output = tmp_path / "run"
    bundle = "volume_classification"
    found = finetune(data, output, bundle, encoder=encoder, overrides=changes, options=options)
    assert "val_kappa" in found.last["validation"]
    assert Bundle(output).check() == []
    record = read_record(output)
    assert any(file["path"].endswith("grades.csv") for file in record["inputs"])
    card = read_card(output / "models" / "model.safetensors")
    assert card.architecture["heads"] == "torch.nn.modules.container.Sequential"


def read_record(folder: Path) -> dict:
    return json.loads((folder / "run.json").read_text())


def test_pretraining_leaves_a_bundle_with_a_card_that_says_what_it_learned_from(pretrained):
    assert Bundle(pretrained).check() == []
    card = read_card(pretrained / "models" / "encoder.safetensors")
    assert (card.network, card.steps, card.patch_size) == ({"encoder": ENCODER}, 2, (16, 16, 16))
    assert (card.data["names"], card.data["licence"], card.data["num_cases"]) == (
        ["tiny"],
        "CC0",
        3,
    )


def test_a_run_records_what_it_did(pretrained, data):
    record = read_record(pretrained)
    assert (record["verb"], record["status"]) == ("pretrain", "done")
    assert record["settings"]["config"]["dataset_dir"] == str(data.resolve())
    assert record["settings"]["config"]["train"]["trainer"]["max_epochs"] == 1
    assert record["settings"]["config"]["seed"] == 0
    assert {Path(file["path"]).parent.name for file in record["inputs"]} == {"imagesTr"}
    assert record["results"]["last"]["step"] == 2


def test_a_finetuned_bundle_says_how_its_cases_were_divided(finetuned):
    assert Bundle(finetuned).check() == []
    split = json.loads((finetuned / SPLIT).read_text())
    assert sorted(split["training"] + split["validation"]) == ["case_0", "case_1", "case_2"]
    record = read_record(finetuned)
    assert record["results"]["best"]["validation"]["val_mean_dice"] >= 0
    assert any(file["path"].endswith("encoder.safetensors") for file in record["inputs"])
    assert inspect(finetuned).is_sound


def test_masks_lie_on_the_grids_of_their_images_and_are_scored(finetuned, data, tmp_path):
    images = data / "imagesTr"
    summary = segment([images], finetuned, tmp_path / "masks", device="cpu")
    assert summary.is_complete
    for image in map(nib.load, sorted(images.glob("*"))):
        mask = nib.load(tmp_path / "masks" / Path(image.get_filename()).name)
        assert mask.shape == image.shape
        assert np.array_equal(mask.affine, image.affine)
        assert set(np.unique(mask.dataobj)) <= {0, 1, 2}
    report = evaluate(tmp_path / "masks", data / "labelsTr", bundle=finetuned)
    assert report.is_complete
    assert set(report.summary) == {"anterior", "posterior", "all classes"}
    record = read_record(tmp_path / "masks")
    counts = {"done": 3, "skipped": 0, "failed": 0, "not run": 0, "left out": 0}
    assert record["results"] == {"complete": True, **counts}
    assert len(record["inputs"]) == 1  # the weights; the manifest has the hash of each image


def test_beside_the_masks_stand_volumes_and_a_report_and_a_run_can_be_resumed(
    finetuned, data, tmp_path
):
    images, output = data / "imagesTr", tmp_path / "masks"
    first = segment([images], finetuned, output, device="cpu")
    with (output / "volumes.csv").open(newline="", encoding="utf-8") as file:
        rows = {row["case"]: row for row in csv.DictReader(file)}
    for case in first.cases:
        for name, volume in case.volumes_ml.items():
            assert float(rows[case.name][name]) == pytest.approx(volume, abs=1e-6)
    page = (output / "report.html").read_text("utf-8")
    assert all(case.name in page for case in first.cases)
    (output / "case_1.nii.gz").unlink()
    (output / "report.html").unlink()
    again = segment([images], finetuned, output, device="cpu", batch=Batch(resume=True))
    assert [case.status for case in again.cases] == ["skipped", "done", "skipped"]
    assert (output / "report.html").read_text("utf-8").count("data:image/webp") >= 9
    other = {"inferer::overlap": 0.25}
    anew = segment([images], finetuned, output, other, "cpu", batch=Batch(resume=True))
    assert anew.count("done") == 3


def test_masks_for_slicer_end_otherwise_and_a_forecast_writes_nothing(finetuned, data, tmp_path):
    images, slicer = [data / "imagesTr" / "case_0.nii.gz"], Batch(ending="seg.nrrd", report=False)
    forecasts = forecast_segment(images, finetuned, tmp_path / "out", batch=slicer)
    assert forecasts.cases[0].target == str(tmp_path / "out" / "case_0.seg.nrrd")
    assert not (tmp_path / "out").exists()
    segment(images, finetuned, tmp_path / "out", device="cpu", batch=slicer)
    assert (tmp_path / "out" / "case_0.seg.nrrd").is_file()
    assert not (tmp_path / "out" / "report.html").exists()


def test_a_bad_file_is_reported_and_the_rest_are_segmented(finetuned, data, tmp_path):
    bad = tmp_path / "bad.nii.gz"
    bad.write_bytes(b"not an image")
    good = data / "imagesTr" / "case_0.nii.gz"
    summary = segment([bad, good], finetuned, tmp_path / "masks", device="cpu")
    assert [case.status for case in summary.cases] == ["failed", "done"]
    assert not summary.is_complete
    assert read_record(tmp_path / "masks")["results"]["failed"] == 1


def test_images_in_memory_give_what_their_files_give_and_write_nothing(finetuned, data, tmp_path):
    paths = sorted((data / "imagesTr").glob("*"))
    segment(paths[0], finetuned, tmp_path / "masks", device="cpu")
    expected = np.asanyarray(nib.load(tmp_path / "masks" / paths[0].name).dataobj)
    assert expected.any()
    images = [nib.load(path) for path in paths]
    masks = segment(images, finetuned, device="cpu")
    assert np.array_equal(np.asanyarray(masks[0].dataobj), expected)
    assert [mask.shape for mask in masks] == [image.shape for image in images]
    pair = images[0].get_fdata(), images[0].affine
    assert np.array_equal(segment(pair, finetuned, device="cpu"), expected)
    assert np.array_equal(segment({"mri": pair}, finetuned, device="cpu"), expected)
    with pytest.raises(DataError, match="of images in memory no files are written"):
        segment(pair, finetuned, tmp_path / "other")
    with pytest.raises(DataError, match="no folder for the masks; give an output"):
        segment(paths, finetuned)
    assert not (tmp_path / "other").exists()


def test_segmenting_nothing_is_an_error(finetuned, tmp_path):
    with pytest.raises(DataError, match="nothing to segment"):
        segment([], finetuned, tmp_path)


def test_nothing_is_segmented_with_random_weights(data, tmp_path, repository):
    folder = tmp_path / "untrained"
    shutil.copytree(
        repository / "bundles" / BUNDLE, folder, ignore=shutil.ignore_patterns("models")
    )
    with pytest.raises(BundleError, match="has no weights"):
        segment([data / "imagesTr"], folder, tmp_path / "masks", device="cpu")
    assert not list((tmp_path / "masks").iterdir())


def test_a_run_that_was_stopped_goes_on_and_ends_as_if_it_had_not_been(data, tmp_path):
    longer = {**FINETUNING, "max_epochs": 2}
    finetune(data, tmp_path / "whole", BUNDLE, overrides=longer, options=QUIET)
    stopped = tmp_path / "stopped"
    resuming = TrainingOptions(device="cpu", progress=False, resume=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("volseg.engines.run.Run.start_epoch", stop_in_second_epoch)
        with pytest.raises(KeyboardInterrupt):
            finetune(data, stopped, BUNDLE, overrides=longer, options=QUIET)
    assert read_record(stopped)["status"] == "failed"
    finetune(data, stopped, BUNDLE, overrides=longer, options=resuming)
    files = [torch.load(f / "models" / "model.pt") for f in (tmp_path / "whole", stopped)]
    assert all(torch.equal(value, files[1][name]) for name, value in files[0].items())
    assert [run["status"] for run in read_record(stopped)["previous"]] == ["failed"]


def stop_in_second_epoch(run, engine):
    run.started = 0.0
    if engine.state.epoch == 2:
        raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epoch_length": 3}, "loop::epoch_length was 2, now it is 3"),
        ({"seed": 1}, "seed was 0, now it is 1"),
    ],
)
def test_a_run_is_not_resumed_under_other_settings(pretrained, data, changes, message):
    resuming = TrainingOptions(device="cpu", progress=False, resume=True)
    with pytest.raises(DataError, match=f"cannot resume .*{message}"):
        pretrain(data, pretrained, overrides={**PRETRAINING, **changes}, options=resuming)


def test_a_run_is_not_resumed_with_another_split(finetuned, data, tmp_path):
    old = json.loads((finetuned / SPLIT).read_text())
    swapped = tmp_path / "split.json"
    swapped.write_text(json.dumps({"training": old["validation"], "validation": old["training"]}))
    resuming = TrainingOptions(device="cpu", progress=False, resume=True)
    with pytest.raises(DataError, match="divided otherwise"):
        finetune(data, finetuned, BUNDLE, split=swapped, overrides=FINETUNING, options=resuming)


def test_validation_cases_are_left_out_of_pretraining(data, tmp_path):
    split = tmp_path / "split.json"
    split.write_text(json.dumps({"training": ["case_0", "case_2"], "validation": ["case_1"]}))
    output = tmp_path / "run"
    result = pretrain(data, output, overrides=PRETRAINING, split=split, options=QUIET)
    assert result.notes == ["2 cases, 1 validation cases left out"]
    read = {Path(file["path"]).name for file in read_record(output)["inputs"]}
    assert read == {"case_0.nii.gz", "case_2.nii.gz"}
    items = Bundle(output).config("train", {"dataset_dir": str(data)})
    listed = items.get_parsed_content("train::dataset::data")
    assert {Path(item["image"]).name for item in listed} == read


def test_output_that_is_there_is_not_overwritten(pretrained, data):
    with pytest.raises(DataError, match=r"is not empty; .* \(add --resume or --overwrite\)"):
        pretrain(data, pretrained, overrides=PRETRAINING, options=QUIET)


def test_overwriting_starts_anew_and_only_in_a_folder_of_a_run(pretrained, data, tmp_path):
    over = TrainingOptions(device="cpu", progress=False, overwrite=True, seed=3)
    run = tmp_path / "run"
    shutil.copytree(pretrained, run)
    pretrain(data, run, overrides=PRETRAINING, options=over)
    assert Bundle(run).raw_config("train")["seed"] == 3
    assert read_record(run)["previous"] == []
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").touch()
    with pytest.raises(DataError, match="it is no earlier run"):
        pretrain(data, tmp_path / "mine", overrides=PRETRAINING, options=over)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"overrides": {"max_epoch": 1}}, BundleError, "nearest is 'train::trainer::max_epochs'"),
        ({"schedule": "fast"}, VolsegError, "schedule is 'fast'; use one of"),
        ({"encoder": "no.safetensors"}, WeightsError, "is not there"),
        ({"options": TrainingOptions(device="tpu")}, DeviceError, "device 'tpu' is unknown"),
        ({"bundle": "hippocampus"}, BundleError, "did you mean"),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_is_written(
    data, tmp_path, arguments, error, message
):
    with pytest.raises(error, match=message):
        finetune(data, tmp_path / "run", **{"bundle": BUNDLE, **arguments})
    assert not (tmp_path / "run").exists()


def test_images_without_labels_cannot_be_finetuned_on(data, tmp_path):
    with pytest.raises(DataError, match="holds no labelled case"):
        finetune(data / "imagesTr", tmp_path / "run", BUNDLE)


def test_a_file_or_the_bundle_itself_is_no_output(data, tmp_path, repository):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="is a file"):
        pretrain(data, tmp_path / "file", options=QUIET)
    bundle = shutil.copytree(repository / "bundles" / "masked_volume_pretraining", tmp_path / "b")
    with pytest.raises(BundleError, match="is the bundle itself"):
        pretrain(data, bundle, bundle, options=QUIET)


def test_what_a_builder_refuses_is_not_hidden_by_monai(data, tmp_path):
    with pytest.raises(VolsegError, match="precision is 'fp8'"):
        pretrain(data, tmp_path / "run", overrides={**TINY, "precision": "fp8"}, options=QUIET)


def test_a_folder_without_a_log_has_no_summary(tmp_path):
    with pytest.raises(DataError, match="no epoch was completed"):
        summarise(tmp_path)


def test_a_schedule_is_a_class_unless_the_user_sets_its_own():
    for name, path in SCHEDULES.items():
        assert with_schedule({}, name) == {"optimisation::schedule": {"_target_": path}}
        module, _, cls = path.rpartition(".")
        assert hasattr(__import__(module, fromlist=[cls]), cls)
    own = {"optimisation::schedule": {"_target_": "mine"}}
    assert with_schedule(own, "scratch") == own


def test_a_result_says_what_was_written(pretrained, finetuned):
    said = str(summarise(finetuned, ["a note"]))
    assert said.startswith("a note\nepoch 1, step 2: loss ")
    assert "last (epoch 1): val_mean_dice" in said
    assert said.endswith("models/model.safetensors")
    assert summarise(pretrained).best is None
    json.dumps(summarise(finetuned).to_json())


def test_a_bundle_whose_weights_do_not_fit_is_not_sound(finetuned, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(finetuned, broken)
    state = torch.load(broken / "models" / "model.pt")
    torch.save({name: value + 1 for name, value in state.items()}, broken / "models" / "model.pt")
    found = inspect(broken)
    assert found.problems == ["model.safetensors and model.pt hold different weights"]
    (broken / "models" / "model.safetensors").unlink()
    torch.save(nn.Linear(2, 2).state_dict(), broken / "models" / "model.pt")
    assert not inspect(broken).is_sound


def test_a_score_that_is_undefined_is_said_to_be(tmp_path):
    """As when no validation label has the class."""
    last = {"epoch": 1, "step": 2, "loss": 0.5, "validation": {"val_mean_dice": None}}
    text = str(TrainingResult(tmp_path, [tmp_path / "model.pt"], last, None))
    assert "last (epoch 1): val_mean_dice undefined" in text
