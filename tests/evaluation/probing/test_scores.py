"""Probes, retrieval, clusters and alignment on clouds whose answers are known."""

import numpy as np
import pytest

from volseg.errors import DataError
from volseg.evaluation.probing.classification import Folds, predict_out_of_fold
from volseg.evaluation.probing.comparison import Question, compare
from volseg.evaluation.probing.features import Features
from volseg.evaluation.probing.geometry import count_dimensions, describe_clusters
from volseg.evaluation.probing.resampling import group_draws, interval_of, scores_of_draws
from volseg.evaluation.probing.retrieval import RetrievalIndex, rank_all
from volseg.evaluation.probing.scores import (
    area_under_curve,
    balanced_accuracy,
    encode,
    quadratic_kappa,
)

QUICK = Folds(outer=3, inner=2, repeats=1)


def cloud(distance, count=24, seed=0):
    """Two classes at a distance, two samples a group."""
    random = np.random.default_rng(seed)
    truth = np.arange(count) // 2 % 2
    points = random.standard_normal((count, 3))
    points += distance * truth[:, None]
    return points, truth, [f"p{index // 2}" for index in range(count)]


def one_hot(values, count):
    return np.eye(count)[values]


class TestScores:
    truth = np.array([0, 0, 0, 1, 2, 2])
    predicted = one_hot(np.array([0, 0, 1, 1, 2, 0]), 3)

    def test_each_class_counts_alike(self):
        assert balanced_accuracy(self.truth, self.predicted) == pytest.approx((2 / 3 + 1 + 0.5) / 3)

    def test_an_error_of_two_grades_counts_four_times(self):
        observed = 0 + 1 + 4  # one error of one grade, one of two
        rows, columns = [3, 1, 2], [3, 2, 1]
        expected = sum(rows[i] * columns[j] * (i - j) ** 2 / 6 for i in range(3) for j in range(3))
        found = quadratic_kappa(self.truth, self.predicted)
        assert found == pytest.approx(1 - observed / expected)

    def test_a_weight_of_two_is_the_sample_twice(self):
        weights = np.array([2.0, 1, 1, 1, 1, 2])
        twice = np.array([0, 0, 1, 2, 3, 4, 5, 5])
        for score in (balanced_accuracy, area_under_curve, quadratic_kappa):
            found = score(self.truth, self.predicted, weights)
            assert found == pytest.approx(score(self.truth[twice], self.predicted[twice]))

    def test_counting_gives_what_scikit_learn_gives(self):
        random = np.random.default_rng(0)
        truth = random.integers(3, size=50)
        chances = random.integers(5, size=(50, 3)) / 4  # many are equal
        for score in (balanced_accuracy, area_under_curve, quadratic_kappa):
            alike = score(truth, chances, np.ones(50))
            assert alike == pytest.approx(score(truth, chances), abs=1e-12)

    def test_a_draw_without_a_class_has_no_accuracy(self):
        weights = np.array([1.0, 1, 1, 0, 1, 1])
        assert np.isnan(balanced_accuracy(self.truth, self.predicted, weights))
        assert np.isnan(area_under_curve(self.truth, self.predicted, weights))

    def test_the_area_is_the_share_of_pairs_in_order(self):
        chances = np.array([0.1, 0.6, 0.4, 0.9])
        both = np.stack([1 - chances, chances], axis=1)
        assert area_under_curve(np.array([0, 0, 1, 1]), both) == 0.75

    def test_grades_are_ordered_as_numbers(self):
        assert encode(["10", "9", "10"], is_graded=True)[1] == ["9", "10"]
        assert encode(["10", "9", "10"], is_graded=False)[1] == ["10", "9"]


class TestProbes:
    @pytest.mark.parametrize("probe", ["linear", "nearest"])
    def test_clouds_far_apart_are_told_apart_and_equal_ones_are_not(self, probe):
        for distance, low, high in ((12, 0.999, 1), (0, 0.2, 0.75)):
            points, truth, groups = cloud(distance)
            (found,) = predict_out_of_fold(points, truth, groups, QUICK, probe)
            assert low <= balanced_accuracy(truth, found) <= high

    def test_what_is_the_same_only_within_a_group_cannot_be_learned(self):
        """Labels are drawn by patient, features tell the patient alone: by case this would leak."""
        random = np.random.default_rng(0)
        groups = np.repeat(np.arange(24), 4)
        truth = (random.permutation(24) % 2)[groups]
        points = random.standard_normal((24, 8))[groups]
        (found,) = predict_out_of_fold(points, truth, [str(g) for g in groups], QUICK, "nearest")
        assert balanced_accuracy(truth, found) < 0.75
        alone = [str(index) for index in range(96)]
        (leaky,) = predict_out_of_fold(points, truth, alone, QUICK, "nearest")
        assert balanced_accuracy(truth, leaky) > 0.85

    def test_too_few_groups_are_refused(self):
        with pytest.raises(DataError, match=r"the rarest of 3 group\(s\).* at least 4 groups"):
            predict_out_of_fold(*cloud(1, 12), QUICK)


class TestResampling:
    def test_groups_are_drawn_as_a_whole(self):
        draws = group_draws(["a", "b", "a", "c"], 50)
        assert (draws[:, 0] == draws[:, 2]).all()
        assert (draws[:, [0, 1, 3]].sum(axis=1) == 3).all()

    def test_the_interval_of_a_mean_is_that_of_the_theory(self):
        values = np.random.default_rng(0).standard_normal(400)
        draws = group_draws([str(i) for i in range(400)], 2000)

        def mean(repeat, weights):
            return float(np.average(repeat, weights=weights))

        interval = interval_of(*scores_of_draws(mean, values[None], draws), 400)
        half = 1.96 * values.std() / 20
        assert interval.low == pytest.approx(values.mean() - half, abs=0.02)
        assert interval.high == pytest.approx(values.mean() + half, abs=0.02)


class TestRetrieval:
    index = RetrievalIndex(
        np.array([[4.0, 4], [4, 5], [5, 4], [-4, -4], [-4, -5]], np.float32),
        ["a1", "a2", "b1", "c1", "d1"],
        ["x", "x", "x", "y", "y"],
        ["a", "a", "b", "c", "d"],
    )

    def test_a_query_does_not_find_its_own_group(self):
        hits = self.index.search(self.index.vectors[0], 2, "a")
        assert hits[0].name == "b1"
        assert hits[0].similarity > 0.9
        assert hits[1].similarity < 0
        assert [hit.name for hit in self.index.search(self.index.vectors[0], 1)] == ["a1"]

    def test_rankings_are_those_made_by_hand(self):
        found = rank_all(self.index)
        # b1 finds a2 and a1 before the others; each y finds the other y first
        assert found.average_precision.tolist() == [1, 1, 1, 1, 1]
        assert found.recall[1].tolist() == [1] * 5
        assert found.precision[5].tolist() == [1 / 3, 1 / 3, 2 / 4, 1 / 4, 1 / 4]

    def test_a_label_of_one_group_alone_has_no_ranking(self):
        labels = ["z", "z", "x", "y", "y"]
        lonely = RetrievalIndex(self.index.vectors, self.index.names, labels, self.index.groups)
        assert np.isnan(rank_all(lonely).average_precision).tolist() == [True] * 3 + [False] * 2

    def test_an_index_is_read_back_as_it_was(self, tmp_path):
        self.index.save(tmp_path / "i.npz")
        again = RetrievalIndex.load(tmp_path / "i.npz")
        assert np.array_equal(again.vectors, self.index.vectors)
        assert (again.names, again.groups) == (self.index.names, self.index.groups)
        with pytest.raises(DataError, match=r"the vector has shape \(3,\), the index \(5, 2\)"):
            again.search(np.zeros(3))
        (tmp_path / "no.npz").write_bytes(b"nothing")
        with pytest.raises(DataError, match="is no index that volseg probe has written"):
            RetrievalIndex.load(tmp_path / "no.npz")


class TestGeometry:
    def test_tight_clusters_of_the_labels_are_found_without_them(self):
        points, truth, _ = cloud(60, 60)
        found = describe_clusters(points * [1, 0.01, 0.01], truth)
        assert found["kmeans_rand"] == 1
        assert describe_clusters(*cloud(0, 60)[:2])["silhouette"] < 0.1

    def test_dimensions_are_counted(self):
        assert count_dimensions(np.array([[1.0, 0], [-1, 0], [0, 1], [0, -1]])) == pytest.approx(2)


def test_an_arm_that_sees_more_gains_and_one_that_sees_the_same_gains_nothing():
    good, truth, groups = cloud(12)
    blind = np.random.default_rng(5).standard_normal(good.shape)
    arms = {
        name: Features(vectors.astype(np.float32), 1.0, 1.0, {})
        for name, vectors in (("good", good), ("same", blind), ("untrained", blind))
    }
    names = [str(index) for index in range(len(truth))]
    question = Question(names, [str(value) for value in truth], groups, True, QUICK, 50)
    controls = {"good": "untrained", "same": "untrained"}
    found = compare(arms, question, controls)
    better, same, untrained = found.answers
    assert better.scores["linear balanced accuracy"].mean == 1
    assert better.gains["linear balanced accuracy"].low > 0.1
    assert better.gains["mAP"].low > 0.1
    assert {gain.mean for gain in same.gains.values()} == {0}
    assert same.gains["linear AUC"].low == same.gains["linear AUC"].high == 0
    assert untrained.gains == {}
    assert found.alignment["same"]["untrained"] == pytest.approx(1)
    assert better.scores["linear quadratic kappa"].mean == 1
    np.testing.assert_allclose(better.confusion, [[12, 0], [0, 12]])
