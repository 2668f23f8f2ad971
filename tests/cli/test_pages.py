"""The commands that README and docs show are commands that volseg understands."""

import re
import shlex
from pathlib import Path

import pytest

from volseg.cli.main import COMMANDS, make_parser

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
CONSOLE = re.compile(r"```console\n(.*?)```", re.DOTALL)


def commands(page: Path) -> list[str]:
    """List the volseg commands of a page, continued lines joined."""
    blocks = "\n".join(CONSOLE.findall(page.read_text())).replace("\\\n", " ")
    lines = [part.strip(" $") for line in blocks.splitlines() for part in line.split("&&")]
    return [line for line in lines if line.startswith("volseg ")]


SHOWN = [
    pytest.param(command, id=f"{page.stem}: {command}")
    for page in PAGES
    if "generated" not in page.parts
    for command in commands(page)
]


@pytest.mark.parametrize("command", SHOWN)
def test_a_command_that_is_shown_can_be_parsed(command):
    make_parser().parse_args(shlex.split(command)[1:])


def test_every_verb_has_a_page_that_shows_it():
    shown = {shlex.split(param.values[0])[1] for param in SHOWN}
    verbs = {module.__name__.rpartition(".")[2] for module in COMMANDS}
    assert verbs <= shown


def test_the_reference_lists_every_verb():
    conf = (ROOT / "docs" / "conf.py").read_text()
    listed = re.search(r"VERBS = \[(.*?)\]", conf, re.DOTALL)
    assert listed is not None
    verbs = {module.__name__.rpartition(".")[2] for module in COMMANDS}
    assert set(re.findall(r'"(\w+)"', listed[1])) == verbs
