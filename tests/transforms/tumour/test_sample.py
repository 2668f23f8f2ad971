"""What is drawn: kinds, places, volumes, and what becomes of it when it is grown."""

import numpy as np
import pytest

from tests.transforms.resection.heads import make_head
from tests.transforms.tumour.heads import paint
from volseg.errors import DataError
from volseg.transforms.tumour.grow import grow
from volseg.transforms.tumour.prior import KIND_WEIGHTS, VOLUMES, TumourPrior
from volseg.transforms.tumour.sample import LOOKS, sample_tumour
from volseg.transforms.tumour.tumour import KINDS, Part, Tumour


@pytest.fixture(scope="module")
def head():
    return make_head()


def draw(head, kind, seed, **settings):
    return sample_tumour(head, np.random.RandomState(seed), TumourPrior({kind: 1.0}, **settings))


@pytest.mark.parametrize("kind", KIND_WEIGHTS)
def test_a_drawn_tumour_survives_json_and_grows_to_its_volume(head, kind):
    for seed in range(3):
        drawn = draw(head, kind, seed)
        assert drawn.is_ok
        assert drawn.kind == kind
        assert Tumour.from_json(drawn.to_json()) == drawn
        label = grow(paint(head, "T2"), head, drawn, ["T2"]).label
        core = (label > 0) & (label != int(Part.OEDEMA))
        wanted = sum(solid.volume_ml for solid in drawn.solids)
        if len(drawn.solids) <= 1:  # foci of metastases may touch
            assert float(core.sum()) * head.voxel_ml == pytest.approx(wanted, rel=0.02, abs=0.1)


def test_the_same_seed_draws_the_same_tumour(head):
    assert draw(head, "glioblastoma", 4) == draw(head, "glioblastoma", 4)
    assert draw(head, "glioblastoma", 4) != draw(head, "glioblastoma", 5)


def test_only_what_takes_up_contrast_agent_enhances(head):
    assert draw(head, "low_grade", 1).enhancement == 0.0
    assert draw(head, "glioblastoma", 1).enhancement >= 0.5


def test_a_meningioma_begins_at_the_surface_and_a_glioma_does_not(head):
    def depth(centre):
        place = np.linalg.solve(head.affine[:3, :3], np.array(centre) - head.affine[:3, 3])
        first, second, third = np.round(place).astype(int)
        return 0.5 * float(head.depth[first, second, third])

    for seed in range(5):
        assert depth(draw(head, "meningioma", seed).centre) <= 4.0
        assert depth(draw(head, "low_grade", seed, min_ml=20).centre) >= 6.0


def test_volumes_follow_their_law(head):
    random, prior = np.random.RandomState(0), TumourPrior(small_share=0.0, max_ml=10_000)
    for kind, (median, spread) in VOLUMES.items():
        logs = np.log([prior.draw_volume(kind, random) for _ in range(2000)])
        assert np.median(logs) == pytest.approx(np.log(median), abs=4 * 1.25 * spread / 2000**0.5)
        limited = TumourPrior(min_ml=2.0, max_ml=3.0)
        assert 2.0 <= limited.draw_volume(kind, random) <= 3.0


def test_lobes_are_drawn_as_often_as_the_sites_say():
    random, prior = np.random.RandomState(0), TumourPrior(sites="epilepsy")
    lobes = [prior.draw_lobe(random) for _ in range(2000)]
    assert np.mean(np.array(lobes) == 2) == pytest.approx(0.81, abs=0.04)
    assert TumourPrior(sites="uniform").draw_lobe(random) == 0


def test_where_there_is_no_place_the_draw_says_so(head):
    empty = head.crop((0, 0, 0), (8, 8, 8))
    drawn = draw(empty, "glioblastoma", 0)
    assert (drawn.is_ok, drawn.solids) == (False, ())


def test_every_kind_has_a_look_and_a_volume():
    assert set(LOOKS) == set(VOLUMES) == set(KINDS) - {"none"}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kinds": {"polyp": 1.0}}, "kind 'polyp' is not known; use glioblastoma"),
        ({"kinds": {"mass": 0.0}}, "use some above 0"),
        ({"sites": "left"}, "sites are 'left'; use uniform"),
        ({"min_ml": 5, "max_ml": 1}, "volumes reach from 5 to 1 mL"),
    ],
)
def test_a_prior_that_cannot_be_drawn_from_is_refused(settings, message):
    with pytest.raises(DataError, match=message):
        TumourPrior(**settings)
