"""A draw on a case: the same everywhere, recorded, replayed and undone."""

import json
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from monai.data import MetaTensor, list_data_collate
from monai.transforms import Compose, Flipd
from scipy.ndimage import binary_erosion
from scipy.spatial.transform import Rotation

from tests.transforms.resection.heads import make_affine, make_head
from volseg.data.draws import Draws, draw_loader
from volseg.errors import DataError, GeometryError
from volseg.transforms.anatomy.maps import Anatomy, Side, Tissue
from volseg.transforms.resection.cavity import Cavity, Content, Solid
from volseg.transforms.resection.prior import Prior
from volseg.transforms.resection.rand import RandResectiond
from volseg.transforms.resection.record import RECORD, make_record
from volseg.transforms.resection.source import Source

LEVELS = {
    "t1": {Tissue.HEAD: 160, Tissue.SKULL: 20, Tissue.CORTEX: 90, Tissue.WHITE: 130},
    "t2": {Tissue.HEAD: 80, Tissue.SKULL: 15, Tissue.CORTEX: 110, Tissue.WHITE: 80},
}
FLUID = {"t1": 30, "t2": 220}
ALWAYS = Prior(modes={"lesionectomy": 1.0})
SOLID = Solid((35.0, 10.0, 30.0), (15.0, 12.0, 14.0), (20.0, 30.0, 10.0), 8.0, seed=3)
PLAIN = Cavity(
    mode="lesionectomy", side=int(Side.RIGHT), solids=(SOLID,), content=Content(blur=0.7), seed=5
)
GRIDS = {
    "ras": {},
    "lia": {"signs": (-1, 1, -1)},
    "lps": {"signs": (-1, -1, 1)},
    "thick slices": {"spacing": (1.5, 1.5, 5.5)},
    "oblique": {"turn": Rotation.from_euler("xyz", (12, -9, 16), degrees=True).as_matrix()},
}


def paint(anatomy, contrast, seed=0):
    """Make an image of a head in which every tissue has its level and all have the same noise."""
    table = torch.full((len(Tissue),), float(FLUID[contrast]))
    table[Tissue.AIR] = 0
    for tissue, level in LEVELS[contrast].items():
        table[tissue] = level
    for grey in (Tissue.DEEP, Tissue.LIMBIC, Tissue.CEREBELLUM_CORTEX):
        table[grey] = LEVELS[contrast][Tissue.CORTEX]
    for white in (Tissue.CALLOSUM, Tissue.BRAINSTEM, Tissue.CEREBELLUM_WHITE):
        table[white] = LEVELS[contrast][Tissue.WHITE]
    generator = torch.Generator().manual_seed(seed)
    noise = 3 * torch.randn(anatomy.tissue.shape, generator=generator)
    return (table[anatomy.tissue.long()] + noise).clamp(min=0)[None]


def make_case(anatomy, *keys):
    case = {
        key: MetaTensor(paint(anatomy, key, seed), affine=anatomy.affine)
        for seed, key in enumerate(keys)
    }
    return {**case, "anatomy": MetaTensor(anatomy.stack(), affine=anatomy.affine)}


@pytest.fixture(scope="module")
def head():
    return make_head((2.5, 2.5, 2.5))


@pytest.fixture
def case(head):
    return make_case(head, "t1")


def draw(case, seed=1, **settings):
    keys = [key for key in case if key in ("t1", "t2")]
    transform = RandResectiond(keys, **{"prior": ALWAYS, **settings})
    transform.set_random_state(seed)
    return transform(case)


def is_equal(first, second):
    return torch.equal(torch.as_tensor(first), torch.as_tensor(second))


def test_a_seed_decides_the_draw(case):
    one, same, other = draw(case, 1), draw(case, 1), draw(case, 2)
    assert is_equal(one["t1"], same["t1"])
    assert is_equal(one["cavity"], same["cavity"])
    assert not is_equal(one["cavity"], other["cavity"])


def test_the_case_that_was_given_stays_as_it_is(case):
    before = case["t1"].clone()
    assert not is_equal(draw(case)["t1"], before)
    assert is_equal(case["t1"], before)
    assert set(case) == {"t1", "anatomy"}


def test_workers_draw_what_the_main_process_draws(case):
    draws = Draws([case], RandResectiond("t1", prior=ALWAYS), seed=7)
    for alone, aside in zip(
        draw_loader(draws, 1, 0, 2), draw_loader(draws, 1, 0, 2, num_workers=1), strict=True
    ):
        assert is_equal(alone["t1"], aside["t1"])
        assert is_equal(alone["cavity"], aside["cavity"])


def test_a_pickled_transform_draws_the_same(case):
    transform = RandResectiond("t1", prior=ALWAYS).set_random_state(4)
    copy = pickle.loads(pickle.dumps(transform))
    assert is_equal(transform(case)["t1"], copy(case)["t1"])


def test_a_record_repeats_the_resection_after_a_way_through_json(case):
    done = draw(case, 3)
    record = json.loads(json.dumps(done["cavity"].meta[RECORD]))
    again = RandResectiond.from_params(record, "t1")(case)
    assert is_equal(again["t1"], done["t1"])
    assert is_equal(again["cavity"], done["cavity"])
    assert again["cavity"].meta[RECORD] == record


def test_the_record_tells_what_is_in_the_mask(case, head):
    done = draw(case, 3)
    record, mask = done["t1"].meta[RECORD], done["cavity"][0]
    assert (record["is_ok"], record["mode"]) == (True, "lesionectomy")
    assert record["volume_ml"] == pytest.approx(int(mask.sum()) * 2.5**3 / 1000, abs=1e-4)
    sides = head.side[mask.bool()]
    assert record["side"] == Side(int(sides.mode().values)).name.lower()


def test_records_of_different_resections_form_a_batch(case):
    pair = [draw(case, 1, prior=Prior(modes={"two_cavities": 1.0})), draw(case, 2)]
    batch = list_data_collate(pair)
    assert batch["t1"].meta[RECORD]["mode"] == ["two_cavities", "lesionectomy"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.uint8, torch.int16])
def test_the_inverse_restores_every_bit(case, dtype):
    case["t1"] = case["t1"].to(dtype)
    transform = RandResectiond("t1", prior=ALWAYS, keep_patch=True).set_random_state(2)
    done = transform(case)
    assert bool(done["cavity"].any())
    assert done["t1"].dtype == (dtype if dtype.is_floating_point else torch.float32)
    back = transform.inverse(done)
    assert back["t1"].dtype == dtype
    assert is_equal(back["t1"], case["t1"])
    assert set(back) == set(case)
    assert back["t1"].applied_operations == []


def test_without_the_patch_the_inverse_only_drops_the_mask(case):
    transform = RandResectiond("t1", prior=ALWAYS).set_random_state(2)
    done = transform(case)
    back = transform.inverse(done)
    assert is_equal(back["t1"], done["t1"])
    assert "cavity" not in back


def test_sequences_share_the_cavity_and_have_their_own_contrast(head):
    case = make_case(head, "t1", "t2")
    params = make_record(PLAIN, 0.0)
    both = RandResectiond.from_params(params, ["t1", "t2"])(case)
    alone = RandResectiond.from_params(params, "t2")(case)
    assert is_equal(both["cavity"], alone["cavity"])
    inside = both["cavity"][0] > 0
    # fluid lies up to 8 % of the way to grey matter, and the wall is blurred into it
    assert both["t1"][0][inside].median() == pytest.approx(FLUID["t1"], abs=15)
    assert both["t2"][0][inside].median() == pytest.approx(FLUID["t2"], abs=15)


def test_the_noise_in_one_sequence_is_not_that_of_another(head):
    large = replace(PLAIN, solids=(replace(SOLID, radii=(20.0, 20.0, 20.0), volume_ml=30.0),))
    done = RandResectiond.from_params(make_record(large, 0.0), ["t1", "t2"])(
        make_case(head, "t1", "t2")
    )
    inside = binary_erosion(np.asarray(done["cavity"][0]), iterations=2)  # away from the wall
    pair = [np.asarray(done[key][0])[inside] for key in ("t1", "t2")]
    # of 400 independent pairs the correlation has a standard deviation of 0.05
    assert len(pair[0]) > 400
    assert abs(np.corrcoef(*pair)[0, 1]) < 0.2


@pytest.mark.parametrize("settings", [{"prior": Prior(modes={"none": 1.0})}, {"prob": 0.0}])
def test_a_negative_leaves_the_image_and_has_an_empty_mask(case, settings):
    done = draw(case, **settings)
    assert is_equal(done["t1"], case["t1"])
    assert not bool(done["cavity"].any())
    assert done["cavity"].shape == (1, *case["t1"].shape[1:])
    assert done["t1"].meta[RECORD]["mode"] == "none"
    assert done["t1"].meta[RECORD]["is_ok"]


def test_a_head_without_a_brain_is_left_as_it_is_and_says_so(head, case):
    nothing = torch.zeros_like(head.tissue)
    empty = Anatomy(nothing, nothing, nothing, nothing, head.affine)
    case["anatomy"] = MetaTensor(empty.stack(), affine=head.affine)
    done = draw(case)
    assert is_equal(done["t1"], case["t1"])
    assert not bool(done["cavity"].any())
    assert not done["t1"].meta[RECORD]["is_ok"]


@pytest.mark.parametrize("name", GRIDS)
def test_a_cavity_is_the_same_in_millimetres_on_every_grid(name):
    anatomy = make_head(**{"spacing": (2.0, 2.0, 2.0), **GRIDS[name]})
    done = RandResectiond.from_params(make_record(PLAIN, 0.0), "t1")(make_case(anatomy, "t1"))
    voxels = done["cavity"][0].nonzero().double().numpy()
    assert len(voxels) * anatomy.voxel_ml == pytest.approx(SOLID.volume_ml, rel=0.005)
    places = voxels @ anatomy.affine[:3, :3].T + anatomy.affine[:3, 3]
    # half a slice of 5.5 mm is the coarsest step by which a boundary can be off
    assert np.abs(places.mean(axis=0) - REFERENCE).max() < 2.75
    assert places[:, 0].min() > 0
    np.testing.assert_allclose(done["cavity"].affine, anatomy.affine)
    np.testing.assert_allclose(done["t1"].affine, anatomy.affine)


def test_an_affine_that_went_through_a_float32_header_still_fits(head, case):
    turned = make_affine((2.5, 2.5, 2.5), GRIDS["oblique"]["turn"])[0]
    case["t1"].affine = torch.from_numpy(turned.astype(np.float32).astype(np.float64))
    case["anatomy"].affine = torch.from_numpy(turned)
    assert bool(draw(case)["cavity"].any())


def test_pending_operations_are_applied_first(case):
    def run(*, lazy):
        steps = [Flipd(["t1", "anatomy"], 0), RandResectiond("t1", prior=ALWAYS)]
        return Compose(steps, lazy=lazy).set_random_state(9)(case)

    late, early = run(lazy=True), run(lazy=False)
    assert is_equal(late["cavity"], early["cavity"])
    assert bool(early["cavity"].any())
    assert torch.allclose(torch.as_tensor(late["t1"]), torch.as_tensor(early["t1"]), atol=1e-3)


def test_plain_tensors_are_cubes_of_1_mm(head):
    plain = {"t1": paint(head, "t1"), "anatomy": head.stack()}
    transform = RandResectiond("t1", prior=ALWAYS).set_random_state(1)
    done = transform(plain)
    assert type(done["t1"]) is type(done["cavity"]) is torch.Tensor
    drawn = sum(solid.volume_ml for solid in transform.cavity.solids)
    assert 0 < int(done["cavity"].sum()) / 1000 < 1.5 * drawn


def test_layers_have_keys_of_their_own(case):
    keys = {"cavity": "label", "gliosis": "gliosis"}
    done = draw(case, out_key=keys)
    assert set(done) == {"t1", "anatomy", "label", "gliosis"}
    assert done["gliosis"].shape == done["label"].shape
    assert not bool((done["gliosis"].bool() & done["label"].bool()).any())


def test_a_label_map_will_do(head):
    numbers = {Tissue.CORTEX: 1, Tissue.WHITE: 2, Tissue.VENTRICLE: 3}
    labels = torch.zeros_like(head.tissue)
    for tissue, number in numbers.items():
        labels[head.tissue == tissue] = number
    case = {"t1": MetaTensor(paint(head, "t1"), affine=head.affine)}
    case["labels"] = MetaTensor(labels[None], affine=head.affine)
    scheme = {number: tissue for tissue, number in numbers.items()}
    done = draw(case, source=Source(scheme=scheme))
    assert bool(done["cavity"].any())
    assert not bool((done["cavity"][0].bool() & (labels == 3)).any())


def test_maps_on_another_grid_are_refused(case):
    shifted = np.asarray(case["anatomy"].affine).copy()
    shifted[:3, 3] += 3
    case["anatomy"] = MetaTensor(case["anatomy"].as_tensor(), affine=shifted)
    with pytest.raises(GeometryError, match=r"'anatomy' and 't1' lie up to 5\.2 mm apart"):
        draw(case)
    case["anatomy"] = case["anatomy"][:, 1:]
    with pytest.raises(GeometryError, match="must share a grid"):
        draw(case)


def test_what_cannot_be_used_is_said(case):
    with pytest.raises(DataError, match=r"contrasts name no contrast of 't1'; they have \['t2'\]"):
        draw(case, contrasts={"t2": "T2"})
    with pytest.raises(DataError, match="lacks 'cavity'"):
        RandResectiond.from_params({"mode": "none"}, "t1")
    with pytest.raises(DataError, match="has none of the images"):
        RandResectiond("t9", allow_missing_keys=True)(case)


REFERENCE = np.array([35.0, 10.0, 30.0])


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"contrasts": "t1"}, "contrast 't1' is not known; use one of T1, T1c, T2"),
        ({"contrasts": {"t1": ["T1", "T3"]}}, "contrast 'T3' is not known"),
        ({"out_key": {"cavity": "label", "blood": "b"}}, "layer 'blood' is not known; use one of"),
    ],
)
def test_misspelt_settings_are_refused_at_once(settings, said):
    with pytest.raises(DataError, match=said):
        RandResectiond("t1", **settings)


@pytest.mark.parametrize("contrasts", [[], ["T1", "T2"]])
def test_contrasts_of_other_than_the_channels_are_refused(case, contrasts):
    with pytest.raises(DataError, match=f"'t1' has 1 channels and contrasts name {len(contrasts)}"):
        RandResectiond("t1", contrasts={"t1": contrasts})(case)


def test_a_cavity_that_nothing_can_be_carved_for_is_no_resection(head):
    elsewhere = replace(PLAIN, solids=(replace(SOLID, centre=(400.0, 0.0, 0.0)),))
    transform = RandResectiond.from_params(make_record(elsewhere, 8.0), "t1")
    case = make_case(head, "t1")
    done = transform(case)
    assert torch.equal(done["t1"].as_tensor(), case["t1"].as_tensor())
    assert not bool(done["cavity"].any())
    assert done["t1"].meta[RECORD]["is_ok"] is False
