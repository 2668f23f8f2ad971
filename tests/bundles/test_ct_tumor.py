"""The bundle for tumours on CT: label sets by preset, a window in HU, and losses by preset."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from volseg.bundle import Bundle
from volseg.errors import DataError
from volseg.networks.weights import read_card
from volseg.presets import preset_overrides
from volseg.workflows.finetune import finetune
from volseg.workflows.segment import segment
from volseg.workflows.training import TrainingOptions

NAME = "ct_tumor_segmentation"
SIZE = (36, 34, 38)
PATCH = [16, 16, 32]
TINY = {
    "patch_size": PATCH,
    "max_epochs": 1,
    "loop::epoch_length": 3,
    "loop::num_workers": 0,
    "network_def::encoder::widths": [4, 8, 8],
    "spacing": [1.5, 1.5, 1.5],
    "optimisation::precision": "fp32",
}
QUIET = TrainingOptions(device="cpu", progress=False)


def write_task(folder: Path, values: tuple[int, ...] = (1, 2)) -> Path:
    """Write three CT of an organ of 60 HU with a tumour of 30 HU, 20 voxels of 49 000, in air."""
    training = []
    for kind in ("imagesTr", "labelsTr"):
        (folder / kind).mkdir(parents=True)
    for index in range(3):
        rng = np.random.default_rng(index)
        image = np.full(SIZE, -1000.0)
        image[4:-4, 4:-4, 4:-4] = 60
        label = np.zeros(SIZE, np.uint8)
        if len(values) > 1:
            label[4:-4, 4:-4, 4:-4] = values[0]
        corner = 8 + 3 * index
        tumour = (slice(corner, corner + 2), slice(10, 12), slice(20, 25))
        image[tumour], label[tumour] = 30, values[-1]
        image += rng.normal(0, 5, SIZE)
        name = f"ct_{index:03d}.nii.gz"
        affine = np.diag([-1.5, -1.5, 1.5, 1.0])
        nib.save(nib.Nifti1Image(image.astype(np.int16), affine), folder / "imagesTr" / name)
        nib.save(nib.Nifti1Image(label, affine), folder / "labelsTr" / name)
        training.append({"image": f"./imagesTr/{name}", "label": f"./labelsTr/{name}"})
    labels = {str(value): f"class {value}" for value in (0, *values)}
    content = {"modality": {"0": "CT"}, "labels": labels, "training": training}
    (folder / "dataset.json").write_text(json.dumps(content))
    return folder


@pytest.fixture(scope="module")
def task(tmp_path_factory) -> Path:
    return write_task(tmp_path_factory.mktemp("task") / "Task03_Liver")


def presets(*names: str) -> dict:
    return {**preset_overrides(Bundle.find(NAME).root, names), **TINY}


def test_a_few_steps_on_a_task_of_the_decathlon_give_a_bundle_that_segments_it(task, tmp_path):
    finetune(task, tmp_path / "run", NAME, overrides=presets("liver"), options=QUIET)
    run = Bundle(tmp_path / "run")
    assert run.check() == []
    assert list(run.classes().values()) == ["background", "liver", "tumor"]
    card = read_card(run.weights())
    assert (card.normalizer["lower"], card.normalizer["upper"]) == (-100, 300)
    scans = task / "imagesTr"
    summary = segment(scans, run, tmp_path / "masks", {"patch_size": PATCH}, device="cpu")
    assert summary.count("done") == 3
    assert nib.load(tmp_path / "masks" / "ct_000.nii.gz").shape == SIZE


def test_the_window_is_cut_and_scaled_to_0_to_1(task):
    config = Bundle.find(NAME).config("train", {"spacing": [1.5, 1.5, 1.5]})
    case = {"image": str(task / "imagesTr/ct_000.nii.gz")}
    case["label"] = case["image"].replace("images", "labels")
    image = config.get_parsed_content("train::preprocessing")(case)["image"]
    assert float(image[0, 0, 0, 0]) == 0.0  # -1000 HU
    assert float(image[0, 18, 17, 30]) == pytest.approx(0.4, abs=0.06)  # 60 HU of -100 to 300


def test_crops_show_a_tumour_of_20_voxels_as_often_as_the_weights_say(task):
    values = {"patch_size": [8, 8, 8], "spacing": [1.5, 1.5, 1.5]}
    config = Bundle.find(NAME).config("train", values)
    case = {key: str(task / f"{key}sTr/ct_000.nii.gz") for key in ("image", "label")}
    prepared = config.get_parsed_content("train::preprocessing")(case)
    draw = config.get_parsed_content("train::augmentation")
    draw.set_random_state(seed=0)
    shown = np.mean([bool((draw(prepared)["label"] == 2).any()) for _ in range(90)])
    # 2/3 of the crops look for a class, 2/3 of those for the tumour; a few meet it by chance
    assert 0.36 < shown < 0.62


LABEL_SETS = {
    "liver": (1, 2),
    "pancreas": (1, 2),
    "kidney": (1, 2, 3),
    "lung": (1,),
    "colon": (1,),
}


@pytest.mark.parametrize("name", LABEL_SETS)
def test_a_label_set_is_of_one_piece(name, tmp_path):
    copied = Bundle.find(NAME).copy_to(tmp_path / "copy", preset_overrides(_root(), [name]))
    assert copied.check() == []
    values = LABEL_SETS[name]
    raw = copied.raw_config("train")
    assert raw["label_map"] == {str(value): value for value in values}
    assert len(raw["class_weights"]) == len(raw["classes"]) == len(values) + 1
    assert raw["classes"][values[-1]] in ("tumor", "cyst")
    window = copied.raw_config("inference")["normalizer"]
    assert f"{window['lower']} to {window['upper']}" in (_root() / "docs/README.md").read_text()


def _root() -> Path:
    return Bundle.find(NAME).root


def test_a_value_that_the_label_set_does_not_name_is_refused(task, tmp_path):
    with pytest.raises(DataError, match="holds the value 2, and the label map names 0, 1;"):
        finetune(task, tmp_path / "run", NAME, overrides=presets("lung"), options=QUIET)


def loss_of(*names: str):
    config = Bundle.find(NAME).config("train", preset_overrides(_root(), names))
    return config.get_parsed_content("optimisation").loss


def test_losses_are_what_their_formulas_say():
    """Two voxels, two classes: the tumour's voxel is found with 0.6, the other with 0.9.

    MONAI's focal part takes a sigmoid of the logits, here p / (1 + p): 0.375 and 0.0909.
    """
    share = torch.tensor([[0.9, 0.4], [0.1, 0.6]])
    logits = share.log()[None, :, :, None, None]
    label = torch.tensor([0.0, 1.0])[None, None, :, None, None]
    tversky = loss_of("lung", "tversky")(logits, label)
    assert float(tversky) == pytest.approx(1 - 0.6 / (0.6 + 0.3 * 0.1 + 0.7 * 0.4), abs=1e-4)
    dice = 1 - 2 * 0.6 / (0.7 + 1.0)
    focal = 0.5 * (0.625**2 * -np.log(0.375) + 0.0909**2 * -np.log(0.9091))
    both = loss_of("lung", "dice_focal")(logits, label)
    assert float(both) == pytest.approx(dice + focal, abs=1e-3)


def test_a_network_learns_tumours_alone_with_tversky(tmp_path):
    task = write_task(tmp_path / "Task06_Lung", (1,))
    values = {**presets("lung", "tversky"), "loop::epoch_length": 2}
    result = finetune(task, tmp_path / "run", NAME, overrides=values, options=QUIET)
    assert np.isfinite(result.last["loss"])
    assert Bundle(tmp_path / "run").raw_config("train")["optimisation"]["loss"]["beta"] == 0.7


@pytest.mark.parametrize("name", ["unetformer", "unetr"])
def test_a_network_of_a_preset_is_built_for_one_channel(name, tmp_path):
    copied = Bundle.find(NAME).copy_to(tmp_path / name, preset_overrides(_root(), [name]))
    network = copied.config("inference").get_parsed_content("network_def")
    assert network.encoder.spec.in_channels == 1
