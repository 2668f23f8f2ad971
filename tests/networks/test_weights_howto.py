"""The page on weights: its snippets run one after the other, and print what it shows."""

import re


def test_the_snippets_of_the_page_print_what_it_shows(repository, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    page = (repository / "docs" / "howto" / "weights.md").read_text(encoding="utf-8")
    names = {}
    for language, block in re.findall(r"```(python|text)\n(.*?)```", page, re.DOTALL):
        if language == "python":
            exec(block, names)
        else:
            assert capsys.readouterr().out == block
