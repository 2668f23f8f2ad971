"""The options of ``volseg segment``, on a bundle that a test has made."""

import json

import nibabel as nib
import numpy as np
import pytest
import torch

from tests.inference.test_guarded import INFERENCE, NETWORK, write_bundle
from tests.inference.threshold import save_image
from volseg.bundle import Bundle
from volseg.cli.main import main
from volseg.networks.config import build


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """Write a random network whose labels may be flipped left and right."""
    torch.manual_seed(0)
    inference = {**INFERENCE, "preprocessing": {**INFERENCE["preprocessing"], "spacing": [1, 1, 2]}}
    config = {**inference, "flip_axes": [0]}
    return write_bundle(
        tmp_path_factory.mktemp("bundle") / "random_segmentation",
        config,
        build(NETWORK).state_dict(),
    )


@pytest.fixture
def scans(tmp_path):
    for seed, name in enumerate("ab"):
        save_image(tmp_path / "in" / f"{name}.nii.gz", shape=(20, 18, 9), seed=seed)
    return tmp_path / "in"


def volseg(*arguments):
    return main(["segment", *map(str, arguments), "--device", "cpu", "--no-report"])


def test_maps_of_flipped_views_are_written_and_resumed(bundle, scans, tmp_path, capsys):
    output = tmp_path / "out"
    command = [scans, "--bundle", bundle, "--output", output, "--tta", "flips"]
    command += ["--maps", "probabilities,entropy,variance", "--max-memory", "100G"]
    assert volseg(*command) == 0
    chances = nib.load(output / "a_probabilities.nii.gz").get_fdata()
    mask = nib.load(output / "a.nii.gz").get_fdata()
    assert np.array_equal(chances.argmax(-1), mask)
    assert nib.load(output / "a_variance.nii.gz").get_fdata().max() > 0
    assert nib.load(output / "a_entropy.nii.gz").get_fdata().max() <= np.log(2) + 1e-6
    (output / "b_variance.nii.gz").unlink()
    capsys.readouterr()
    assert volseg(*command, "--resume") == 0
    assert capsys.readouterr().out.startswith("1 done, 1 skipped")
    assert (output / "b_variance.nii.gz").is_file()
    assert volseg(*command[:-4], "--resume") == 0  # other options: everything anew
    assert capsys.readouterr().out.startswith("2 done, 0 failed")
    settings = json.loads((output / "run.json").read_text())["settings"]["batch"]
    assert (settings["tta"], settings["maps"]) == ("flips", [])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--maps", "variance"],
            "the variance is that of flipped views; allow flips (--tta flips)",
        ),
        (["--maps", "spread"], "'spread' is no map; use any of probabilities, entropy, variance"),
    ],
)
def test_maps_that_mean_nothing_are_refused_before_anything_runs(
    bundle, scans, tmp_path, capsys, options, message
):
    assert volseg(scans, "--bundle", bundle, "--output", tmp_path / "out", *options) == 1
    assert message in capsys.readouterr().err
    assert not list(tmp_path.glob("out/*"))


def test_flips_need_a_bundle_that_declares_them_safe(bundle, scans, tmp_path, capsys):
    config = Bundle.find(bundle).raw_config("inference")
    del config["flip_axes"]
    other = write_bundle(tmp_path / "other_segmentation", config, build(NETWORK).state_dict())
    command = [scans, "--bundle", other, "--output", tmp_path / "out", "--tta", "flips"]
    assert volseg(*command) == 1
    assert "the bundle declares no axis along which its labels may be flipped" in (
        capsys.readouterr().err
    )


def test_the_precision_is_recorded_and_makes_another_run(bundle, scans, tmp_path, capsys):
    output = tmp_path / "out"
    command = [scans, "--bundle", bundle, "--output", output]
    assert volseg(*command, "--precision", "bfloat16") == 0
    settings = json.loads((output / "run.json").read_text())["settings"]["batch"]
    assert settings["precision"] == "bfloat16"
    capsys.readouterr()
    assert volseg(*command, "--resume") == 0
    assert capsys.readouterr().out.startswith("2 done")


def test_images_that_are_left_out_are_named_and_counted(bundle, scans, capsys, caplog):
    output = scans / "masks"
    command = [scans / "**" / "*.nii.gz", "--bundle", bundle, "--output", output]
    assert volseg(*command) == 0
    capsys.readouterr()
    assert volseg(*command, "--resume", "--quiet") == 0
    counts = "0 done, 2 skipped, 0 failed, 0 not run, 2 left out"
    assert capsys.readouterr().out.startswith(counts)
    # main() sends the log to stderr, warnings with --quiet too
    assert [line for line in caplog.messages if line.startswith("left out")] == [
        f"left out: {output / name}.nii.gz: was written by a run of volseg" for name in "ab"
    ]
    lines = [json.loads(line) for line in (output / "manifest.jsonl").read_text().splitlines()]
    assert [line["status"] for line in lines].count("left out") == 2
    assert json.loads((output / "run.json").read_text())["results"]["left out"] == 2
