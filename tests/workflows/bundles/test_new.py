"""What `volseg bundle new` makes: sound at once, and good for training and segmenting."""

import json

import nibabel as nib
import numpy as np
import pytest
from monai.bundle import run

from tests.bundles.synthetic import write_dataset
from volseg.bundle import Bundle
from volseg.cli.main import main
from volseg.errors import BundleError, GeometryError
from volseg.trust import foreign_code
from volseg.workflows.bundles.check import check_bundle
from volseg.workflows.bundles.new import Design, new_bundle
from volseg.workflows.finetune import finetune
from volseg.workflows.segment import Batch, segment
from volseg.workflows.training import TrainingOptions

NAME = "nodule_segmentation"
SHORT = {"max_epochs": 1, "epoch_length": 2, "loop::num_workers": 0}


def config_of(root, kind):
    return json.loads((root / "configs" / f"{kind}.json").read_text())


@pytest.mark.parametrize(
    "design",
    [
        Design(),
        Design(channels=("T1", "FLAIR"), classes=("core", "oedema"), patch_size=(32, 48, 32)),
        Design(channels=("CT",), spacing=None, window=(-1000, 400), network="tiny"),
    ],
)
def test_a_new_bundle_has_no_error_and_no_code(tmp_path, design):
    root = new_bundle(NAME, tmp_path, design).bundle.root
    report = check_bundle(root)
    assert [one.message for one in report.findings] == [
        "holds no weights; nothing can be segmented before it is trained"
    ]
    for kind in ("train", "inference"):
        assert foreign_code(config_of(root, kind)) == []
    text = "".join(path.read_text() for path in root.rglob("*.[jm]*"))
    assert "ippocamp" not in text
    assert "{" not in (root / "docs" / "README.md").read_text()


def test_the_facts_of_the_command_line_stand_in_every_file(tmp_path, capsys):
    words = "--channels T1,FLAIR --classes core,oedema --spacing 1,1,2.5 --patch-size 32,32,16"
    options = ["--network", "tiny", "--window=-5,80", "--json"]
    assert main(["bundle", "new", NAME, "--output", str(tmp_path), *words.split(), *options]) == 0
    root = tmp_path / NAME
    assert json.loads(capsys.readouterr().out) == {"bundle": str(root), "name": NAME}
    for kind in ("train", "inference"):
        config = config_of(root, kind)
        assert config["channels"] == ["T1", "FLAIR"]
        assert config["classes"] == ["background", "core", "oedema"]
        assert (config["spacing"], config["patch_size"]) == ([1, 1, 2.5], [32, 32, 16])
        assert (config["normalizer"]["lower"], config["normalizer"]["upper"]) == (-5, 80)
        encoder = {"_target_": "volseg.networks.residual.tiny", "in_channels": 2}
        assert config["network_def"]["encoder"] == encoder
        assert config["network_def"]["num_classes"] == config["num_classes"] == 3
    tensors = config_of(root, "metadata")["network_data_format"]
    assert tensors["inputs"]["image"]["channel_def"] == {"0": "T1", "1": "FLAIR"}
    assert tensors["outputs"]["pred"]["num_channels"] == 3
    assert Bundle(root).classes() == {0: "background", 1: "core", 2: "oedema"}
    assert main(["bundle", "new", NAME, "--output", str(tmp_path)]) == 1
    assert "is there already; choose another name, or add --overwrite" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "better"),
    [
        ("Lung Nodule", "lung_nodule_segmentation"),
        ("nodule_detection_segmentation", "nodule_segmentation"),
        ("../x_segmentation", "x_segmentation"),
        ("segmentation 3", "organ_segmentation"),
    ],
)
def test_a_name_that_would_be_misread_is_refused_with_a_better_one(tmp_path, name, better):
    with pytest.raises(BundleError, match=f"such as {better}$"):
        new_bundle(name, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("design", "error", "said"),
    [
        (Design(classes=()), BundleError, "one or more different names"),
        (Design(classes=("a", "A")), BundleError, "one or more different names"),
        (Design(classes=("background",)), BundleError, "background by itself"),
        (Design(spacing=(1, 0, 1)), BundleError, "millimetres above 0"),
        (Design(window=(3, 3)), BundleError, "least intensity first"),
        (Design(network="huge"), BundleError, "use one of tiny, small, base, large"),
        (Design(patch_size=(60, 64, 64)), GeometryError, r"use \(64, 64, 64\)"),
    ],
)
def test_facts_that_make_no_sense_are_refused_before_anything_is_written(
    tmp_path, design, error, said
):
    with pytest.raises(error, match=said):
        new_bundle(NAME, tmp_path, design)
    assert not list(tmp_path.iterdir())


def test_it_trains_and_segments_with_monai_and_with_volseg(tmp_path):
    names = write_dataset(tmp_path / "data", num_classes=2)
    design = Design(channels=("MRI",), network="tiny", patch_size=(16, 16, 16))
    root = new_bundle(NAME, tmp_path, design).bundle.root
    common = {"logging_file": False, "bundle_root": str(root), "device": "cpu"}
    run(
        config_file=str(root / "configs" / "train.json"),
        dataset_dir=str(tmp_path / "data"),
        **common,
        **{"train::trainer::max_epochs": 1, "loop::epoch_length": 2, "loop::num_workers": 0},
    )
    run(
        config_file=str(root / "configs" / "inference.json"),
        dataset_dir=str(tmp_path / "data" / "imagesTr"),
        output_dir=str(tmp_path / "monai"),
        **common,
    )
    quiet = TrainingOptions(device="cpu", progress=False)
    finetune(tmp_path / "data", tmp_path / "run", root, overrides=SHORT, options=quiet)
    images, batch = tmp_path / "data" / "imagesTr", Batch(report=False)
    summary = segment([images], tmp_path / "run", tmp_path / "ours", device="cpu", batch=batch)
    assert summary.is_complete
    for name in names:
        for folder in ("monai", "ours"):
            mask = nib.load(tmp_path / folder / f"{name}.nii.gz")
            assert mask.shape == nib.load(images / f"{name}.nii.gz").shape
            assert set(np.unique(np.asarray(mask.dataobj))) <= {0, 1}
    assert check_bundle(root).is_sound
    assert check_bundle(tmp_path / "run").is_sound
