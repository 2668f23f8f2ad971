"""From healthy heads to what a network learns tumours from."""

import nibabel as nib
import numpy as np
import pytest
import torch

from tests.data.test_simulation import FREESURFER
from tests.transforms.resection.heads import make_head
from tests.transforms.tumour.heads import paint
from volseg.bundle import Bundle
from volseg.data.cases import find_cases
from volseg.data.tumour_cases import tumour_items
from volseg.data.tumour_simulation import FixedTumour, PrepareTumourCase, SimulateTumour
from volseg.errors import DataError, GeometryError
from volseg.presets import preset_overrides
from volseg.transforms.anatomy.maps import Tissue
from volseg.transforms.standardize import StandardizeTissued
from volseg.workflows.finetune import finetune
from volseg.workflows.training import TrainingOptions

SPACING = (4.0, 4.0, 4.0)
CHANNELS = ("t1", "t1c", "t2", "flair")
GLIOMA = {"kinds": {"glioblastoma": 1.0}, "min_ml": 15.0, "max_ml": 40.0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Write two label maps, a healthy head of two sequences, and a labelled one."""
    root = tmp_path_factory.mktemp("heads")
    head = make_head(SPACING)
    tissue, side = head.tissue.numpy(), head.side.numpy()
    labels = np.zeros(tissue.shape, np.int32)
    for kind, number in FREESURFER.items():
        left, right = number if isinstance(number, tuple) else (number, number)
        labels[tissue == kind] = np.where(side == 1, left, right)[tissue == kind]
    tumour = np.zeros(tissue.shape, np.int16)
    tumour[30:34, 25:29, 25:29] = 3
    volumes = {
        "map_a": labels,
        "map_b": labels,
        "healthy_T1": paint(head, "T1")[0].numpy(),
        "healthy_FLAIR": paint(head, "FLAIR")[0].numpy(),
        "sick_T1": paint(head, "T1")[0].numpy(),
        "sick_seg": tumour,
    }
    for name, values in volumes.items():
        nib.save(nib.Nifti1Image(values, head.affine), root / f"{name}.nii.gz")
    rows = [
        "name,T1,FLAIR,anatomy,label",
        "a,,,map_a.nii.gz,",
        "b,,,map_b.nii.gz,",
        "healthy,healthy_T1.nii.gz,healthy_FLAIR.nii.gz,map_a.nii.gz,",
        "sick,sick_T1.nii.gz,,,sick_seg.nii.gz",
    ]
    (root / "heads.csv").write_text("\n".join(rows) + "\n")
    return root


def config(*names, **values):
    bundle = Bundle.find("brain_tumor_segmentation")
    given = {**preset_overrides(bundle.root, ["simulated", *names]), "spacing": list(SPACING)}
    return bundle.config("train", {**given, "patch_size": [32, 32, 32], **values})


def test_a_list_of_heads_names_sequences_label_maps_and_real_tumours(folder):
    cases = find_cases(folder / "heads.csv", None, CHANNELS, optional_channels=True)
    assert [case.channels for case in cases] == [(), (), ("t1", "flair"), ("t1",)]
    items = tumour_items(cases, CHANNELS, draws=2)
    assert [(sorted(item), item["draw"]) for item in items] == [
        (["draw", "labels"], 0),
        (["draw", "labels"], 1),
        (["draw", "labels"], 0),
        (["draw", "labels"], 1),
        (["channels", "draw", "image", "labels"], 0),
        (["channels", "draw", "image", "labels"], 1),
        (["channels", "draw", "image", "label"], 0),
    ]


@pytest.fixture(scope="module")
def prepared(folder):
    prepare = config().get_parsed_content("train::preprocessing")
    return [prepare(item) for item in tumour_items(folder / "heads.csv", CHANNELS)]


def simulation(**options):
    normalizer = StandardizeTissued(["image"])
    return SimulateTumour(CHANNELS, SPACING, normalizer, GLIOMA, **options)


def test_a_label_map_becomes_four_sequences_of_one_tumour(prepared):
    done = simulation().set_random_state(seed=3)(prepared[0])
    label = done["label"][0]
    assert done["image"].shape == (4, *label.shape)
    assert set(label.unique().tolist()) == {0, 1, 2, 3}
    t1, t1c, *_ = (float(each[label == 3].median()) for each in done["image"])
    assert t1c > t1 + 0.3  # the rim takes up contrast agent
    swollen = [float(each[label == 2].median()) for each in done["image"]]
    healthy = (prepared[0]["anatomy"][0] == int(Tissue.WHITE)) & (label == 0)
    whole = [float(each[healthy].median()) for each in done["image"]]
    assert swollen[2] > whole[2]
    assert swollen[3] > whole[3]
    assert swollen[0] < whole[0]


def test_sequences_that_a_healthy_head_lacks_are_zeros(prepared):
    done = simulation().set_random_state(seed=1)(prepared[2])
    assert not done["image"][[1, 2]].any()
    assert float(done["image"][0].std()) > 0.3
    assert done["label"].any()
    outside = prepared[2]["anatomy"][3] == 0
    for channel in (0, 3):
        assert len(done["image"][channel][outside & (done["label"][0] == 0)].unique()) == 1


def test_a_real_tumour_is_used_as_it_is(prepared):
    done = simulation().set_random_state(seed=1)(prepared[3])
    assert torch.equal(torch.as_tensor(done["image"]), torch.as_tensor(prepared[3]["image"]))
    assert int((done["label"] == 3).sum()) == 4**3


def test_without_stripping_the_skull_is_seen(folder):
    item = tumour_items(folder / "heads.csv", CHANNELS)[0]
    sizes = {}
    for is_stripped in (True, False):
        case = PrepareTumourCase(None, SPACING, is_stripped=is_stripped)(item)
        image = simulation(is_stripped=is_stripped).set_random_state(seed=1)(case)["image"]
        sizes[is_stripped] = int((image[2] > image[2].min() + 0.2).sum())
    assert sizes[False] > 1.2 * sizes[True]


def test_the_same_draw_validates_every_time(folder):
    items = tumour_items(folder / "heads.csv", CHANNELS, draws=2)
    fixed = FixedTumour(PrepareTumourCase(None, SPACING), simulation())
    first, again, other = fixed(items[0]), fixed(items[0]), fixed(items[1])
    assert torch.equal(first["image"], again["image"])
    assert not torch.equal(first["label"], other["label"])


def test_what_cannot_be_used_is_refused(folder, tmp_path):
    (tmp_path / "heads.csv").write_text("name,t1,anatomy\nx,,\ny,,a.nii.gz\n")
    with pytest.raises(DataError, match="a row names no sequence and no anatomy"):
        find_cases(tmp_path / "heads.csv", None, CHANNELS, optional_channels=True)
    small = nib.Nifti1Image(np.zeros((5, 5, 5), np.int16), np.eye(4))
    nib.save(small, tmp_path / "small.nii.gz")
    rows = f"name,t1,anatomy\nx,{folder / 'healthy_T1.nii.gz'},small.nii.gz\n"
    (tmp_path / "heads.csv").write_text(rows)
    with pytest.raises(GeometryError, match=r"small\.nii\.gz"):
        tumour_items(tmp_path / "heads.csv", CHANNELS)
    (tmp_path / "heads.csv").write_text("name,t1,anatomy,label\nx,,small.nii.gz,small.nii.gz\n")
    with pytest.raises(DataError, match="has a label or a brain mask and no image"):
        tumour_items(tmp_path / "heads.csv", CHANNELS)


def test_the_bundle_trains_on_healthy_heads_by_a_preset(folder, tmp_path):
    bundle = Bundle.find("brain_tumor_segmentation")
    overrides = {
        **preset_overrides(bundle.root, ["simulated"]),
        "spacing": list(SPACING),
        "patch_size": [16, 16, 16],
        "max_epochs": 1,
        "val_interval": 1,
        "loop::epoch_length": 2,
        "loop::num_workers": 0,
        "optimisation::precision": "fp32",
        "network_def::encoder::widths": [4, 8, 8],
        "network_def::encoder::blocks": [1, 1, 1],
        "train::augmentation::simulation::prior": GLIOMA,
    }
    options = TrainingOptions(device="cpu", progress=False)
    result = finetune(
        folder / "heads.csv", tmp_path / "run", bundle, overrides=overrides, options=options
    )
    assert "1 cases have a label, 3 have none and are taken for healthy" in result.notes
    assert result.last["step"] == 2
    assert Bundle(tmp_path / "run").check() == []
