"""Real strata from a table."""

from math import isnan

import pytest

from volseg.errors import DataError
from volseg.evaluation.strata import read_strata, stratify, write_strata


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "scans.csv"
    lines = ["case,kernel,thickness,note"]
    lines += [f"c{n},{'sharp' if n % 2 else 'smooth'},{n},text {n}" for n in range(9)]
    path.write_text("\n".join(lines))
    return path


def test_scores_are_split_by_the_values_of_a_column(table):
    scores = {f"c{n}": 0.5 if n % 2 else 0.9 for n in range(9)}
    (kernel,) = stratify(scores, read_strata(table, ["kernel"]))
    assert {name: each.mean for name, each in kernel.strata.items()} == {
        "sharp": 0.5,
        "smooth": pytest.approx(0.9),
    }
    assert kernel.strata["smooth"].cases == 5
    assert kernel.p_holm < 0.05


def test_many_numbers_become_thirds_and_texts_of_their_own_no_stratum(table):
    strata = read_strata(table)
    assert list(strata) == ["kernel", "thickness"]
    found = {each.column: each for each in stratify({f"c{n}": n / 10 for n in range(9)}, strata)}
    thirds = list(found["thickness"].strata.values())
    assert [each.mean for each in thirds] == pytest.approx([0.1, 0.4, 0.7])


def test_equal_scores_and_single_strata_have_no_p(table):
    (kernel,) = stratify({"c0": 0.4, "c2": 0.5}, read_strata(table, ["kernel"]))
    assert isnan(kernel.p_holm)


def test_a_column_that_is_not_there_is_named(table):
    with pytest.raises(DataError, match="has no column 'maker'; it has kernel, thickness, note"):
        read_strata(table, ["maker"])


def test_a_table_that_was_written_is_read_as_it_was(tmp_path):
    strata = {"kernel": {"a": "Br38f\\3", "b": "B, sharp"}, "maker": {"c": "X"}}
    write_strata(tmp_path / "strata.csv", strata)
    assert read_strata(tmp_path / "strata.csv") == strata
