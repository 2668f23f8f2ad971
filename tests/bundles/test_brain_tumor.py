"""The bundle for brain tumours: channels by name, some of them missing, and labels by preset."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from tests.bundles.synthetic import oblique_affine
from volseg.bundle import Bundle
from volseg.data.cases import find_cases, items
from volseg.errors import DataError
from volseg.presets import preset_overrides
from volseg.workflows.evaluate import evaluate
from volseg.workflows.finetune import finetune
from volseg.workflows.segment import segment
from volseg.workflows.training import TrainingOptions

NAME = "brain_tumor_segmentation"
CHANNELS = ("t1", "t1c", "t2", "flair")
SPELLINGS = {"t1": "t1n", "t1c": "t1c", "t2": "t2w", "flair": "t2f"}
SIZE = (18, 20, 17)
PATCH = [16, 16, 32]
TINY = {
    "patch_size": PATCH,
    "max_epochs": 1,
    "loop::epoch_length": 2,
    "loop::num_workers": 0,
}
QUIET = TrainingOptions(device="cpu", progress=False)


def write_case(folder: Path, name: str, channels=CHANNELS, values=(1, 2, 3)) -> None:
    """Write a case as BraTS does; each sequence shows a tumour in another brightness."""
    rng = np.random.default_rng(len(name) + len(channels))
    place = folder / name
    place.mkdir(parents=True)
    label = np.zeros(SIZE, np.uint8)
    for index, value in enumerate(values):
        label[4:12, 4 * index + 2 : 4 * index + 6, 4:12] = value
    affine = oblique_affine() if name.endswith("2-100") else np.eye(4)
    for channel in channels:
        image = 20.0 * label * (1 + CHANNELS.index(channel)) + rng.normal(300, 10, SIZE)
        path = place / f"{name}-{SPELLINGS[channel]}.nii.gz"
        nib.save(nib.Nifti1Image(image.astype(np.float32), affine), path)
    nib.save(nib.Nifti1Image(label, affine), place / f"{name}-seg.nii.gz")


@pytest.fixture(scope="module")
def brats(tmp_path_factory) -> Path:
    """Write four scans of three patients, one of which lacks T2 and one all but FLAIR."""
    folder = tmp_path_factory.mktemp("brats") / "data"
    write_case(folder, "BraTS-GLI-00001-100")
    write_case(folder, "BraTS-GLI-00001-101", ("t1", "t1c", "flair"))
    write_case(folder, "BraTS-GLI-00002-100", ("flair",))
    write_case(folder, "BraTS-GLI-00003-100")
    return folder


@pytest.fixture(scope="module")
def trained(brats, tmp_path_factory) -> Path:
    run = tmp_path_factory.mktemp("run") / "run"
    result = finetune(brats, run, NAME, overrides=TINY, options=QUIET)
    counts = "channels of 4 cases: t1 in 3, t1c in 3, t2 in 2, flair in 4; those missing are zeros"
    assert counts in result.notes
    assert counts in json.loads((run / "run.json").read_text())["results"]["notes"]
    return run


def only(brats: Path, folder: Path, *channels: str) -> Path:
    """Copy the images of some channels, all into one folder."""
    folder.mkdir()
    for channel in channels:
        for path in brats.rglob(f"*-{SPELLINGS[channel]}.nii.gz"):
            (folder / path.name).write_bytes(path.read_bytes())
    return folder


def manifest(folder: Path) -> list[dict]:
    lines = (folder / "manifest.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_scans_of_one_patient_are_of_one_group_and_have_their_labels(brats):
    cases = find_cases(brats, None, CHANNELS, optional_channels=True)
    assert [case.group for case in cases] == [
        "BraTS-GLI-00001",
        "BraTS-GLI-00001",
        "BraTS-GLI-00002",
        "BraTS-GLI-00003",
    ]
    assert [len(case.channels) for case in cases] == [4, 3, 1, 4]
    assert all(case.label.name == f"{case.name}-seg.nii.gz" for case in cases)


def test_a_case_without_a_channel_that_is_needed_is_refused_by_name(brats):
    with pytest.raises(DataError, match=r"BraTS-GLI-00001-101.*lacks t2"):
        find_cases(brats, None, CHANNELS)


def test_a_trained_network_segments_a_folder_of_flair_alone(trained, brats, tmp_path):
    scans = only(brats, tmp_path / "scans", "flair")
    summary = segment(scans, trained, tmp_path / "masks", {"patch_size": PATCH}, device="cpu")
    assert summary.count("done") == 4
    for entry in manifest(tmp_path / "masks"):
        assert entry["findings"]["channels"] == ["flair"]
        assert "has flair; zeros stand for t1, t1c, t2" in entry["warnings"]
    mask = nib.load(tmp_path / "masks" / "BraTS-GLI-00002-100.nii.gz")
    assert mask.shape == SIZE
    np.testing.assert_allclose(mask.affine, oblique_affine(), atol=1e-5)


def test_a_folder_of_whole_and_of_partial_cases_says_which_channels_each_has(
    trained, brats, tmp_path
):
    segment(brats, trained, tmp_path / "masks", {"patch_size": PATCH}, device="cpu")
    used = {
        Path(entry["name"]).name: entry["findings"]["channels"]
        for entry in manifest(tmp_path / "masks")
        if entry["status"] == "done"
    }
    assert used["BraTS-GLI-00001-100"] == list(CHANNELS)
    assert used["BraTS-GLI-00001-101"] == ["t1", "t1c", "flair"]


def test_a_missing_channel_is_not_the_same_as_another_one(trained, brats):
    """What the network gets for FLAIR alone is at the place of FLAIR."""
    path = brats / "BraTS-GLI-00002-100" / "BraTS-GLI-00002-100-t2f.nii.gz"
    image = nib.load(path)
    config = Bundle(trained).config("inference")
    prepared = config.get_parsed_content("preprocessing")({"image": str(path)})["image"]
    assert prepared[:3].abs().max() == 0
    assert float(prepared[3].std()) > 0.5
    by_name = segment({"FLAIR": image}, trained, overrides={"patch_size": PATCH}, device="cpu")
    assert by_name.shape == SIZE
    with pytest.raises(DataError, match="channels are ADC; give some of t1, t1c, t2, flair"):
        segment({"ADC": image}, trained, overrides={"patch_size": PATCH}, device="cpu")


def test_a_case_of_unknown_names_is_refused_in_one_line_and_the_others_go_on(
    trained, brats, tmp_path
):
    scans = only(brats, tmp_path / "scans", "flair")
    nib.save(nib.Nifti1Image(np.zeros(SIZE, np.float32), np.eye(4)), scans / "strange.nii.gz")
    summary = segment(scans, trained, tmp_path / "masks", {"patch_size": PATCH}, device="cpu")
    assert (summary.count("done"), summary.count("failed")) == (4, 1)
    (reason,) = (case.reason for case in summary.cases if case.reason is not None)
    assert reason.startswith("its name does not say which of t1, t1c, t2, flair it shows")
    assert "\n" not in reason


def test_the_enhancing_tumour_of_2021_is_refused_until_its_preset_says_what_4_means(tmp_path):
    data = tmp_path / "data"
    for index in range(2):
        write_case(data, f"BraTS2021_0000{index}", ("t1c",), values=(1, 2, 4))
    with pytest.raises(DataError, match="holds the value 4, and the label map names 0, 1, 2, 3"):
        finetune(data, tmp_path / "wrong", NAME, overrides=TINY, options=QUIET)
    bundle = Bundle.find(NAME)
    values = {**preset_overrides(bundle.root, ["brats2021"]), **TINY}
    finetune(data, tmp_path / "right", NAME, overrides=values, options=QUIET)
    trained = Bundle(tmp_path / "right")
    item = items(data, channels=CHANNELS, optional_channels=True)[0]
    pipeline = trained.config("train").get_parsed_content("train::preprocessing")
    assert set(np.unique(pipeline(item)["label"])) == {0, 1, 2, 3}


def test_treated_gliomas_have_a_cavity_as_their_fourth_class(tmp_path):
    data = tmp_path / "data"
    for index in range(2):
        write_case(data, f"BraTS-GLI-0000{index}-100", ("t1c", "flair"), values=(1, 2, 3, 4))
    bundle = Bundle.find(NAME)
    values = {**preset_overrides(bundle.root, ["brats2024"]), **TINY}
    finetune(data, tmp_path / "run", NAME, overrides=values, options=QUIET)
    run = Bundle(tmp_path / "run")
    assert run.classes()[4] == "cavity"
    assert run.check() == []
    assert run.metadata["pred_classes"].endswith("4 cavity")
    segment(data, run.root, tmp_path / "masks", {"patch_size": PATCH}, device="cpu")
    references = tmp_path / "references"
    for path in data.rglob("*-seg.nii.gz"):
        target = references / path.parent.name / path.name.replace("-seg", "")
        target.parent.mkdir(parents=True)
        target.write_bytes(path.read_bytes())
    report = evaluate(tmp_path / "masks", references, bundle=run.root)
    assert {"WT", "TC", "ET", "RC"} <= set(report.summary)


def test_a_decathlon_data_set_of_four_channels_in_a_file_is_read_by_name(tmp_path):
    (tmp_path / "imagesTr").mkdir()
    channels = np.stack([np.full(SIZE, value, np.float32) for value in (1, 2, 3, 4)], axis=-1)
    channels[4:8, 4:8, 4:8] *= 3
    nib.save(nib.Nifti1Image(channels, np.eye(4)), tmp_path / "imagesTr" / "BRATS_001.nii.gz")
    modality = {"0": "FLAIR", "1": "T1w", "2": "t1gd", "3": "T2w"}
    training = [{"image": "./imagesTr/BRATS_001.nii.gz"}]
    description = {"modality": modality, "training": training}
    (tmp_path / "dataset.json").write_text(json.dumps(description))
    (item,) = items(tmp_path, channels=CHANNELS, optional_channels=True, with_labels=False)
    assert item["channels"] == ["flair", "t1", "t1c", "t2"]
    train = Bundle.find(NAME).config("inference")
    train["normalizer"] = {"_target_": "monai.transforms.Identityd", "keys": ["image"]}
    image = train.get_parsed_content("preprocessing")(item)["image"]
    assert image[:, 0, 0, 0].tolist() == [2, 3, 4, 1]


def test_a_decathlon_data_set_is_not_trained_on_as_if_brats_had_numbered_it(tmp_path):
    for folder in ("imagesTr", "labelsTr"):
        (tmp_path / folder).mkdir()
        nib.save(nib.Nifti1Image(np.ones((*SIZE, 4)), np.eye(4)), tmp_path / folder / "a.nii.gz")
    description = {
        "modality": {"0": "FLAIR", "1": "T1w", "2": "t1gd", "3": "T2w"},
        "labels": {"0": "background", "1": "edema", "2": "non-enhancing", "3": "enhancing tumour"},
        "training": [{"image": "./imagesTr/a.nii.gz", "label": "./labelsTr/a.nii.gz"}],
    }
    (tmp_path / "dataset.json").write_text(json.dumps(description))
    with pytest.raises(DataError, match="label 1 'edema', but the bundle takes it for 'necrosis'"):
        finetune(tmp_path, tmp_path / "run", NAME, overrides=TINY, options=QUIET)


@pytest.mark.real
def test_real_gliomas_of_two_sequences_are_found_with_their_labels(shared_data):
    data = shared_data / "Dataset902_GliomaBraTS2013"
    cases = find_cases(data, None, CHANNELS, optional_channels=True)
    assert [case.channels for case in cases] == [("t1c", "flair")] * 3
    values = preset_overrides(Bundle.find(NAME).root, ["brats2013", "fine"])
    config = Bundle.find(NAME).config("train", values)
    item = items(data, channels=CHANNELS, optional_channels=True)[0]
    label = config.get_parsed_content("train::preprocessing")(item)["label"]
    # necrosis 12956 with non-enhancing core 44699, oedema 45203, enhancing 17816
    assert [int((label == value).sum()) for value in (1, 2, 3)] == [57655, 45203, 17816]


@pytest.mark.real
def test_weights_that_never_saw_a_labelled_tumour_find_a_real_one(shared_data, tmp_path):
    data = shared_data / "Dataset902_GliomaBraTS2013"
    name = "brats_2013_pat0004_1"
    scans = tmp_path / "scans"
    scans.mkdir()
    for channel, sequence in enumerate(("t1c", "flair")):
        image = data / "imagesTr" / f"{name}_000{channel}.nii.gz"
        (scans / f"{name}_{sequence}.nii.gz").write_bytes(image.read_bytes())
    segment(scans, NAME, tmp_path / "masks", device="cpu")
    mask = nib.load(tmp_path / "masks" / f"{name}.nii.gz")
    label = nib.load(data / "labelsTr" / f"{name}.nii.gz")
    np.testing.assert_allclose(mask.affine, label.affine, atol=1e-4)
    found, truth = np.asarray(mask.dataobj) > 0, np.asarray(label.dataobj) > 0.5
    assert 2 * (found & truth).sum() / (found.sum() + truth.sum()) > 0.85
