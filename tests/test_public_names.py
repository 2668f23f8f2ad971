"""The names that ``import volseg`` offers."""

import subprocess
import sys

import pytest

import volseg


def test_every_public_name_is_there_and_at_home_where_it_is_defined():
    for name in volseg.__all__:
        value = getattr(volseg, name)
        assert value.__name__ == name
        assert value.__module__.startswith("volseg.")
    assert set(volseg.__all__) <= set(dir(volseg))


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'segmnt'"):
        volseg.segmnt  # noqa: B018


def test_a_name_loads_only_when_it_is_used(repository):
    code = (
        "import sys, volseg; before = 'torch' in sys.modules; volseg.Segmenter;"
        " print(before, 'torch' in sys.modules)"
    )
    run = [sys.executable, "-c", code]
    said = subprocess.run(run, cwd=repository, capture_output=True, text=True, check=True)
    assert said.stdout.split() == ["False", "True"]
