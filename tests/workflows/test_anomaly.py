"""Anomaly models from files to maps."""

import json
import shutil
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
import torch

from volseg.cli.main import main
from volseg.data.reading import read_source, source_of
from volseg.engines.anomaly import AnomalyTraining
from volseg.errors import DataError, WeightsError
from volseg.evaluation.anomaly import CaseRanks
from volseg.inference.anomaly import AnomalyDetector
from volseg.workflows.anomaly_evaluate import AnomalyEvaluation, evaluate_anomaly
from volseg.workflows.anomaly_map import map_anomaly
from volseg.workflows.anomaly_train import AnomalySettings, train_anomaly

AFFINE = np.array([[0, 0, 2.0, -9], [-2, 0, 0, 11], [0, 2, 0, 4], [0, 0, 0, 1]])

QUICK = AnomalySettings(
    widths=(8, 8), training=AnomalyTraining(size=(16, 16, 16), steps=80), device="cpu"
)


def normal(seed):
    """Slow stripes with noise, behind one dark plane that is no foreground."""
    random = np.random.default_rng(seed)
    places = np.indices((24, 24, 24)).astype(np.float32)
    values = 100 + 20 * np.sin(places[0] + random.uniform(0, 6)) + random.normal(0, 2, (24,) * 3)
    values[0] = 0
    return values.astype(np.float32)


def save(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(values, AFFINE), path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Normal volumes, and others with a chequered cube: on the whole no brighter, no darker."""
    chequered = 100 + 20 * (-1.0) ** np.indices((24, 24, 24)).sum(axis=0)
    folder = tmp_path_factory.mktemp("anomaly")
    rows = ["image,label,name,group"]
    for number in range(3):
        save(folder / "normals" / f"n{number}.nii.gz", normal(number))
        values = normal(10 + number)
        lesion = np.zeros(values.shape, np.uint8)
        lesion[8:16, 8:16, 8:16] = 1
        if number == 2:
            lesion[:] = 0
        values[lesion > 0] = chequered[lesion > 0]
        save(folder / "ill" / f"i{number}.nii.gz", values)
        save(folder / "ill" / f"l{number}.nii.gz", lesion)
        rows.append(f"i{number}.nii.gz,l{number}.nii.gz,i{number},p{number}")
    (folder / "ill" / "cases.csv").write_text("\n".join(rows))
    return folder


@pytest.fixture(scope="module")
def model(folder):
    return train_anomaly(folder / "normals", folder / "model", QUICK)


def test_the_loss_falls_and_what_is_saved_is_what_was_trained(model, folder):
    assert np.mean(model.losses[-8:]) < 0.7 * np.mean(model.losses[:8])
    detector = AnomalyDetector.load(folder / "model")
    assert detector.card == model.card
    reading = read_source(source_of(folder / "ill" / "i0.nii.gz"))
    assert detector.find(reading).scores["feature"] > 0
    record = json.loads((folder / "model" / "run.json").read_text())
    assert (record["verb"], record["status"]) == ("anomaly train", "done")


def test_the_same_seed_gives_the_same_weights(folder, tmp_path):
    short = replace(QUICK, training=replace(QUICK.training, steps=3))
    states = []
    for name in "ab":
        train_anomaly(folder / "normals", tmp_path / name, short)
        states.append(AnomalyDetector.load(tmp_path / name).network.state_dict())
        torch.rand(3)  # what others draw does not matter
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def test_maps_lie_on_the_grid_of_their_scan_and_are_zero_outside(model, folder, tmp_path, capsys):
    words = ["anomaly", "map", folder / "ill" / "i0.nii.gz", "--model", folder / "model"]
    words += ["--output", tmp_path, "--device", "cpu", "--json"]
    assert main([str(word) for word in words]) == 0
    said = json.loads(capsys.readouterr().out)
    image = nib.load(folder / "ill" / "i0.nii.gz")
    for kind in ("residual", "feature"):
        chart = nib.load(tmp_path / f"i0_{kind}.nii.gz")
        assert np.array_equal(chart.affine, image.affine)
        values = chart.get_fdata()
        assert not values[image.get_fdata() == 0].any()
        top = np.sort(values[image.get_fdata() > 0])
        count = round(0.01 * top.size)
        assert said["scores"]["i0"][kind] == pytest.approx(top[-count:].mean(), rel=1e-5)


def test_a_lesion_without_a_brightness_of_its_own_stands_out(model, folder, tmp_path):
    data, output = folder / "ill" / "cases.csv", tmp_path / "out"
    found = evaluate_anomaly(data, [folder / "model"], output, device="cpu")
    assert found.maps["model, residual"].area.mean > 0.8
    assert found.maps["bright"].area.mean == pytest.approx(0.5, abs=0.1)
    assert found.maps["model, feature"].area.cases == 2
    assert found.chance == pytest.approx(8**3 / (23 * 24 * 24))
    said = json.loads((output / "results.json").read_text())
    assert said == json.loads(json.dumps(found.to_json()))
    (gap,) = found.differences
    assert (gap.first, gap.second) == ("model, feature", "model, residual")
    maps = [found.maps[name].precision.mean for name in (gap.first, gap.second)]
    assert gap.precision.mean == pytest.approx(maps[0] - maps[1])
    assert "model, feature - model, residual" in str(found)
    page = (output / "report.html").read_text()
    assert "Models compared" in page
    assert page.count("data:image/webp") >= 2 * 6
    assert "<script" not in page


def test_a_folder_of_runs_is_one_model(model, folder, tmp_path):
    for name in ("one", "two"):
        shutil.copytree(folder / "model", tmp_path / "runs" / name)
    data = folder / "ill" / "cases.csv"
    models = [tmp_path / "runs", folder / "model"]
    found = evaluate_anomaly(data, models, tmp_path / "out", device="cpu")
    assert {case.run for case in found.cases} == {0, 1}
    same = [found.maps[f"{name}, residual"] for name in ("runs", "model")]
    assert same[0].area.mean == pytest.approx(same[1].area.mean)
    assert same[0].case_area == same[1].case_area
    gap = next(each for each in found.differences if each.second == "model, residual")
    assert gap.first == "model, feature"
    between = {each.second: each for each in found.differences if each.first == "runs, residual"}
    assert between["model, residual"].area.mean == pytest.approx(0)


def test_air_that_is_noise_is_noted(folder):
    case = CaseRanks("a", 0.1, 0.0, {}, {}, {}, foreground_share=0.999)
    (note,) = AnomalyEvaluation({}, [], [case], {}, folder).notes
    assert note.startswith("in 1 cases nearly every voxel is foreground")
    assert AnomalyEvaluation({}, [], [replace(case, foreground_share=0.9)], {}, folder).notes == []


def test_a_bad_file_is_reported_and_the_rest_are_mapped(model, folder, tmp_path):
    bad = tmp_path / "bad.nii.gz"
    bad.write_bytes(b"nothing")
    scans = [bad, folder / "ill" / "i1.nii.gz"]
    found = map_anomaly(scans, folder / "model", tmp_path / "maps", device="cpu")
    assert list(found.failed) == ["bad"]
    assert list(found.scores) == ["i1"]
    assert not found.is_complete
    with pytest.raises(DataError, match="exists; allow overwriting"):
        map_anomaly(scans, folder / "model", tmp_path / "maps", device="cpu")


def test_what_cannot_be_used_is_refused(model, folder, tmp_path):
    with pytest.raises(DataError, match="exists; allow overwriting"):
        train_anomaly(folder / "normals", folder / "model", QUICK)
    with pytest.raises(WeightsError, match="is not there"):
        AnomalyDetector.load(tmp_path / "none")
    with pytest.raises(DataError, match="holds no labelled case"):
        evaluate_anomaly(folder / "normals", [folder / "model"], tmp_path / "out", device="cpu")
    save(tmp_path / "flat" / "a.nii.gz", np.zeros((9, 9, 9), np.float32))
    with pytest.raises(DataError, match="a is constant; there is nothing to learn"):
        train_anomaly(tmp_path / "flat", tmp_path / "run", QUICK)
