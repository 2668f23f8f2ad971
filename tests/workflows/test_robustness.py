"""Robustness from files to a page."""

import json
import shutil
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
import torch

from tests.bundles.synthetic import write_dataset
from tests.inference.threshold import threshold_predictor
from tests.workflows.bundles.conftest import NAME, NETWORK, PATCH, edit, write_weights
from volseg.cli.main import main
from volseg.data.case import Case
from volseg.data.cases import find_cases
from volseg.errors import BundleError, DataError
from volseg.evaluation.outcomes import Condition
from volseg.evaluation.shifts.ladder import choose_shifts
from volseg.inference.predictor import Predictor
from volseg.workflows.robustness import RobustnessOptions, robustness
from volseg.workflows.robustness_cases import measure_case, read_subject
from volseg.workflows.robustness_reuse import measure_reuse, reuse_rows

AFFINE = np.array([[-1.0, 0, 0, 5], [0, 0, 2, -3], [0, 1, 0, 9], [0, 0, 0, 1]])
"""Left, up, front: not the axes of the network."""


@pytest.fixture
def subject(tmp_path):
    """A case that the threshold network segments without a fault."""
    values = np.zeros((9, 10, 8), np.int16)
    values[2:5, 3:7, 2:6] = 130
    values[6:8, 3:7, 2:6] = 250
    labels = np.digitize(values, [100.25, 200.25]).astype(np.uint8)
    for name, content in (("image", values), ("label", labels)):
        nib.save(nib.Nifti1Image(content, AFFINE), tmp_path / f"{name}.nii.gz")
    case = Case("one", (tmp_path / "image.nii.gz",), tmp_path / "label.nii.gz")
    return read_subject(case, threshold_predictor().classes)


def measured(subject, *shifts):
    arms = [[threshold_predictor(window=16)]]
    found = measure_case(subject, arms, choose_shifts("CT", shifts), 1.0, 0)
    return {each.condition: each for each in found}


def test_a_darker_scan_loses_the_class_that_falls_below_the_threshold(subject):
    found = measured(subject, "HU offset")
    assert found[Condition()].mean("dice") == 1
    # 130 - 40 is background, 250 - 40 still white
    darker = found[Condition("HU offset", -40)]
    assert {name: each.dice for name, each in darker.now.items()} == {"grey": 0, "white": 1}
    assert (darker.drop, darker.now["grey"].volume_ml) == (0.5, 0)
    assert darker.before["grey"].volume_ml == pytest.approx(3 * 4 * 4 * 2 / 1000)
    assert found[Condition("HU offset", -20)].drop == 0


def test_what_a_crop_has_cut_off_counts_neither_before_nor_after(subject):
    found = measured(subject, "field of view")
    for condition, each in found.items():
        assert each.drop == 0
        assert {name: measure.volume_ml for name, measure in each.now.items()} == {
            name: measure.volume_ml for name, measure in each.before.items()
        }
        for measure in each.now.values():
            assert measure.dice == 1 or (condition.shift and np.isnan(measure.dice))


def test_a_turned_scan_is_scored_where_the_case_lies(subject):
    found = measured(subject, "rotation")
    # A step of interpolation at surfaces of solids 3 voxels thick; elsewhere it would be near 0
    assert found[Condition("rotation", 5)].mean("dice") > 0.8


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "tiny"
    write_dataset(folder)
    return folder


@pytest.fixture(scope="module")
def bundle(repository, tmp_path_factory):
    root = tmp_path_factory.mktemp("bundle") / NAME
    source = repository / "bundles" / NAME
    shutil.copytree(source, root, ignore=shutil.ignore_patterns("models"))
    for kind in ("train", "inference"):
        edit(root, kind, network_def=NETWORK, patch_size=PATCH)
    write_weights(root)
    return root


QUICK = RobustnessOptions(shifts=("noise",), worst=1)


@pytest.fixture(scope="module")
def compared(bundle, data, tmp_path_factory):
    """Compare a network with two runs, one of which is the network itself."""
    runs = tmp_path_factory.mktemp("arms") / "runs"
    for name in ("one", "two"):
        shutil.copytree(bundle, runs / name)
    output = tmp_path_factory.mktemp("found") / "out"
    table = output.parent / "scans.csv"
    table.write_text("case,maker\ncase_0,A\ncase_1,A\ncase_2,B\n")
    (data / "imagesTr" / "case_1.json").write_text('{"ConvolutionKernel": "Br38f"}')
    options = replace(QUICK, strata=table, tags=["ConvolutionKernel"])
    return robustness(bundle, data, output, runs, options)


def test_networks_that_are_the_same_do_not_differ(compared):
    (noise,) = compared.shifts
    # runs are summed in another order
    assert noise.comparison.difference == pytest.approx(0, abs=1e-12)
    assert noise.comparison.p_holm > 0.9
    assert [len(runs) for runs in compared.arms.values()] == [1, 2]


def test_everything_stands_in_json_and_the_page_needs_nothing_else(compared):
    said = json.loads((compared.output / "results.json").read_text())
    assert said == json.loads(json.dumps(compared.to_json()))
    assert len(said["outcomes"]) == 3 * 3 * 4  # runs, cases, conditions
    assert [each["column"] for each in said["strata"][0]] == ["maker", "ConvolutionKernel"]
    table = (compared.output / "strata.csv").read_text().splitlines()
    assert table == ["case,ConvolutionKernel", "case_1,Br38f"]
    page = (compared.output / "report.html").read_text()
    assert "<svg" in page
    assert page.count("data:image/webp") >= 3
    assert "<script" not in page
    assert not [
        part
        for part in page.split('"')
        if part.startswith(("http:", "https:", "//")) and "w3.org" not in part
    ]
    assert json.loads((compared.output / "run.json").read_text())["status"] == "done"


def test_the_command_prints_json_and_ends_with_1_if_a_case_fails(bundle, data, tmp_path, capsys):
    other = tmp_path / "tiny"
    shutil.copytree(data, other)
    (other / "labelsTr" / "case_1.nii.gz").write_bytes(b"nothing")
    words = ["robustness", bundle, "--data", other, "--output", tmp_path / "out", "--shifts"]
    words += ["contrast", "--device", "cpu", "--json", "--quiet", "--worst", "0"]
    assert main([str(word) for word in words]) == 1
    said = json.loads(capsys.readouterr().out)
    assert list(said["failed"]) == ["case_1"]
    assert {each["case"] for each in said["outcomes"]} == {"case_0", "case_2"}


def test_a_case_that_a_run_was_trained_on_is_refused(bundle, data, tmp_path):
    trained = tmp_path / "trained"
    shutil.copytree(bundle, trained)
    split = {"training": ["case_1"], "validation": ["case_0", "case_2"]}
    (trained / "configs" / "split.json").write_text(json.dumps(split))
    with pytest.raises(DataError, match=r"was trained on case_1 and 0 more"):
        robustness(bundle, data, tmp_path / "out", trained, QUICK)
    found = robustness(trained, data, tmp_path / "out", options=QUICK)
    assert {each.case for each in found.outcomes} == {"case_0", "case_2"}
    with pytest.raises(DataError, match="exists; allow overwriting"):
        robustness(trained, data, tmp_path / "out", options=QUICK)


def test_what_cannot_be_compared_is_refused(bundle, data, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(BundleError, match="is no bundle and holds none"):
        robustness(tmp_path / "empty", data, tmp_path / "out", options=QUICK)
    with pytest.raises(BundleError, match="compare networks of the same classes"):
        robustness(bundle, data, tmp_path / "out", "resection_cavity_segmentation", QUICK)
    unlabelled = data / "imagesTr"
    with pytest.raises(DataError, match="holds no labelled case"):
        robustness(bundle, unlabelled, tmp_path / "out", options=QUICK)


def test_an_encoder_that_was_not_changed_is_kept_whole_and_one_that_was_is_not(bundle, tmp_path):
    random = np.random.default_rng(0)
    for number in range(8):
        image = nib.Nifti1Image(random.normal(size=(16, 16, 16)).astype(np.float32), np.eye(4))
        nib.save(image, tmp_path / f"c{number}.nii.gz")
    cases = find_cases(tmp_path)
    predictor, other = (Predictor.from_bundle(bundle) for _ in range(2))
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for weight in other.network.encoder.layer_groups()[-1]:
            weight.copy_(torch.randn(weight.shape, generator=generator))
    before = bundle / "models" / "model.safetensors"
    found = measure_reuse(before, {"same": [predictor], "other": [predictor, other]}, cases)
    same, changed = ([each for each in found if each.arm == arm] for arm in ("same", "other"))
    strides = [stride[0] for stride in predictor.network.encoder.spec.strides]
    assert [each.stride for each in same] == strides
    for each in [*same, *changed[:-1]]:
        assert each.runs == pytest.approx([1] * len(each.runs), abs=1e-5)
    assert changed[-1].runs[1] < 0.9
    rows = reuse_rows(found)
    assert rows[0] == ["stride", "CKA, same", "CKA, other"]
    assert rows[1] == ["1", "1.000", "1.000 [1.000, 1.000]"]
    with pytest.raises(DataError, match="CKA of 7 samples needs at least 8; give more cases"):
        measure_reuse(before, {"same": [predictor]}, cases[:7])
