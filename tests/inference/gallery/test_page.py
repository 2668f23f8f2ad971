import gzip
import hashlib
import json
import re
from base64 import b64encode
from html.parser import HTMLParser
from importlib.resources import files

import pytest

from tests.inference.gallery.samples import CLASSES, SCRIPT, UNICODE, hostile_cases
from volseg.errors import VolsegError
from volseg.inference.gallery.case import ReportCase
from volseg.inference.gallery.page import write_report

ASSETS = files("volseg.inference.gallery") / "assets"


class Elements(HTMLParser):
    """What a page consists of."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_report(path, hostile_cases(), "A <b>batch</b>", {"bundle": "x & y"})
    return path.read_text(encoding="utf-8")


def test_nothing_is_loaded_from_elsewhere(page):
    for tag, attributes in Elements(page).tags:
        addresses = [attributes[name] for name in ("src", "href", "srcset") if name in attributes]
        assert all(address.startswith("data:") for address in addresses), (tag, addresses)


def test_names_are_shown_and_never_run(page):
    parsed = Elements(page)
    assert UNICODE in parsed.text
    assert SCRIPT in parsed.text
    scripts = [attributes for tag, attributes in parsed.tags if tag == "script"]
    assert [a.get("id") for a in scripts] == ["cases", "v0", "v1", "v2", "viewer", None]
    assert not any(name.startswith("on") for _, attributes in parsed.tags for name in attributes)
    assert "A <b>batch</b>" in parsed.text
    assert "x & y" in parsed.text


def test_the_policy_admits_the_two_scripts_alone(page):
    policy = next(
        a["content"]
        for tag, a in Elements(page).tags
        if tag == "meta" and a.get("http-equiv") == "Content-Security-Policy"
    )
    script = page.rpartition("<script>")[2].partition("</script>")[0].encode()
    viewer = gzip.decompress((ASSETS / "niivue.umd.js.gz").read_bytes())
    hashes = re.search(r"script-src ([^;]*);", policy)[1].split()
    expected = [hashlib.sha256(text).digest() for text in (script, viewer)]
    assert hashes == [f"'sha256-{b64encode(digest).decode()}'" for digest in expected]
    assert policy.startswith("default-src 'none';")


def test_every_fact_of_every_case_is_in_the_data(page):
    data = json.loads(page.partition('id="cases">')[2].partition("</script>")[0])
    for found, case in zip(data["cases"], hostile_cases(), strict=True):
        for name in ("name", "source", "target", "status", "reason", "seconds"):
            assert found[name] == getattr(case, name)
        assert found["volumes"] == case.volumes_ml
        assert found["flags"] == list(case.flags)
    assert data["classes"] == list(CLASSES.values())


def test_a_case_that_was_segmented_anew_loses_its_mark(tmp_path):
    keys = []
    for volume in (1.0, 1.0, 2.0):
        case = ReportCase("a", "in", "out", volumes_ml={"tumour": volume})
        write_report(tmp_path / "report.html", [case], "title", {})
        text = (tmp_path / "report.html").read_text()
        keys.append(re.search(r'"key": "(\w+)"', text)[1])
    assert keys[0] == keys[1] != keys[2]


def test_a_batch_without_pictures_has_no_viewer(tmp_path):
    write_report(tmp_path / "report.html", [ReportCase("a", "in")], "title", {})
    assert (tmp_path / "report.html").stat().st_size < 60_000


def test_a_batch_without_cases_has_a_page(tmp_path):
    write_report(tmp_path / "report.html", [], "nothing", {})
    assert "<b>0</b> cases" in (tmp_path / "report.html").read_text()


def test_volumes_that_are_no_numbers_leave_the_data_readable(tmp_path):
    case = ReportCase("a", "in", volumes_ml={"tumour": float("nan")})
    write_report(tmp_path / "report.html", [case], "title", {})
    text = (tmp_path / "report.html").read_text()
    data = json.loads(text.partition('id="cases">')[2].partition("</script>")[0])
    assert data["cases"][0]["volumes"] == {}


def test_a_page_that_cannot_be_written_leaves_the_old_one(tmp_path):
    path = tmp_path / "report.html"
    path.mkdir()
    with pytest.raises(VolsegError, match=r"cannot write .*report\.html"):
        write_report(path, [], "title", {})
    assert list(tmp_path.iterdir()) == [path]


def test_the_viewer_is_the_build_that_its_card_names():
    card = json.loads((ASSETS / "niivue.json").read_text())
    packed = (ASSETS / "niivue.umd.js.gz").read_bytes()
    script = gzip.decompress(packed)
    assert hashlib.sha256(script).hexdigest() == card["sha256"]
    assert len(script) == card["bytes"]
    assert len(packed) < 1_000_000
    assert b"</script" not in script.lower()


def test_the_licences_of_what_the_page_contains_are_in_it(page):
    text = "".join(Elements(page).text)
    for name in ("@niivue/niivue", "fflate", "gl-matrix", "nifti-reader-js", "zarrita"):
        assert name in text
    assert "Redistributions in binary form must reproduce the above copyright" in text
