"""Calibration, risk and certainty of cases, on numbers that are known."""

import numpy as np
import pytest

from volseg.errors import DataError
from volseg.evaluation.uncertainty.calibration import (
    Voxels,
    calibration_error,
    fit_temperature,
    near_structures,
    temper,
)
from volseg.evaluation.uncertainty.cases import describe_certainty, mean_around, uncertainty_of
from volseg.evaluation.uncertainty.risk import risk_and_coverage


def draw(temperature, count=4000, seed=0):
    """Draw truths from probabilities, and tell of probabilities that are too sure by a factor."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 1.5, (count, 3))
    true = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    truth = (random.random((count, 1)) > true.cumsum(1)).sum(1)
    said = np.exp(temperature * logits)
    return Voxels(said / said.sum(1, keepdims=True), truth)


class TestCalibration:
    def test_the_error_is_the_distance_of_confidence_and_accuracy(self):
        said = np.array([[0.1, 0.9]] * 4 + [[0.7, 0.3]] * 4)
        truth = np.array([1, 1, 1, 0, 0, 0, 1, 1])
        error, bins = calibration_error([Voxels(said[:4], truth[:4]), Voxels(said[4:], truth[4:])])
        assert error == pytest.approx(0.5 * abs(0.7 - 0.5) + 0.5 * abs(0.9 - 0.75))
        assert [(b.accuracy, b.share) for b in bins] == [(0.5, 0.5), (0.75, 0.5)]

    @pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
    def test_the_temperature_that_was_taken_away_is_found_again(self, factor):
        assert fit_temperature([draw(factor)]) == pytest.approx(factor, rel=0.1)

    def test_the_right_temperature_mends_the_error_and_changes_no_class(self):
        voxels = draw(3.0)
        mended = Voxels(temper(voxels.chances, 3.0), voxels.truth)
        assert calibration_error([voxels])[0] > 0.1
        assert calibration_error([mended])[0] < 0.03  # of 4000 voxels, by chance
        assert (mended.chances.argmax(1) == voxels.chances.argmax(1)).all()

    def test_only_voxels_near_a_structure_count(self):
        reference = np.zeros((20, 20, 20), np.int64)
        chances = np.zeros((20, 20, 20, 2))
        chances[..., 0] = 1
        reference[10, 10, 10] = 1
        # a voxel, enlarged three times by its six neighbours: an octahedron of 63
        assert len(near_structures(chances, reference).truth) == 63
        assert len(near_structures(chances, 0 * reference).truth) == 0
        with pytest.raises(DataError, match="give those of the same grid and classes"):
            near_structures(chances, reference + 2)
        with pytest.raises(DataError, match="nothing can be calibrated"):
            fit_temperature([near_structures(chances, 0 * reference)])


class TestCases:
    def test_what_is_sure_has_a_dice_of_one_and_nothing_at_all_comes_first(self):
        sure = np.zeros((4, 4, 4, 3))
        sure[..., 0] = 1
        assert describe_certainty(sure) == {"expected_dice": 0, "confidence": 0, "entropy": 1}
        sure[:2, :, :, 0], sure[:2, :, :, 1] = 0, 1
        assert describe_certainty(sure) == {"expected_dice": 1, "confidence": 1, "entropy": 0}

    def test_the_expected_dice_counts_what_the_mask_leaves_out(self):
        chances = np.zeros((1, 1, 4, 2))
        chances[0, 0, :, 1] = [1.0, 0.6, 0.4, 0.0]
        chances[..., 0] = 1 - chances[..., 1]
        found = describe_certainty(chances)
        assert found["expected_dice"] == pytest.approx(2 * 1.6 / (2 + 2))
        assert found["confidence"] == pytest.approx(0.8)
        assert uncertainty_of(found) == pytest.approx(0.2)

    def test_a_map_is_averaged_within_and_around_the_mask(self):
        labels = np.zeros((9, 1, 1), np.uint8)
        labels[4] = 1
        assert mean_around(np.arange(9.0)[:, None, None] ** 2, labels) == 18  # 4, 9, 16, 25, 36
        assert uncertainty_of({"variance": 0.1, "entropy": 0.3}) == 0.3


class TestRisk:
    def test_curve_and_areas_are_those_made_by_hand(self):
        groups = list("abcd")
        found = risk_and_coverage([0.1, 0.2, 0.3, 0.4], [0.0, 0.2, 0.1, 0.5], groups)
        assert found.risk.tolist() == pytest.approx([0, 0.1, 0.1, 0.2])
        assert found.area == pytest.approx(0.1)
        assert found.random == pytest.approx(0.2)
        assert found.best == pytest.approx((0 + 0.05 + 0.1 + 0.2) / 4)
        assert found.gain.mean == pytest.approx(0.1)
        assert found.correlation.mean == pytest.approx(0.8)

    def test_an_uncertainty_that_does_not_vary_gains_nothing(self):
        found = risk_and_coverage([1, 1, 1], [0.1, 0.2, 0.6], list("abc"))
        assert found.gain.mean == pytest.approx(0)
        assert np.isnan(found.correlation.mean)

    def test_the_interval_of_noise_holds_zero_and_that_of_the_truth_does_not(self):
        error = np.random.default_rng(0).random(60)
        noise = np.random.default_rng(1).random(60)
        groups = [str(index // 2) for index in range(60)]
        assert risk_and_coverage(noise, error, groups).gain.low < 0
        assert risk_and_coverage(error + 0.3 * noise, error, groups).gain.low > 0.05
