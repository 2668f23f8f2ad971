"""Splits keep patients together, and do not move."""

import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from volseg.data.cases import Case
from volseg.data.splits import hash_split, read_split, split_cases, write_split
from volseg.errors import DataError

FIFTH = {"training": 0.8, "validation": 0.2}


def cases(number, per_group=1):
    """Give cases, as many of each group."""
    return [
        Case(f"c{index:04d}", (Path("x.nii"),), group=f"g{index // per_group}")
        for index in range(number)
    ]


@given(seed=st.integers(0, 50), per_group=st.integers(1, 4))
def test_a_group_never_parts(seed, per_group):
    parts = split_cases(cases(120, per_group), FIFTH, seed)
    groups = [{case.group for case in part} for part in parts.values()]
    assert not groups[0] & groups[1]
    assert sum(map(len, parts.values())) == 120


def test_the_parts_are_near_their_fractions():
    sizes = {part: len(found) for part, found in split_cases(cases(2000), FIFTH).items()}
    # binomial: 400 with a standard deviation of 18
    assert abs(sizes["validation"] - 400) < 72


def test_new_cases_do_not_move_old_ones():
    few, many = split_cases(cases(50), FIFTH), split_cases(cases(500), FIFTH)
    assert {case.name for case in few["validation"]} <= {case.name for case in many["validation"]}
    assert {case.name for case in few["training"]} <= {case.name for case in many["training"]}


def test_another_seed_gives_another_split():
    assert split_cases(cases(50), FIFTH, 0) != split_cases(cases(50), FIFTH, 1)


def test_a_case_without_group_is_alone():
    alone = [Case(f"c{index}", (Path("x.nii"),)) for index in range(100)]
    assert Counter(map(len, split_cases(alone, FIFTH).values())).total() == 2


@pytest.mark.parametrize("fractions", [{"a": 0.5, "b": 0.6}, {"a": 1.2, "b": -0.2}, {}])
def test_fractions_that_do_not_sum_to_one_are_refused(fractions):
    with pytest.raises(DataError, match="use numbers from 0 that sum to 1"):
        split_cases(cases(5), fractions)


def test_an_empty_part_is_refused():
    with pytest.raises(DataError, match=r"no case of 1 falls into '(training|validation)'"):
        split_cases(cases(1), FIFTH)


def test_what_is_written_reads_back(tmp_path):
    parts = split_cases(cases(30), FIFTH)
    write_split(tmp_path / "configs" / "split.json", parts)
    names = {part: [case.name for case in found] for part, found in parts.items()}
    assert read_split(tmp_path / "configs" / "split.json") == names


def test_the_hash_is_the_sha256_of_the_sorted_lines():
    # printf 'a\tx\na\ty\nb\tz' | sha256sum
    expected = "98a3ac1794d204a5fe606cf4b194d6975c6058ad02dfcba3008e27468aa606c4"
    assert hash_split({"b": ["z"], "a": ["y", "x"]}) == expected


def test_a_changed_split_is_refused(tmp_path):
    path = tmp_path / "split.json"
    write_split(path, split_cases(cases(30), FIFTH))
    content = json.loads(path.read_text())
    content["validation"].append(content["training"].pop())
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match="was changed"):
        read_split(path)


BAD = {
    "{": "cannot be read",
    "[]": "not an object of lists",
    "{}": "not an object of lists",
    '{"training": "a"}': "not an object of lists",
    '{"training": [1]}': "not an object of lists",
    '{"training": ["a"], "validation": ["a"]}': "has a twice",
}


@pytest.mark.parametrize("text", BAD)
def test_what_is_no_split_is_refused(tmp_path, text):
    (tmp_path / "split.json").write_text(text)
    with pytest.raises(DataError, match=BAD[text]):
        read_split(tmp_path / "split.json")


def test_a_missing_split_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"split\.json cannot be read"):
        read_split(tmp_path / "split.json")
