"""volseg segments with a bundle in which nothing is volseg's."""

import json
import os
from zipfile import ZipFile

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import run

from tests.bundles.synthetic import write_dataset
from tests.foreign.zoo_bundle import with_step, write_zoo_bundle
from volseg.bundle import Bundle
from volseg.cli.main import main
from volseg.trust import foreign_code


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """Give an oblique image with swapped axes, of other voxels than the network's."""
    folder = tmp_path_factory.mktemp("scans")
    names = write_dataset(folder)
    return folder / "imagesTr" / f"{names[-1]}.nii.gz"


def segment(bundle, image, output, *options):
    words = [str(image), "--bundle", str(bundle), "--output", str(output), "--device", "cpu"]
    return main(["segment", *words, "--quiet", "--no-report", *options])


def labels(path):
    return np.asarray(nib.load(path).dataobj).astype(int)


def test_its_mask_is_the_one_that_monai_itself_makes(tmp_path, image):
    root = write_zoo_bundle(tmp_path / "organ_segmentation")
    assert foreign_code(Bundle(root).raw_config("inference")) == []
    assert segment(root, image, tmp_path / "ours") == 0
    run(
        config_file=str(root / "configs" / "inference.json"),
        logging_file=False,
        bundle_root=str(root),
        dataset_dir=str(image),
        output_dir=str(tmp_path / "theirs"),
        device="cpu",
    )
    ours, theirs = labels(tmp_path / "ours" / image.name), labels(tmp_path / "theirs" / image.name)
    assert ours.shape == theirs.shape
    assert len(np.unique(theirs)) > 1, "nothing to compare"
    assert (ours == theirs).mean() > 0.99  # interpolated in another order


def test_a_checkpoint_of_monai_holds_the_network_under_model(tmp_path, image):
    root = write_zoo_bundle(tmp_path / "organ_segmentation")
    weights = root / "models" / "model.pt"
    assert segment(root, image, tmp_path / "plain") == 0
    state = torch.load(weights, weights_only=True)
    torch.save({"model": state, "epoch": 3}, weights)
    assert segment(root, image, tmp_path / "nested") == 0
    assert (
        labels(tmp_path / "plain" / image.name) == labels(tmp_path / "nested" / image.name)
    ).all()


def test_code_is_refused_until_it_is_trusted(tmp_path, image, capsys, caplog):
    root = write_zoo_bundle(tmp_path / "organ_segmentation", imports=["$import glob"])
    assert segment(root, image, tmp_path / "out") == 1
    said = capsys.readouterr().err
    assert "imports::0 is $import glob; read it, and add --trust if you trust it" in said
    assert not list((tmp_path / "out").glob("*.nii.gz"))
    assert segment(root, image, tmp_path / "out", "--trust") == 0
    assert "is trusted, and runs code: imports::0 is $import glob" in caplog.text
    assert (tmp_path / "out" / image.name).is_file()


def test_overlapping_classes_are_refused_and_a_step_that_is_left_out_is_said(
    tmp_path, image, capsys, caplog
):
    sigmoid = with_step({"_target_": "Activationsd", "keys": "pred", "sigmoid": True})
    root = write_zoo_bundle(tmp_path / "a_segmentation", postprocessing=sigmoid)
    assert segment(root, image, tmp_path / "a") == 1
    assert "Activationsd has a sigmoid, so its classes may overlap" in capsys.readouterr().err
    largest = with_step({"_target_": "KeepLargestConnectedComponentD", "keys": "pred"})
    root = write_zoo_bundle(tmp_path / "b_segmentation", postprocessing=largest)
    assert segment(root, image, tmp_path / "b") == 0
    assert "volseg leaves out KeepLargestConnectedComponentd" in caplog.text


def test_what_volseg_needs_and_is_not_there_is_named(tmp_path, image, capsys):
    root = write_zoo_bundle(tmp_path / "organ_segmentation")
    path = root / "configs" / "inference.json"
    config = json.loads(path.read_text())
    del config["preprocessing"]
    path.write_text(json.dumps(config))
    assert segment(root, image, tmp_path / "out") == 1
    assert "inference.json has no preprocessing" in capsys.readouterr().err


class Bomb:
    """Makes a folder when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (os.mkdir, (self.path,))


@pytest.mark.parametrize("is_trusted", [False, True])
def test_weights_are_never_unpickled_trusted_or_not(tmp_path, image, capsys, is_trusted):
    root = write_zoo_bundle(tmp_path / "organ_segmentation")
    ran = tmp_path / "ran"
    torch.save({"state": Bomb(str(ran))}, root / "models" / "model.pt")
    options = ["--trust"] if is_trusted else []
    assert segment(root, image, tmp_path / "out", *options) == 1
    assert "is not a plain state dict" in capsys.readouterr().err
    assert not ran.exists()
    torch.load(root / "models" / "model.pt", weights_only=False)  # it would have gone off
    assert ran.is_dir()


def test_a_zip_file_of_it_is_segmented_with_and_one_that_leads_outside_is_not(
    tmp_path, image, capsys, monkeypatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    root = write_zoo_bundle(tmp_path / "organ_segmentation")
    path = tmp_path / "organ.zip"
    with ZipFile(path, "w") as archive:
        for file in sorted(root.rglob("*.*")):
            archive.write(file, file.relative_to(tmp_path))
    assert segment(path, image, tmp_path / "out") == 0
    assert segment(root, image, tmp_path / "plain") == 0
    assert (labels(tmp_path / "out" / image.name) == labels(tmp_path / "plain" / image.name)).all()
    with ZipFile(path, "a") as archive:
        archive.writestr("organ_segmentation/../../outside", "x")
    assert segment(path, image, tmp_path / "evil") == 1
    assert "a path that leads outside; it is not unpacked" in capsys.readouterr().err
    assert not list(tmp_path.rglob("outside"))
