"""Which cases train and which validate."""

import json
import shutil

import pytest

from volseg.bundle import Bundle
from volseg.data.cases import Case
from volseg.errors import DataError
from volseg.workflows.splitting import divide, fitting_split


def make_cases(names, groups=None):
    groups = groups or [None] * len(names)
    return [Case(name, (), None, group) for name, group in zip(names, groups, strict=True)]


@pytest.fixture
def bundle(tmp_path) -> Bundle:
    (tmp_path / "bundle" / "configs").mkdir(parents=True)
    (tmp_path / "bundle" / "configs" / "metadata.json").write_text("{}")
    return Bundle(tmp_path / "bundle")


def write(path, **parts):
    path.write_text(json.dumps(parts))
    return path


def test_the_bundles_split_holds_if_all_its_cases_are_there(bundle):
    write(bundle.root / "configs" / "split.json", training=["a"], validation=["b"])
    assert fitting_split(make_cases("abc"), bundle) == {"training": ["a"], "validation": ["b"]}


def test_the_bundles_split_does_not_hold_for_other_cases(bundle):
    write(bundle.root / "configs" / "split.json", training=["a"], validation=["z"])
    assert fitting_split(make_cases("abc"), bundle) is None


def test_a_bundle_without_a_split_has_none_that_holds(bundle):
    assert fitting_split(make_cases("abc"), bundle) is None


def test_a_given_split_wins_over_the_bundles(bundle, tmp_path):
    write(bundle.root / "configs" / "split.json", training=["a"], validation=["b"])
    given = write(tmp_path / "mine.json", training=["b"], validation=["a"])
    assert fitting_split(make_cases("ab"), bundle, given) == {
        "training": ["b"],
        "validation": ["a"],
    }


def test_a_split_may_be_given_as_the_bundle_that_has_it(bundle, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(bundle.root, other)
    write(other / "configs" / "split.json", training=["b"], validation=["a"])
    assert fitting_split(make_cases("ab"), bundle, other) == {
        "training": ["b"],
        "validation": ["a"],
    }


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"training": ["a"], "validation": ["z"]}, "names z, which is not there"),
        ({"training": ["a"]}, "names no validation cases"),
    ],
)
def test_a_given_split_of_other_cases_is_refused(bundle, tmp_path, parts, message):
    given = write(tmp_path / "mine.json", **parts)
    with pytest.raises(DataError, match=message):
        fitting_split(make_cases("ab"), bundle, given)


def test_a_split_that_is_neither_a_file_nor_a_bundle_is_refused(bundle, tmp_path):
    with pytest.raises(DataError, match="neither a file nor a bundle"):
        fitting_split(make_cases("ab"), bundle, tmp_path / "nothing")
    with pytest.raises(DataError, match="has no configs/split"):
        fitting_split(make_cases("ab"), bundle, bundle.root)


def test_a_division_keeps_groups_together_and_loses_no_case():
    names = [f"case{i}" for i in range(40)]
    groups = [f"person{i // 2}" for i in range(40)]
    parts = divide(make_cases(names, groups))
    assert sorted(parts["training"] + parts["validation"]) == sorted(names)
    persons = [{groups[names.index(name)] for name in members} for members in parts.values()]
    assert not set.intersection(*persons)


def test_even_two_cases_are_divided():
    parts = divide(make_cases("ab"))
    assert {len(members) for members in parts.values()} == {1}


def test_one_group_cannot_be_divided():
    with pytest.raises(DataError, match="cannot be divided"):
        divide(make_cases("abc", ["one"] * 3))
