"""Probing encoders, from files to the report."""

import csv
import json
import shutil

import nibabel as nib
import numpy as np
import pytest
import torch

from volseg.cli.main import main
from volseg.data.cases import find_cases
from volseg.errors import DataError, WeightsError
from volseg.evaluation.probing.retrieval import RetrievalIndex
from volseg.networks import residual
from volseg.networks.card import Card, describe_data
from volseg.networks.segmenter import Segmenter
from volseg.networks.weights import save_weights, segmenter_parts
from volseg.workflows.probe import ProbeOptions, probe
from volseg.workflows.probe_encoders import find_plateau, load_arms
from volseg.workflows.probe_labels import Labels, Unit, find_samples

CONFIG = {"_target_": "volseg.networks.residual.tiny", "in_channels": 1}
QUICK = ProbeOptions(folds=2, repeats=1, draws=20, device="cpu", progress=False)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Eight patients, two cases each; class 1 is bright, class 2 dark and of growing volume."""
    folder = tmp_path_factory.mktemp("data")
    random = np.random.default_rng(0)
    entries = []
    for part in ("imagesTr", "labelsTr"):
        (folder / part).mkdir()
    for index in range(16):
        label = np.zeros((16, 16, 16), np.uint8)
        label[2:7, 2:7, 2:7] = 1
        label[9:14, 9:14, 2 : 4 + index // 2] = 2
        image = random.normal(300, 10, label.shape) + np.array([0, 100, -100])[label]
        entry = {}
        for part, key, values in (("imagesTr", "image", image), ("labelsTr", "label", label)):
            path = folder / part / f"case_{index:02}.nii.gz"
            nib.save(nib.Nifti1Image(values.astype(np.float32), np.eye(4)), path)
            entry[key] = f"./{part}/{path.name}"
        entries.append(entry)
    content = {"labels": {"0": "background", "1": "bright", "2": "dark"}, "training": entries}
    (folder / "dataset.json").write_text(json.dumps(content))
    rows = [f"case_{index:02},p{index // 2}" for index in range(16)]
    (folder / "cases.csv").write_text("\n".join(["case,group", *rows]))
    return folder


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """An encoder that says it was pretrained on two of the cases, and a segmenter."""
    folder = tmp_path_factory.mktemp("run") / "models"
    folder.mkdir()
    torch.manual_seed(1)
    seen = describe_data(["x"], "CC0", ["case_00", "case_01"])
    card = Card({"encoder": CONFIG}, ("MRI",), patch_size=(8, 8, 8), data=seen)
    save_weights(folder / "encoder.safetensors", {"encoder": residual.tiny()}, card)
    network = Segmenter(residual.tiny(), 3)
    whole = {"_target_": "volseg.networks.segmenter.Segmenter", "encoder": CONFIG, "num_classes": 3}
    save_weights(folder / "whole.safetensors", segmenter_parts(network), Card(whole, ("MRI",)))
    return folder


@pytest.fixture(scope="module")
def probed(data, weights, tmp_path_factory):
    output = tmp_path_factory.mktemp("out") / "probe"
    encoders = [weights / "encoder.safetensors", f"whole={weights / 'whole.safetensors'}"]
    return probe(encoders, data, output, Labels(from_segmentation=True), QUICK)


def test_regions_of_clear_classes_are_told_apart_by_every_encoder(probed):
    found = probed.to_json()
    assert [row["is_trained"] for row in found["encoders"]] == [True, True, False]
    assert (found["samples"], found["groups"], found["classes"]) == (32, 8, ["bright", "dark"])
    for row in found["encoders"]:
        assert row["scores"]["linear balanced accuracy"]["mean"] == 1
        assert row["seconds"] > 0
    name = found["encoders"][0]["name"]
    assert f"{name} was trained on the images of 2 of 16 cases" in found["notes"]
    assert json.loads((probed.output / "results.json").read_text()) == json.loads(json.dumps(found))


def test_the_page_holds_its_pictures_and_the_index_its_vectors(probed):
    page = (probed.output / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 5
    assert 'src="h' not in page
    index = RetrievalIndex.load(probed.output / "index" / "whole.npz")
    assert index.names[:3] == ["case_00#0", "case_00#1", "case_01#0"]
    hits = index.search(index.vectors[0], 3, "p0")
    assert {hit.label for hit in hits} == {"bright"}
    assert not {"case_00#0", "case_01#0"} & {hit.name for hit in hits}


def test_the_command_line_probes_graded_volumes_and_says_what_could_not_be_read(
    data, weights, tmp_path, capsys
):
    copy = tmp_path / "data"
    shutil.copytree(data, copy)
    (copy / "imagesTr" / "case_03.nii.gz").write_bytes(b"broken")
    command = ["probe", str(weights / "whole.safetensors"), "--data", str(copy), "--from-volume"]
    command += ["2", "--output", str(tmp_path / "out"), "--folds", "2", "--repeats", "1"]
    assert main([*command, "--device", "cpu", "--quiet", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert list(found["failures"]) == ["case_03"]
    assert (found["samples"], found["classes"]) == (15, ["0", "1"])
    assert "linear quadratic kappa" in found["encoders"][0]["scores"]
    assert main([*command, "--quiet"]) == 1
    assert "exists already; use another output or --overwrite" in capsys.readouterr().err


def test_patches_of_one_class_are_told_from_the_background(data, tmp_path):
    shutil.copytree(data, tmp_path / "one")
    for path in (tmp_path / "one" / "labelsTr").iterdir():
        mask = nib.load(path)
        alone = (mask.get_fdata() == 1).astype(np.uint8)
        nib.save(nib.Nifti1Image(alone, mask.affine), path)
    labels, unit = Labels(from_segmentation=True), Unit("patch", patches=2)
    found = find_samples(find_cases(tmp_path / "one"), tmp_path / "one", labels, unit)
    assert [sample.label for sample in found[:4]] == ["bright"] * 2 + ["background"] * 2
    assert len(found) == 16 * 4
    whole = find_samples(find_cases(data), data, labels, unit)
    assert {sample.label for sample in whole} == {"bright", "dark"}


def test_labels_of_too_few_patients_are_refused_before_an_image_is_read(data, weights, tmp_path):
    shutil.copytree(data, tmp_path / "broken")
    for path in (tmp_path / "broken" / "imagesTr").iterdir():
        path.write_bytes(b"no image")
    rows = [
        f"case_{index:02},{'sick' if index < 6 else 'well'},p{index // 2}" for index in range(16)
    ]
    (tmp_path / "few.csv").write_text("\n".join(["case,label,group", *rows]))
    encoder, labels = weights / "encoder.safetensors", Labels(tmp_path / "few.csv")
    with pytest.raises(DataError, match="2 classes, the rarest of 3 group"):
        probe([encoder], tmp_path / "broken", tmp_path / "out", labels, QUICK)


def test_labels_come_from_one_place(data):
    for labels in (Labels(), Labels(from_segmentation=True, grades=2)):
        with pytest.raises(DataError, match="give exactly one"):
            find_samples([], data, labels, Unit())
    with pytest.raises(DataError, match="the unit 'volume' does not go with these labels"):
        find_samples([], data, Labels(from_segmentation=True), Unit("volume"))


def test_a_tag_is_read_from_what_stands_beside_a_volume(data, tmp_path):
    from volseg.data.cases import find_cases

    copy = tmp_path / "data"
    shutil.copytree(data, copy)
    cases = find_cases(copy)
    with pytest.raises(DataError, match=r"no value of Manufacturer was found beside the volumes"):
        find_samples(cases, copy, Labels(tag="Manufacturer"), Unit())
    for index, maker in ((0, "A"), (1, "B")):
        sidecar = copy / "imagesTr" / f"case_{index:02}.json"
        sidecar.write_text(json.dumps({"Manufacturer": maker}))
    found = find_samples(cases, copy, Labels(tag="Manufacturer"), Unit())
    assert [(sample.name, sample.label) for sample in found] == [("case_00", "A"), ("case_01", "B")]


def test_a_table_of_other_names_is_refused(data, tmp_path):
    from volseg.data.cases import find_cases

    table = tmp_path / "labels.csv"
    with table.open("w", newline="") as file:
        csv.writer(file).writerows([["case", "label"], ["somebody", "1"]])
    with pytest.raises(DataError, match=r"no label is of a case of .* 'somebody' and 'case_00'"):
        find_samples(find_cases(data), data, Labels(table), Unit())


def test_two_encoders_of_one_name_and_files_without_a_card_are_refused(weights, tmp_path):
    same = [weights / "encoder.safetensors", weights / "whole.safetensors"]
    with pytest.raises(DataError, match="write NAME=PATH"):
        load_arms(same, [], None, 0)
    (tmp_path / "model.pt").touch()
    with pytest.raises(WeightsError, match=r"has no card; give the file \*.safetensors"):
        load_arms([tmp_path / "model.pt"], [], None, 0)
    with pytest.raises(WeightsError, match="nowhere is no encoder"):
        load_arms(["nowhere"], [], None, 0)


def test_a_card_that_would_run_code_is_refused(tmp_path):
    path = tmp_path / "evil.safetensors"
    card = Card({"encoder": CONFIG}, ("MRI",), normalizer={"_target_": "os.system", "command": ""})
    save_weights(path, {"encoder": residual.tiny()}, card)
    with pytest.raises(WeightsError, match=r"run unknown code: normalizer names 'os\.system'"):
        load_arms([path], [], None, 0)


def test_a_plateau_is_where_the_loss_stops_falling():
    assert find_plateau([4.0, 2.0, 1.0, 0.995, 1.2]) == 2
    assert find_plateau([4.0, 3.0, 2.0]) == 2
    assert find_plateau([]) == 0
