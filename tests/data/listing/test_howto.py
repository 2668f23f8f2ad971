"""The page on inputs: its snippets run, and print what it shows."""

import re

from tests.data.listing.trees import names, touch
from volseg.data.listing.find import find_scans
from volseg.data.listing.naming import Naming


def test_the_snippets_of_the_page_print_what_it_shows(repository, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    page = (repository / "docs" / "howto" / "inputs.md").read_text(encoding="utf-8")
    known = {}
    pairs = re.findall(r"```python\n(.*?)```\n\n```text\n(.*?)```", page, re.DOTALL)
    assert len(pairs) == 2
    for snippet, shown in pairs:
        exec(snippet, known)
        assert capsys.readouterr().out == shown


def test_the_list_of_the_page_gives_its_cases(repository, tmp_path):
    page = (repository / "docs" / "howto" / "inputs.md").read_text(encoding="utf-8")
    table = re.search(r"without rules:\n\n```text\n(.*?)```", page, re.DOTALL)[1]
    touch(tmp_path, *re.findall(r"[a-z]+/P\d\.nrrd", table))
    (tmp_path / "list.csv").write_text(table)
    assert names(tmp_path / "list.csv", ("t1c", "flair")) == ["P1", "P2"]


def test_each_row_of_the_maps_on_the_page_is_true(repository, tmp_path):
    page = (repository / "docs" / "howto" / "inputs.md").read_text(encoding="utf-8")
    section = page.split("## Names of another kind")[1].split("With `/`")[0]
    rows = re.findall(r"\| `(.+?)` \| `(.+?)` \| `(.+?)` \|", section)
    assert len(rows) == 4
    for number, (pattern, file, case) in enumerate(rows):
        folder = touch(tmp_path / str(number), file)
        (found,) = find_scans([folder], ("t1c",), channel_map={"t1c": pattern})
        assert found.sources["t1c"].files == (folder / file,)
        assert Naming({"t1c": pattern}).read(found.sources["t1c"].name, "") == (case, "t1c")
