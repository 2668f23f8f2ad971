from dataclasses import replace

import pytest

from tests.inference.gallery.samples import ball_picture
from volseg.inference.gallery.budget import (
    VIEWER_BYTES,
    PageLimits,
    base64_size,
    choose_contents,
    predict_bytes,
)
from volseg.inference.gallery.case import ReportCase
from volseg.inference.gallery.page import write_report


@pytest.fixture(scope="module")
def cases():
    """Give twelve cases of 60 and 150 kB; the last but one has a flag."""
    picture = ball_picture()
    planes = tuple(replace(plane, image=bytes(14_990), mask=b"x" * 10) for plane in picture.planes)
    picture = replace(picture, planes=planes, image=bytes(112_000), labels=bytes(500))
    cases = [ReportCase(f"case {i}", "in", picture=picture) for i in range(12)]
    cases[10] = replace(cases[10], flags=("empty",))
    return cases


def test_base64_takes_four_characters_for_three_bytes_or_fewer():
    assert [base64_size(n) for n in (0, 1, 3, 4)] == [0, 4, 4, 8]


def test_all_is_in_a_page_that_may_be_large(cases):
    contents = choose_contents(cases, PageLimits())
    assert contents.pictured == contents.viewable == set(range(12))


def test_volumes_go_first_and_cases_with_flags_stay(cases):
    contents = choose_contents(cases, PageLimits(max_bytes=VIEWER_BYTES + 1_200_000))
    assert contents.pictured == set(range(12))
    assert contents.viewable == {10, 0}


def test_pictures_go_next(cases):
    contents = choose_contents(cases, PageLimits(max_bytes=300_000))
    assert contents.pictured == {10, 0, 1}
    assert contents.viewable == set()


def test_no_more_cases_have_volumes_than_asked_for(cases):
    assert choose_contents(cases, PageLimits(max_viewers=3)).viewable == {10, 0, 1}


@pytest.mark.parametrize("max_bytes", [10**8, 2_500_000, 1_500_000, 400_000])
def test_the_page_is_as_large_as_predicted_at_most(cases, tmp_path, max_bytes):
    limits = PageLimits(max_bytes=max_bytes)
    write_report(tmp_path / "report.html", cases, "title", {}, limits)
    size = (tmp_path / "report.html").stat().st_size
    assert size <= predict_bytes(12, limits) <= max_bytes
    assert size <= predict_bytes(12) < 4_200_000


def test_a_thousand_cases_are_predicted_within_the_limit():
    assert 85e6 < predict_bytes(1000) <= 120e6
