"""The page as a browser shows it, from a file, with the network cut."""

import csv
import io
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from tests.inference.gallery.samples import (
    FORMULA,
    QUOTES,
    SCRIPT,
    UNDECODABLE,
    UNICODE,
    ball_picture,
    hostile_cases,
)
from volseg.inference.gallery.budget import PageLimits
from volseg.inference.gallery.case import ReportCase
from volseg.inference.gallery.page import write_report

BYTES_LOST = UNDECODABLE.replace("\udce9", "\ufffd").replace("\x1b", "\ufffd")


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    path = tmp_path_factory.mktemp("Zoë №1 #%20?") / "report.html"
    write_report(path, hostile_cases(), "Batch", {"bundle": "hippocampus"})
    return path


@pytest.fixture
def visit(chromium):
    """Give a function that opens a file; what the page asks for or complains of is kept."""
    contexts = []

    def open_file(path, **settings):
        context = chromium.new_context(
            offline=True, viewport={"width": 1400, "height": 900}, **settings
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)
        seen = SimpleNamespace(page=page, requests=[], complaints=[])
        page.on("request", lambda request: seen.requests.append(request.url))
        page.on("pageerror", lambda error: seen.complaints.append(str(error)))
        page.on("console", lambda message: seen.complaints.append(message.text))
        page.goto(path.as_uri())
        return seen

    yield open_file
    for context in contexts:
        context.close()


def case_names(page):
    return page.locator("tbody:visible .name button").all_inner_texts()


def asked_beyond_the_file(seen):
    return [url for url in seen.requests if not url.startswith(("file:", "data:", "blob:"))]


def test_the_page_shows_every_case_and_asks_for_nothing(visit, report):
    seen = visit(report)
    assert case_names(seen.page) == [
        UNICODE, "case 10", "case 9", SCRIPT, QUOTES, FORMULA, BYTES_LOST,
    ]  # fmt: skip
    assert seen.page.title() == "Batch"
    assert seen.requests == [report.as_uri()]
    assert seen.complaints == []
    assert seen.page.evaluate("window.broken") is None


def test_a_click_on_a_heading_sorts_by_number_and_another_turns_it_round(visit, report):
    page = visit(report).page
    heading = page.get_by_role("button", name="anterior, mL")
    heading.click()
    ascending = case_names(page)
    assert ascending[:3] == ["case 10", UNICODE, "case 9"]
    heading.click()
    descending = case_names(page)
    assert descending[:3] == ["case 9", UNICODE, "case 10"]
    assert ascending[3:] == descending[3:]  # without a volume, and so at the end
    assert page.locator("th[aria-sort=descending]").inner_text().startswith("anterior")


def test_names_are_sorted_by_the_numbers_in_them(visit, report):
    page = visit(report).page
    page.get_by_role("button", name="Case", exact=True).click()
    shown = case_names(page)
    assert shown.index("case 9") < shown.index("case 10")


def test_the_text_filter_and_the_flags_filter_narrow_the_table(visit, report):
    page = visit(report).page
    page.locator("#filter").fill("CASE")
    assert case_names(page) == ["case 10", "case 9"]
    page.get_by_role("button", name="empty").click()
    assert case_names(page) == ["case 10"]
    page.locator("#filter").fill("no such case")
    assert case_names(page) == []
    page.get_by_role("button", name="Show all").click()
    assert len(case_names(page)) == 7


def test_pictures_are_decoded_only_when_a_case_is_opened(visit, report):
    page = visit(report).page
    assert page.locator("img").count() == 0
    page.locator("#c0 .name button").click()
    page.wait_for_function("[...document.images].every((i) => i.complete && i.naturalWidth > 99)")
    assert page.locator("#d0 img:visible").count() == 6
    page.keyboard.press("m")
    assert page.locator("#d0 img:visible").count() == 3
    page.keyboard.press("Escape")
    assert page.locator("img").count() == 0


def shares(page):
    """Say how much of the viewer's picture is grey, and how much coloured."""
    picture = Image.open(io.BytesIO(page.locator("canvas").screenshot())).convert("RGB")
    pixels = np.asarray(picture).astype(int)
    brightest, spread = pixels.max(axis=2), np.ptp(pixels, axis=2)
    return ((brightest > 40) & (spread < 20)).mean(), (spread > 60).mean()


def test_the_viewer_draws_image_and_mask_and_asks_for_nothing(visit, report):
    seen = visit(report)
    page = seen.page
    assert page.evaluate("typeof window.niivue") == "undefined"
    page.locator("#c1 .name button").click()
    page.wait_for_selector("#c1 .plate[data-shown]")
    grey, coloured = shares(page)
    assert grey > 0.1
    assert coloured > 0.003
    page.keyboard.press("m")
    page.wait_for_function("document.querySelector('table').classList.contains('no-mask')")
    page.wait_for_timeout(300)
    assert shares(page)[1] < coloured / 3
    assert asked_beyond_the_file(seen) == []
    assert seen.complaints == []


def test_one_viewer_is_moved_from_case_to_case(visit, report):
    seen = visit(report)
    for index in (0, 1, 2):
        seen.page.locator(f"#c{index} .name button").click()
        seen.page.wait_for_selector(f"#c{index} .plate[data-shown] canvas")
    assert seen.page.locator("canvas").count() == 1
    assert shares(seen.page)[0] > 0.1
    assert seen.complaints == []


def test_a_browser_without_webgl_is_told_so_and_shows_the_pictures(visit, report):
    seen = visit(report)
    seen.page.evaluate("HTMLCanvasElement.prototype.getContext = () => null")
    seen.page.locator("#c0 .name button").click()
    seen.page.wait_for_selector("text=The viewer needs WebGL 2")
    assert seen.page.locator("#d0 img:visible").count() == 6


def exported(page):
    with page.expect_download() as download:
        page.get_by_role("button", name="Export CSV").click()
    content = download.value.path().read_bytes()
    assert content.startswith(b"\xef\xbb\xbf")  # or spreadsheets misread names
    rows = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline="")))
    return {row["name"]: row for row in rows}


def test_marks_set_by_keyboard_and_mouse_are_exported(visit, report):
    page = visit(report).page
    page.keyboard.press("j")
    page.keyboard.press("a")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("r")
    page.locator("#c2").get_by_role("button", name="Accept").click()
    page.locator("#c2").get_by_role("button", name="Accept").click()
    page.locator("#c3").get_by_role("button", name="Reject").click()
    rows = exported(page)
    assert {name: row["mark"] for name, row in rows.items() if row["mark"]} == {
        UNICODE: "accepted",
        "case 10": "rejected",
        SCRIPT: "rejected",
    }
    assert rows["case 10"]["flags"] == "empty; low confidence"
    assert (rows["case 10"]["anterior (mL)"], rows["case 10"]["posterior (mL)"]) == ("0", "100")
    assert rows[QUOTES]["reason"] == "two\nlines"
    assert f"'{FORMULA}" in rows  # or a spreadsheet would run it
    assert len(rows) == 7


def test_marks_outlive_the_page_where_the_browser_keeps_them(visit, report):
    page = visit(report).page
    page.locator("#c1").get_by_role("button", name="Reject").click()
    page.reload()
    assert page.locator("#progress").inner_text() == "0 accepted, 1 rejected of 7"
    assert exported(page)["case 10"]["mark"] == "rejected"


def test_marks_are_kept_in_memory_where_the_browser_keeps_none(visit, report):
    seen = visit(report)
    seen.page.add_init_script(
        "Object.defineProperty(window, 'localStorage', { get() { throw new Error('denied'); } })"
    )
    seen.page.reload()
    seen.page.locator("#c1").get_by_role("button", name="Accept").click()
    assert "kept until the page is closed" in seen.page.locator("#progress").inner_text()
    assert exported(seen.page)["case 10"]["mark"] == "accepted"


def test_keys_written_into_the_filter_mark_nothing(visit, report):
    page = visit(report).page
    page.keyboard.press("j")
    page.keyboard.press("/")
    page.keyboard.type("rare")
    assert page.locator("#filter").input_value() == "rare"
    assert page.locator("#progress").inner_text() == ""


def test_without_scripts_table_and_pictures_are_there(visit, report):
    page = visit(report, java_script_enabled=False).page
    assert page.locator(".row:visible").count() == 7
    assert page.locator("img:visible").count() == 18
    assert page.get_by_text("Export CSV").is_hidden()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_is_read_on_either_ground(visit, report, scheme):
    """A contrast of 4.5 is what WCAG 2.2 asks of small text."""
    page = visit(report, color_scheme=scheme).page
    ratios = page.evaluate(
        """() => {
        const parse = (text) => text.match(/[\\d.]+/g).slice(0, 3).map(Number);
        const linear = (v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
        const light = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
        const ground = (e) => {
            for (; e; e = e.parentElement) {
                const colour = getComputedStyle(e).backgroundColor;
                if (!colour.endsWith(", 0)") && colour !== "transparent") return parse(colour);
            }
        };
        return [...document.querySelectorAll(".tag, .note, .counts, .facts dt, .facts dd,"
            + "th button, .chips button, .mark button, #export, td")].map((e) => {
            const [a, b] = [light(parse(getComputedStyle(e).color)), light(ground(e))];
            return [(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), e.className, e.tagName];
        });
    }"""
    )
    assert [found for found in ratios if found[0] < 4.5] == []
    assert len(ratios) > 40


@pytest.mark.slow
def test_a_thousand_cases_stay_usable(visit, tmp_path):
    picture = ball_picture((64, 64, 64), 20)
    planes = tuple(
        replace(plane, image=plane.image.ljust(14_000, b"\0")) for plane in picture.planes
    )
    picture = replace(picture, planes=planes)
    cases = [
        ReportCase(f"case {i}", f"in/{i}", f"out/{i}", seconds=i % 77,
                   volumes_ml={"anterior": i * 37 % 1000}, flags=("empty",) * (i % 9 == 0),
                   picture=picture)
        for i in range(1000)
    ]  # fmt: skip
    write_report(tmp_path / "report.html", cases, "Thousand", {}, PageLimits(max_viewers=50))
    seen = visit(tmp_path / "report.html")
    page = seen.page
    milliseconds = page.evaluate(
        """() => {
        const start = performance.now();
        document.querySelector("th[data-column='ml:anterior'] button").click();
        document.querySelector(".cases").getBoundingClientRect();
        return performance.now() - start;
    }"""
    )
    assert milliseconds < 5000  # 400 on an idle machine
    assert page.locator(".row").first.inner_text().startswith("case 0")
    page.locator("#c999 .name button").click()
    assert page.locator("#d999 img:visible").count() == 6
    assert "50 of 1000 pictured cases open in the viewer" in page.locator("footer").inner_text()
