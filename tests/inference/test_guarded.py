"""A bundle with a guard, from the file of an image to mask, manifest and report."""

import json

import nibabel as nib
import numpy as np
import pytest
import torch

from tests.inference.heads import brain, centred, places
from volseg.bundle import Bundle
from volseg.cli.main import main
from volseg.errors import BundleError
from volseg.inference.predictor import Predictor
from volseg.networks.config import build
from volseg.workflows.segment import segment

NETWORK = {
    "_target_": "volseg.networks.segmenter.Segmenter",
    "encoder": {"_target_": "volseg.networks.residual.tiny", "in_channels": 1},
    "num_classes": 2,
}

GUARD = {"_target_": "volseg.inference.plausibility.CavityGuard", "least_ml": 0.2, "alike": 2.0}

INFERENCE = {
    "bundle_root": ".",
    "network_def": NETWORK,
    "preprocessing": {"_target_": "volseg.data.pipelines.preprocessing", "spacing": [6, 6, 6]},
    "inferer": {
        "_target_": "volseg.inference.sliding_window.SlidingWindow",
        "roi_size": [32, 32, 32],
    },
}


def write_bundle(root, config, state):
    names = {"0": "background", "1": "cavity"}
    metadata = {"network_data_format": {"outputs": {"pred": {"channel_def": names}}}}
    for name, content in (("inference", config), ("metadata", metadata)):
        (root / "configs").mkdir(parents=True, exist_ok=True)
        (root / "configs" / f"{name}.json").write_text(json.dumps(content))
    (root / "models").mkdir()
    torch.save(state, root / "models" / "model.pt")
    return root


def chances(root, image):
    """Give what the network, as it is, makes of an image."""
    predictor = Predictor.from_bundle(Bundle.find(root))
    volume = predictor.preprocessing({"image": str(image)})["image"]
    with torch.inference_mode():
        return predictor.inferer(volume.as_tensor()[None], predictor.network)[0]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Write a brain with a cavity, and one network with and without a guard.

    The network is random. Its bias is set so that a thousandth of the voxels become cavity: real
    logits, which hang in the balance wherever they are.
    """
    folder = tmp_path_factory.mktemp("guarded")
    shape, affine = centred()
    values = brain(shape, affine)
    values[np.linalg.norm(places(shape, affine) - (-35, 5, 10), axis=-1) < 16] = 5
    values[values > 0] += np.random.default_rng(0).normal(0, 3, (values > 0).sum())
    (folder / "in").mkdir()
    nib.save(nib.Nifti1Image(values.astype(np.float32), affine), folder / "in" / "a.nii.gz")
    torch.manual_seed(0)
    network = build(NETWORK)
    plain = write_bundle(folder / "plain_segmentation", INFERENCE, network.state_dict())
    logits = chances(plain, folder / "in" / "a.nii.gz")
    edge = (logits[1] - logits[0]).quantile(0.999)
    last = [name for name in network.state_dict() if name.endswith("bias")][-1]
    state = network.state_dict()
    state[last][1] -= edge
    torch.save(state, plain / "models" / "model.pt")
    write_bundle(folder / "guarded_segmentation", {**INFERENCE, "guard": GUARD}, state)
    return folder


def run(folder, output, bundle="guarded_segmentation", **given):
    summary = segment([folder / "in"], folder / bundle, output, device="cpu", **given)
    mask = np.asanyarray(nib.load(output / "a.nii.gz").dataobj)
    return summary, mask, json.loads((output / "manifest.jsonl").read_text().splitlines()[-1])


@pytest.fixture(scope="module")
def plain(folder, tmp_path_factory):
    """Give the mask that the network makes without a guard."""
    return run(folder, tmp_path_factory.mktemp("plain"), "plain_segmentation")[1]


def test_without_a_guard_there_is_nothing_to_say(folder, tmp_path):
    summary, mask, line = run(folder, tmp_path, "plain_segmentation")
    assert mask.any()
    assert (line["findings"], line["warnings"]) == ({}, [])
    assert str(summary) == "1 done, 0 failed, 0 not run"


def test_after_surgery_the_mask_is_the_networks_own(folder, plain, tmp_path):
    summary, mask, line = run(folder, tmp_path / "guarded", stage="postop")
    assert np.array_equal(mask, plain)
    voxel = 4.0**3 / 1000
    assert line["findings"]["cavity_ml"] == pytest.approx(plain.sum() * voxel)
    assert line["volumes_ml"]["cavity"] == pytest.approx(plain.sum() * voxel)
    assert f"found: {folder / 'in' / 'a.nii.gz'}: " in str(summary)


def test_before_surgery_the_mask_is_empty_and_the_report_says_what_was_removed(
    folder, plain, tmp_path
):
    summary, mask, line = run(folder, tmp_path / "guarded", stage="preop")
    assert not mask.any()
    assert line["volumes_ml"] == {"cavity": 0}
    removed = plain.sum() * 4.0**3 / 1000
    assert line["findings"]["removed_ml"] == pytest.approx(removed, abs=1e-3)
    assert f"removed {removed:.2f} mL of cavity" in str(summary)
    assert summary.is_complete


def test_left_to_itself_the_guard_weighs_each_part(folder, plain, tmp_path):
    summary, mask, line = run(folder, tmp_path / "guarded")
    findings = line["findings"]
    assert findings["stage"] == "auto"
    kept = [part["kept"] for part in findings["parts"]]
    assert kept == [part["evidence_ml"] >= 0.2 for part in findings["parts"]]
    assert not all(kept)
    voxel = 4.0**3 / 1000
    assert mask.sum() * voxel == pytest.approx(findings["cavity_ml"])
    total = findings["cavity_ml"] + findings["removed_ml"]
    assert plain.sum() * voxel == pytest.approx(total, abs=1e-3)
    assert any(warning.startswith("removed ") for warning in summary.cases[0].warnings)


def test_limits_can_be_changed_for_a_run(folder, plain, tmp_path):
    _, mask, _ = run(folder, tmp_path / "guarded", overrides={"guard::least_ml": 0.0})
    assert np.array_equal(mask, plain)


def test_the_stage_is_recorded(folder, tmp_path):
    run(folder, tmp_path, stage="postop")
    record = json.loads((tmp_path / "run.json").read_text())
    assert record["settings"]["config"]["guard"]["stage"] == "postop"


def test_a_stage_without_a_guard_and_an_unknown_stage_are_refused(folder, tmp_path):
    with pytest.raises(BundleError, match="bundle plain_segmentation has no guard"):
        run(folder, tmp_path, "plain_segmentation", stage="preop")
    with pytest.raises(BundleError, match="stage is 'later'"):
        run(folder, tmp_path, stage="later")
    assert not (tmp_path / "manifest.jsonl").exists()


def test_the_command_line_takes_the_stage(folder, tmp_path, capsys):
    command = ["segment", folder / "in", "--bundle", folder / "guarded_segmentation"]
    command += ["--output", tmp_path, "--device", "cpu", "--quiet", "--stage", "preop"]
    assert main([str(part) for part in command]) == 0
    assert "implausible before surgery; the mask is empty" in capsys.readouterr().out


def test_monai_resolves_the_rest_of_the_configuration_without_the_guard(folder):
    config = Bundle.find(folder / "guarded_segmentation").config("inference")
    assert config.get_parsed_content("inferer").roi_size == (32, 32, 32)
    assert config.get_parsed_content("guard").least_ml == 0.2


def test_the_bundle_that_comes_with_volseg_has_the_limits_that_the_page_names(repository):
    config = Bundle.find("resection_cavity_segmentation").config("inference")
    guard = config.get_parsed_content("guard")
    assert (guard.stage, list(guard.usual_ml)) == ("auto", [0.84, 83.8])
    page = (repository / "docs" / "howto" / "cavities.md").read_text()
    assert f"parts with less than {guard.least_ml:g} mL of evidence are removed" in page
    assert f"no part has evidence of {guard.convincing_ml:g} mL" in page
    assert guard.alike == 2 / 5
    assert "if two fifths of it are marked on the other side" in page
    assert f"between {guard.usual_ml[0]:g} and {guard.usual_ml[1]:g} mL" in page
