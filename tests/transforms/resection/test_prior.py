"""Volumes follow the law of published cavities, and weights are what is drawn."""

import json
from dataclasses import asdict

import numpy as np
import pytest
from scipy import stats

from volseg.errors import DataError
from volseg.transforms.anatomy.maps import Lobe
from volseg.transforms.resection.cavity import MODES, STAGES
from volseg.transforms.resection.prior import Prior


def random(seed=0):
    return np.random.RandomState(seed)


def law():
    """The logarithms of EPISURG's 133 volumes in mm3: mean 9.636, standard deviation 1.055."""
    return stats.lognorm(s=1.055, scale=np.exp(9.636) / 1000)


def test_volumes_follow_the_law_of_episurg():
    source, prior = random(), Prior(small_share=0.0)
    volumes = [prior.draw_volume(source) for _ in range(1500)]
    assert stats.kstest(volumes, law().cdf).pvalue > 0.05


def test_small_volumes_are_drawn_log_uniformly():
    source, prior = random(1), Prior(small_share=1.0, min_ml=0.5, max_ml=50.0)
    logs = np.log([prior.draw_volume(source) for _ in range(1500)])
    assert stats.kstest(logs, stats.uniform(np.log(0.5), np.log(100)).cdf).pvalue > 0.05


def test_three_in_ten_volumes_are_drawn_log_uniformly():
    source, prior = random(2), Prior()
    volumes = np.array([prior.draw_volume(source) for _ in range(3000)])
    span = np.log(142 / 0.3)
    expected = 0.7 * law().cdf(3.0) + 0.3 * np.log(3.0 / 0.3) / span
    assert (volumes < 3).mean() == pytest.approx(expected, abs=3 * (0.25 / 3000) ** 0.5)


def test_volumes_stay_within_their_limits():
    source, prior = random(3), Prior(min_ml=5.0, max_ml=8.0)
    volumes = [prior.draw_volume(source) for _ in range(200)]
    assert (min(volumes), max(volumes)) == (5.0, 8.0)


def test_modes_are_drawn_by_their_weights():
    source, prior = random(4), Prior()
    drawn = [prior.draw_mode(source, has_tumour=False) for _ in range(4000)]
    for mode, weight in prior.modes.items():
        expected = 0.0 if mode == "tumour" else weight
        assert drawn.count(mode) / 4000 == pytest.approx(expected, abs=0.03)


def test_tumours_are_drawn_where_there_are_any():
    source, prior = random(5), Prior(modes={"tumour": 3.0, "none": 1.0})
    drawn = [prior.draw_mode(source, has_tumour=True) for _ in range(1000)]
    assert drawn.count("tumour") / 1000 == pytest.approx(0.75, abs=0.05)


def test_stages_and_lobes_are_drawn_by_their_weights():
    source = random(6)
    prior = Prior(stages={"early": 1.0}, sites="epilepsy")
    assert {prior.draw_stage(source) for _ in range(20)} == {"early"}
    lobes = [prior.draw_lobe(source) for _ in range(1000)]
    assert lobes.count(Lobe.TEMPORAL) / 1000 == pytest.approx(0.81, abs=0.05)
    assert Prior().draw_lobe(source) == 0


def test_the_defaults_name_all_modes_and_all_stages_that_are_known():
    assert set(Prior().modes) == set(MODES)
    assert {*Prior().stages, "unknown"} == set(STAGES)


def test_a_prior_survives_json():
    prior = Prior(modes={"tract": 1.0}, max_ml=30.0)
    assert Prior(**json.loads(json.dumps(asdict(prior)))) == prior


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"modes": {"lobotomy": 1.0}}, "mode 'lobotomy' is not known"),
        ({"stages": {"late": 1.0}}, "stage 'late' is not known"),
        ({"modes": {"none": 0.0}}, "use some above 0"),
        ({"modes": {"none": 1.0, "tract": -1.0}}, "use some above 0"),
        ({"modes": {}}, "use some above 0"),
        ({"sites": "knee"}, "sites are 'knee'; use uniform, epilepsy, tumour"),
        ({"min_ml": 5.0, "max_ml": 4.0}, "from 5.0 to 4.0 mL"),
        ({"small_share": 1.5}, "a share of 1.5"),
    ],
)
def test_what_cannot_be_drawn_from_is_refused(values, message):
    with pytest.raises(DataError, match=message):
        Prior(**values)
