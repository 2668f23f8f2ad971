"""A draw on a case: the same everywhere, recorded and replayed; heads and bodies."""

import json
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from monai.data import MetaTensor, list_data_collate

from tests.transforms.resection.heads import make_affine, make_head
from tests.transforms.tumour.heads import paint
from volseg.data.draws import Draws, draw_loader
from volseg.errors import DataError, GeometryError
from volseg.transforms.tumour.body import anatomy_from_region
from volseg.transforms.tumour.grow import grow
from volseg.transforms.tumour.rand import RandTumord
from volseg.transforms.tumour.record import RECORD
from volseg.transforms.tumour.sample import sample_tumour
from volseg.transforms.tumour.tumour import Part

GLIOMA = {"kinds": {"glioblastoma": 1.0}, "min_ml": 8.0, "max_ml": 20.0}
MASS = {"kinds": {"mass": 1.0}, "min_ml": 5.0, "max_ml": 15.0}


@pytest.fixture(scope="module")
def head():
    return make_head((3.0, 3.0, 3.0))


def make_case(anatomy, *keys):
    case = {
        key: MetaTensor(paint(anatomy, key.upper().replace("T1C", "T1c"), seed), anatomy.affine)
        for seed, key in enumerate(keys)
    }
    return {**case, "anatomy": MetaTensor(anatomy.stack(), anatomy.affine)}


def test_a_replayed_record_gives_the_same_case_bit_for_bit(head):
    draw = RandTumord(["t1c", "flair"], prior=GLIOMA).set_random_state(3)
    first = draw(make_case(head, "t1c", "flair"))
    record = json.loads(json.dumps(first["label"].meta[RECORD]))
    assert record["is_ok"]
    assert record["kind"] == "glioblastoma"
    again = RandTumord.from_params(record, ["t1c", "flair"])(make_case(head, "t1c", "flair"))
    for key in ("t1c", "flair", "label"):
        assert torch.equal(first[key], again[key])
        assert again[key].meta[RECORD] == record


def test_the_recorded_volume_is_that_of_the_label(head):
    done = RandTumord("t1c", prior=GLIOMA).set_random_state(1)(make_case(head, "t1c"))
    core = (done["label"] == int(Part.CORE)) | (done["label"] == int(Part.ENHANCING))
    assert done["label"].meta[RECORD]["volume_ml"] == pytest.approx(
        float(core.sum()) * 0.027, abs=1e-3
    )
    assert 8.0 - 0.1 <= done["label"].meta[RECORD]["volume_ml"] <= 20.0 + 0.1


def test_contrasts_are_guessed_from_keys_or_given(head):
    case = make_case(head, "t1c")
    case["image"] = case["t1c"]
    one = RandTumord("t1c", prior=GLIOMA).set_random_state(2)(case)
    other = RandTumord("image", {"image": "T1c"}, prior=GLIOMA).set_random_state(2)(case)
    assert torch.equal(one["t1c"], other["image"])
    with pytest.raises(DataError, match="contrasts name no contrast of 'image'"):
        RandTumord("image", {"t1c": "T1c"}, prior=GLIOMA)(case)


def test_plain_tensors_are_taken_to_have_voxels_of_1_mm(head):
    plain = {key: value.as_tensor() for key, value in make_case(head, "t1c").items()}
    done = RandTumord("t1c", prior={**GLIOMA, "max_ml": 9.0}).set_random_state(0)(plain)
    assert not isinstance(done["t1c"], MetaTensor)
    core = (done["label"] > 0) & (done["label"] != int(Part.OEDEMA))
    assert 7900 <= int(core.sum()) <= 9100


def test_whole_numbers_become_floats_and_halves_stay(head):
    for given, expected in ((torch.int16, torch.float32), (torch.float16, torch.float16)):
        case = make_case(head, "t1c")
        case["t1c"] = case["t1c"].to(given)
        done = RandTumord("t1c", prior=GLIOMA).set_random_state(0)(case)
        assert done["t1c"].dtype == expected
        assert done["label"].dtype == torch.uint8


def test_a_probability_of_0_changes_nothing(head):
    case = make_case(head, "t1c")
    done = RandTumord("t1c", prior=GLIOMA, prob=0.0)(case)
    assert torch.equal(done["t1c"], case["t1c"])
    assert not done["label"].any()
    assert done["label"].meta[RECORD]["kind"] == "none"


def test_draws_are_the_same_with_and_without_workers(head):
    draws = Draws([make_case(head, "t1c")] * 2, RandTumord("t1c", prior=GLIOMA), seed=1)
    alone, together = (
        list(draw_loader(draws, 1, 0, total_steps=3, num_workers=count)) for count in (0, 2)
    )
    for one, other in zip(alone, together, strict=True):
        assert torch.equal(one["t1c"], other["t1c"])
        assert torch.equal(one["label"], other["label"])


def test_it_pickles_and_goes_on_as_before(head):
    draw = RandTumord("t1c", prior=GLIOMA).set_random_state(8)
    copied = pickle.loads(pickle.dumps(draw))
    one, other = draw(make_case(head, "t1c")), copied(make_case(head, "t1c"))
    assert torch.equal(one["t1c"], other["t1c"])


def test_records_of_different_kinds_form_a_batch(head):
    settings = ({"kinds": {"none": 1.0}}, GLIOMA)
    cases = [RandTumord("t1c", prior=each)(make_case(head, "t1c")) for each in settings]
    batch = list_data_collate([{"label": case["label"]} for case in cases])
    assert batch["label"].shape[0] == 2


def test_a_draw_that_fails_leaves_the_case_as_it_is(head, monkeypatch, caplog):
    def fail(*_):
        raise RuntimeError

    monkeypatch.setattr("volseg.transforms.tumour.rand.grow", fail)
    case = make_case(head, "t1c")
    done = RandTumord("t1c", prior=GLIOMA)(case)
    assert torch.equal(done["t1c"], case["t1c"])
    assert not done["label"].any()
    assert done["label"].meta[RECORD]["is_ok"] is False
    assert "is left out" in caplog.text


def test_maps_of_another_grid_are_refused(head):
    case = make_case(head, "t1c")
    case["anatomy"] = case["anatomy"][:, 1:]
    with pytest.raises(GeometryError, match="they must share a grid"):
        RandTumord("t1c", prior=GLIOMA)(case)
    with pytest.raises(DataError, match="none of the images"):
        RandTumord("t2", prior=GLIOMA, allow_missing_keys=True)(case)


def make_limb(level, noise=10.0):
    """Draw a thigh: a cylinder of muscle with a bone in it, in air."""
    affine, shape = make_affine((3.0, 3.0, 4.0), extent=150.0)
    index = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"))
    x, y, _ = np.einsum("ij,j...->i...", affine[:3, :3], index) + affine[:3, 3][:, None, None, None]
    radius = np.hypot(x, y)
    values = np.where(radius < 60, level, -1000.0 if level < 100 else 0.0)
    values += np.random.default_rng(0).normal(0, noise, values.shape)
    muscle = (radius < 55) & (radius > 15)
    image = MetaTensor(torch.from_numpy(values.astype(np.float32))[None], affine)
    return image, MetaTensor(torch.from_numpy(muscle.astype(np.uint8))[None], affine)


def test_a_mass_grows_in_the_region_that_is_given():
    image, muscle = make_limb(300.0)
    draw = RandTumord("image", "T2", prior=MASS).set_random_state(4)
    done = draw({"image": image, "region": muscle})
    label, record = done["label"], done["label"].meta[RECORD]
    assert record["is_ok"]
    assert record["kind"] == "mass"
    assert not (label.bool() & ~muscle.bool()).any()
    assert 5.0 - 0.1 <= float((label > 0).sum()) * 0.036 <= 15.1


def test_without_a_region_it_grows_in_what_is_brighter_than_air():
    image, _ = make_limb(300.0)
    done = RandTumord("image", "T1", prior=MASS).set_random_state(4)({"image": image})
    assert float(image[done["label"].bool()].mean()) == pytest.approx(300.0, abs=5.0)
    again = RandTumord.from_params(done["label"].meta[RECORD], "image", "T1")({"image": image})
    assert torch.equal(done["image"], again["image"])


@pytest.mark.parametrize(("enhancement", "sign"), [(0.0, -1), (1.0, 1)])
def test_on_ct_a_mass_is_darker_than_its_organ_or_brighter_if_it_takes_up_contrast(
    enhancement, sign
):
    image, muscle = make_limb(60.0)
    anatomy = anatomy_from_region(muscle[0].as_tensor(), image.affine.numpy())
    drawn = sample_tumour(anatomy, np.random.RandomState(2), RandTumord("image", prior=MASS).prior)
    drawn = replace(drawn, enhancement=enhancement, necrosis=0.0, quiet=0.0)
    done = grow(image.as_tensor(), anatomy, drawn, ["CT"])
    shift = float(done.image[done.label > 0].median()) - 60.0
    assert np.sign(shift) == sign
    assert 10 < abs(shift) < 60


def test_an_empty_region_is_refused():
    image, muscle = make_limb(300.0)
    with pytest.raises(DataError, match="region in which a mass may grow is empty"):
        RandTumord("image", "T1", prior=MASS)({"image": image, "region": muscle * 0})
