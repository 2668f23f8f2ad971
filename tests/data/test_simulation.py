"""From a list of healthy heads to what a network learns from."""

import csv
import json
from copy import deepcopy

import nibabel as nib
import numpy as np
import pytest
import torch

from tests.transforms.resection.heads import make_head
from volseg.bundle import Bundle
from volseg.data.cases import find_cases, items
from volseg.data.draws import Draws
from volseg.data.head_box import head_box
from volseg.data.healthy import simulation_items
from volseg.data.simulation import FixedDraw, PrepareHead, augmentation
from volseg.engines.run import Run
from volseg.errors import DataError, VolsegError
from volseg.transforms.anatomy.maps import Tissue
from volseg.transforms.synthesis import sample_synthesis, synthesize
from volseg.workflows.finetune import finetune
from volseg.workflows.training import TrainingOptions

SPACING = (4.0, 4.0, 4.0)
PATCH = (32, 32, 32)
POSITIVE = {"modes": {"lesionectomy": 1.0}, "min_ml": 8.0, "max_ml": 30.0, "small_share": 1.0}

COLUMNS = ("name", "image", "label", "anatomy", "brain", "contrast", "group")

FREESURFER = {
    Tissue.HEAD: 507,
    Tissue.SKULL: 515,
    Tissue.FLUID: 24,
    Tissue.VENTRICLE: (4, 43),
    Tissue.CORTEX: (3, 42),
    Tissue.WHITE: (2, 41),
    Tissue.CALLOSUM: (2, 41),
    Tissue.DEEP: (10, 49),
    Tissue.LIMBIC: (17, 53),
    Tissue.BRAINSTEM: 16,
    Tissue.CEREBELLUM_CORTEX: (8, 47),
    Tissue.CEREBELLUM_WHITE: (7, 46),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Write two label maps, a scan with its brain mask, and a scan of a labelled cavity."""
    root = tmp_path_factory.mktemp("heads")
    head = make_head(SPACING)
    tissue, side = head.tissue.numpy(), head.side.numpy()
    labels = np.zeros(tissue.shape, np.int32)
    for kind, number in FREESURFER.items():
        left, right = number if isinstance(number, tuple) else (number, number)
        labels[tissue == kind] = np.where(side == 1, left, right)[tissue == kind]
    image = np.random.default_rng(0).normal(20.0 * tissue, 3).astype(np.float32)
    cavity = np.zeros(tissue.shape, np.int16)
    cavity[30:34, 25:29, 25:29] = 4
    volumes = {
        "map_a": labels,
        "map_b": labels[:, :, 2:],
        "scan": image,
        "brain": (head.depth > 0).numpy().astype(np.uint8),
        "operated": image + 5,
        "cavity": cavity,
    }
    for name, values in volumes.items():
        nib.save(nib.Nifti1Image(values, head.affine), root / f"{name}.nii.gz")
    rows = [
        {"name": "a", "anatomy": "map_a.nii.gz", "group": "1"},
        {"name": "b", "anatomy": "map_b.nii.gz", "group": "2"},
        {"name": "c", "image": "scan.nii.gz", "brain": "brain.nii.gz", "contrast": "T2"},
        {"name": "d", "image": "operated.nii.gz", "label": "cavity.nii.gz", "group": "3"},
    ]
    with (root / "cases.csv").open("w", newline="") as file:
        table = csv.DictWriter(
            file, ("name", "image", "label", "anatomy", "brain", "contrast", "group")
        )
        table.writeheader()
        table.writerows(rows)
    split = {"training": ["a", "c", "d"], "validation": ["b"]}
    (root / "split.json").write_text(json.dumps(split))
    return root


@pytest.fixture(scope="module")
def prepared(folder):
    prepare = PrepareHead(SPACING, cavity_value=4)
    return [prepare(item) for item in simulation_items(folder / "cases.csv")]


def test_a_table_may_name_label_maps_without_an_image(folder):
    first, _, third, fourth = find_cases(folder / "cases.csv")
    assert (first.images, first.anatomy, first.group) == ((), folder / "map_a.nii.gz", "1")
    assert (third.brain, third.contrast) == (folder / "brain.nii.gz", "T2")
    assert fourth.files == [folder / "operated.nii.gz", folder / "cavity.nii.gz"]
    with pytest.raises(DataError, match="a has no image; a label map alone serves in a simulation"):
        items(folder / "cases.csv")


def test_a_row_without_any_head_is_refused(tmp_path):
    (tmp_path / "cases.csv").write_text("name,image,anatomy\na,a.nii,\nb,,\n")
    with pytest.raises(DataError, match="names neither an image nor an anatomy"):
        find_cases(tmp_path / "cases.csv")


def test_only_healthy_cases_are_drawn_several_times(folder):
    listed = simulation_items(folder / "cases.csv", draws=3)
    assert [item["draw"] for item in listed] == [0, 1, 2] * 3 + [0]
    (one,) = simulation_items(folder / "cases.csv", folder / "split.json", "validation")
    assert one == {"labels": str(folder / "map_b.nii.gz"), "contrast": "unknown", "draw": 0}


@pytest.mark.parametrize("contrast", ["t2", "MRI"])
def test_a_contrast_that_is_not_known_is_refused_before_anything_is_drawn(
    folder, tmp_path, contrast
):
    table = tmp_path / "cases.csv"
    table.write_text(f"name,image,contrast\nc,{folder / 'scan.nii.gz'},{contrast}\n")
    with pytest.raises(DataError, match=f"c has the contrast '{contrast}'; use one of T1, T1c"):
        simulation_items(table)


def test_files_of_one_case_must_share_a_grid(folder, tmp_path):
    table = tmp_path / "cases.csv"
    table.write_text(f"image,anatomy\n{folder / 'scan.nii.gz'},{folder / 'map_b.nii.gz'}\n")
    with pytest.raises(VolsegError, match="map_b"):
        simulation_items(table)


def test_what_is_kept_of_a_case_depends_on_what_it_has(prepared):
    always = {"affine", "midline", "draw", "contrast"}
    assert all(always <= set(case) for case in prepared)
    label_map, _, scan, operated = (set(case) - always for case in prepared)
    assert label_map == {"labels", "anatomy"}
    assert scan == {"image", "anatomy"}
    assert operated == {"image", "label"}


def test_the_value_of_the_cavity_is_named_and_becomes_1(prepared):
    label = prepared[3]["label"]
    assert label.unique().tolist() == [0, 1]
    assert int(label.sum()) == 4**3


def test_a_case_is_cut_to_its_head_and_its_affine_moves_along(folder, prepared):
    whole = nib.load(folder / "map_a.nii.gz")
    numbers = np.asarray(whole.dataobj)
    case = prepared[0]
    assert case["labels"].numel() < numbers.size
    assert int((case["labels"] > 0).sum()) == int((numbers > 0).sum())
    places = np.argwhere(case["labels"][0].numpy() == 16)
    expected = np.argwhere(numbers == 16)
    ours = places @ case["affine"][:3, :3].T + case["affine"][:3, 3]
    theirs = expected @ whole.affine[:3, :3].T + whole.affine[:3, 3]
    np.testing.assert_allclose(ours.mean(axis=0), theirs.mean(axis=0), atol=1e-6)


def test_the_box_of_a_head_leaves_a_margin():
    volume = torch.zeros(20, 20, 20, dtype=torch.int16)
    volume[8:10, 5:15, 9] = 1
    box = head_box(volume, (2.0, 1.0, 4.0), margin=4.0)
    assert box == (slice(6, 12), slice(1, 19), slice(8, 11))


def test_a_label_map_of_gif_is_not_read_as_one_of_freesurfer(prepared):
    gif = {2: 46, 41: 45, 3: 104, 42: 103, 4: 53, 43: 52, 10: 61, 49: 60, 17: 49, 53: 48, 16: 36}
    gif |= {8: 40, 47: 39, 7: 42, 46: 41, 24: 1, 507: 2, 515: 3}
    table = torch.zeros(600, dtype=torch.int16)
    table[list(gif)] = torch.tensor(list(gif.values()), dtype=torch.int16)
    labels = table[prepared[0]["labels"].long()]
    synthesis = augmentation(PATCH, SPACING).transforms[0]
    gaps = []
    for seed in range(5):
        synthesis.set_random_state(seed=seed)
        image = synthesis({"labels": labels})["image"]
        left, right = (float(image[labels == number].median()) for number in (46, 45))
        gaps.append(abs(left - right) / float(image.max()))
    assert sorted(gaps)[2] < 0.05  # FreeSurfer's 46 is cerebellum, and it has no 45


@pytest.mark.parametrize("lesion_share", [0.0, 1.0])
def test_contrasts_and_lesions_are_drawn_as_often_as_asked(prepared, lesion_share):
    asked = {"shares": {"T2": 1.0}, "lesion_share": lesion_share}
    transform = augmentation(PATCH, SPACING, synthesis=asked).transforms[0]
    transform.set_random_state(seed=4)
    random = deepcopy(transform.R)
    case = transform({"labels": prepared[0]["labels"]})
    labels = prepared[0]["labels"][0]
    drawn = sample_synthesis(labels.unique().tolist(), random, scheme="auto", **asked)
    assert bool(drawn.lesions) == bool(lesion_share)
    assert case["contrast"] == "T2"
    assert torch.equal(case["image"], synthesize(labels, drawn, SPACING))


def test_heads_are_widened_before_they_become_images_only_on_request(prepared):
    plain = augmentation(PATCH, SPACING).transforms
    asked = {"atrophy_share": 1.0, "shares": {"T2": 1.0}, "scheme": "freesurfer"}
    wide = augmentation(PATCH, SPACING, synthesis=asked).transforms
    assert [type(each).__name__ for each in wide[1:]] == [type(each).__name__ for each in plain]
    assert wide[0].prob == 1.0
    wide[0].set_random_state(seed=2)
    wide[1].set_random_state(seed=4)
    case = wide[1](wide[0](prepared[0]))
    opened = (case["labels"] == 24) & (prepared[0]["labels"] != 24)
    assert int(opened.sum()) > 50
    levels = [case["image"][where].median() for where in (opened, case["labels"] == 2)]
    # On T2 fluid is twice as bright as white matter or more, in what has opened too.
    assert levels[0] > 1.5 * levels[1] > 0


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"atrophy_share": 2}, "atrophy_share is 2; use a probability"),
        (
            {"lesions": 1},
            "unexpected keyword argument 'lesions'; use shares, lesion_share, atrophy_share",
        ),
        ({"shares": {"T7": 1.0}}, "contrast 'T7' is not known; use T1, T1c"),
        ({"lesion_share": 2}, "lesion_share is 2; use a probability"),
    ],
)
def test_a_synthesis_that_is_none_is_refused(asked, said):
    with pytest.raises(DataError, match=said):
        augmentation(PATCH, SPACING, synthesis=asked)


def test_a_share_of_the_draws_has_a_cavity_by_resectors_law(prepared):
    prior = {"modes": {"none": 1.0}, "compat_share": 0.5, "compat_rich": 0.5}
    draw = augmentation(PATCH, SPACING, prior=prior, focus=1.0)
    found = 0
    for seed in range(16):
        draw.set_random_state(seed=seed)
        found += bool(draw(prepared[0])["label"].any())
    assert 2 <= found <= 14  # 16 fair coins, but for one in two thousand


def test_a_healthy_draw_has_a_simulated_cavity_and_a_real_one_is_left(prepared):
    draw = augmentation(PATCH, SPACING, prior=POSITIVE, focus=1.0)
    for case in prepared:
        draw.set_random_state(seed=1)
        sample = draw(case)
        assert set(sample) == {"image", "label"}
        assert sample["image"].shape == sample["label"].shape == (1, *PATCH)
        assert sample["label"].unique().tolist() == [0, 1]
        assert bool(torch.isfinite(sample["image"]).all())


def test_a_case_without_a_resection_has_an_empty_label(prepared):
    draw = augmentation(PATCH, SPACING, prior={"modes": {"none": 1.0}})
    draw.set_random_state(seed=1)
    assert not draw(prepared[0])["label"].any()


def test_draws_repeat_themselves_and_leave_the_kept_case_alone(prepared):
    before = {key: value.clone() for key, value in prepared[2].items() if torch.is_tensor(value)}
    draws = Draws([prepared[2]], augmentation(PATCH, SPACING, prior=POSITIVE), seed=3)
    first, again, other = draws[5], draws[5], draws[6]
    assert torch.equal(first["image"], again["image"])
    assert torch.equal(first["label"], again["label"])
    assert not torch.equal(first["image"], other["image"])
    assert all(torch.equal(before[key], prepared[2][key]) for key in before)


def test_a_validation_draw_is_the_same_each_time_and_differs_from_the_next(folder):
    fixed = FixedDraw(PrepareHead(SPACING, cavity_value=4), SPACING, prior=POSITIVE)
    listed = simulation_items(folder / "cases.csv", folder / "split.json", "validation", draws=2)
    first, again, other = fixed(listed[0]), fixed(listed[0]), fixed(listed[1])
    assert torch.equal(first["image"], again["image"])
    assert torch.equal(first["label"], again["label"])
    assert not torch.equal(first["label"], other["label"])


def test_a_real_cavity_validates_as_it_is(folder):
    fixed = FixedDraw(PrepareHead(SPACING, cavity_value=4), SPACING)
    case = fixed(simulation_items(folder / "cases.csv")[3])
    assert int(case["label"].sum()) == 4**3


OVERRIDES = {
    "spacing": list(SPACING),
    "patch_size": [32, 32, 32],
    "cavity_value": 4,
    "train::trainer::max_epochs": 2,
    "loop::epoch_length": 2,
    "loop::num_workers": 0,
    "val_interval": 2,
    "network_def::encoder::widths": [4, 4, 8],
    "network_def::encoder::blocks": [1, 1, 1],
}


def train(folder, output, **options):
    return finetune(
        folder / "cases.csv",
        output,
        "resection_cavity_segmentation",
        split=folder / "split.json",
        overrides=OVERRIDES,
        options=TrainingOptions(device="cpu", progress=False, **options),
    )


class KilledError(Exception):
    """Stands for a kill."""


@pytest.mark.slow
def test_a_training_that_was_killed_ends_with_the_same_weights(folder, tmp_path, monkeypatch):
    whole = train(folder, tmp_path / "whole")
    assert whole.notes == [
        "3 training and 1 validation cases",
        "1 cases have a label, 3 have none and are taken for healthy",
    ]
    step = Run.step

    def fail(self, engine, batch):
        if engine.state.iteration == 3:
            raise KilledError
        return step(self, engine, batch)

    with monkeypatch.context() as patch:
        patch.setattr(Run, "step", fail)
        with pytest.raises(KilledError):
            train(folder, tmp_path / "parts")
    train(folder, tmp_path / "parts", resume=True)
    one, other = (
        torch.load(tmp_path / name / "models" / "model.pt", weights_only=True)
        for name in ("whole", "parts")
    )
    assert all(torch.equal(one[key], other[key]) for key in one)
    assert Bundle(tmp_path / "parts").weights().is_file()


def test_a_bundle_that_simulates_nothing_refuses_cases_without_labels(folder, tmp_path):
    only = tmp_path / "cases.csv"
    only.write_text(f"anatomy\n{folder / 'map_a.nii.gz'}\n{folder / 'map_b.nii.gz'}\n")
    with pytest.raises(DataError, match="no labelled case"):
        finetune(only, tmp_path / "run", "hippocampus_segmentation")


UNETFORMER = {
    "_target_": "volseg.networks.segmenter.Segmenter",
    "num_classes": 2,
    "encoder": {"_target_": "volseg.networks.swin.tiny", "in_channels": 2},
    "decoder": {"_target_": "volseg.networks.decoder_swin.SwinDecoder", "_mode_": "callable"},
}


@pytest.mark.slow
def test_weights_of_a_whole_network_are_gone_on_with_heads_included(folder, tmp_path):
    train(folder, tmp_path / "first")
    weights = tmp_path / "first" / "models" / "model.safetensors"
    finetune(
        folder / "cases.csv",
        tmp_path / "second",
        "resection_cavity_segmentation",
        encoder=weights,
        split=folder / "split.json",
        overrides={**OVERRIDES, "learning_rate": 1e-12, "weight_decay": 0.0},
        options=TrainingOptions(device="cpu", progress=False, is_transductive=True),
    )
    before, after = (
        torch.load(tmp_path / name / "models" / "model.pt", weights_only=True)
        for name in ("first", "second")
    )
    for name, value in before.items():
        torch.testing.assert_close(after[name], value, atol=1e-6, rtol=0)


@pytest.mark.slow
def test_a_unetformer_learns_from_the_same_cases(folder, tmp_path):
    overrides = {k: v for k, v in OVERRIDES.items() if not k.startswith("network_def")}
    result = finetune(
        folder / "cases.csv",
        tmp_path / "run",
        "resection_cavity_segmentation",
        split=folder / "split.json",
        overrides={**overrides, "network_def": UNETFORMER},
        options=TrainingOptions(device="cpu", progress=False),
    )
    assert result.last["step"] == 4
    inference = Bundle(tmp_path / "run").raw_config("inference")
    assert inference["network_def"] == UNETFORMER


def test_a_head_that_cannot_be_mapped_is_named(folder, tmp_path):
    empty, scan = tmp_path / "brain.nii.gz", nib.load(folder / "scan.nii.gz")
    nib.save(nib.Nifti1Image(np.zeros(scan.shape, np.uint8), scan.affine), empty)
    table = tmp_path / "cases.csv"
    table.write_text(f"image,brain\n{folder / 'scan.nii.gz'},{empty}\n")
    (item,) = simulation_items(table)
    with pytest.raises(DataError, match=rf"{empty}: the brain mask is empty"):
        PrepareHead(SPACING)(item)
