"""Sphinx settings; `sphinx-build -n -W docs docs/_build/html` builds the pages."""

import subprocess
import sys
from pathlib import Path

from sphinx.application import Sphinx

import volseg

ROOT = Path(__file__).resolve().parents[1]

project = "volseg"
author = "The volseg developers"
version = release = volseg.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.apidoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"volseg {release}"
myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3

apidoc_modules = [
    {
        "path": "../volseg",
        "destination": "reference/generated",
        "separate_modules": True,
        "module_first": True,
        "automodule_options": {"members", "show-inheritance"},
    }
]
# volseg's lazy names are documented where they are defined
autodoc_default_options = {"ignore-module-all": True}
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_member_order = "bysource"
napoleon_numpy_docstring = False
napoleon_use_ivar = True

# The pages build offline, so only volseg's own names can be looked up.
nitpick_ignore = [  # type variables
    ("py:class", "volseg.data.splits.Member"),
    ("py:class", "volseg.engines.initial.Network"),
]
nitpick_ignore_regex = [(r"py:.*", r"(?!volseg\.).*")]

copybutton_prompt_text = "$ "

VERBS = [
    "demo",
    "pretrain",
    "finetune",
    "segment",
    "detect",
    "evaluate",
    "calibrate",
    "review",
    "extent",
    "grade",
    "resect",
    "probe",
    "robustness",
    "anomaly",
    "inspect",
    "bundle",
    "doctor",
]


def write_command_line_page(app: Sphinx) -> None:
    """Write the page of the command line from what ``--help`` says."""
    parts = [
        "# Command line\n",
        "What `volseg --help` says, verb by verb.\n",
        "Exit status: 0, all done; 1, some case failed or an error was raised; 2, wrong usage.\n",
    ]
    for verb in ["", *VERBS]:
        command = [sys.executable, "-m", "volseg.cli.main", *([verb] if verb else []), "--help"]
        said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        name = f"volseg {verb}".strip()
        parts.append(f"## {name}\n\n```text\n{said.replace('main.py', 'volseg').rstrip()}\n```\n")
    page = Path(app.srcdir) / "reference" / "generated" / "command_line.md"
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text("\n".join(parts))


def setup(app: Sphinx) -> None:
    """Connect the generated page to the build."""
    app.connect("builder-inited", write_command_line_page)
