"""What the README, the settings and the tested set of versions promise each other."""

import re
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

import pytest
from packaging.requirements import Requirement

SETUP_COMMAND = re.compile(r"^python3\.11 -m venv .*$", re.MULTILINE)


@pytest.fixture
def settings(repository: Path) -> ConfigParser:
    parser = ConfigParser()
    parser.read(repository / "setup.cfg")
    return parser


@pytest.fixture
def constraints(repository: Path) -> dict[str, str]:
    lines = (repository / "constraints.txt").read_text().splitlines()
    pairs = [line.split("==") for line in lines if not line.startswith("#")]
    return {canonical(name): version for name, version in pairs}


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def requirements(settings: ConfigParser) -> list[Requirement]:
    blocks = [settings["options"]["install_requires"], *settings["options.extras_require"].values()]
    lines = [line for block in blocks for line in block.splitlines() if line.strip()]
    return [Requirement(line) for line in lines]


def test_every_requirement_is_pinned_to_a_version_in_its_range(settings, constraints):
    for requirement in requirements(settings):
        assert requirement.specifier.contains(constraints[canonical(requirement.name)]), requirement


def test_volseg_installs_beside_numpy_1_26(settings):
    (numpy,) = [item for item in requirements(settings) if item.name == "numpy"]
    assert numpy.specifier.contains("1.26.4")
    assert not numpy.specifier.contains("3.0")


def test_no_constraint_is_tied_to_a_local_build(constraints):
    assert constraints["torch"] == "2.13.0"
    assert not [name for name, version in constraints.items() if "+" in version or "/" in version]


def test_the_readme_has_two_set_up_commands_on_the_tested_versions(repository):
    commands = SETUP_COMMAND.findall((repository / "README.md").read_text())
    assert [command.split(" && ")[-1] for command in commands] == ["volseg demo", "pytest"]
    assert all("pip install -c constraints.txt" in command for command in commands)


def test_ci_runs_the_commands_of_the_readme(repository):
    script = (repository / ".ci" / "run").read_text()
    pattern = re.search(r'grep -E "(.*?)\\\$" "\$copy/README.md"', script)
    assert pattern is not None
    for last in ("pytest", "volseg demo"):
        assert f"readme_command {last}" in script or f"readme_command '{last}'" in script
        found = re.findall(
            pattern[1].replace("$1", last) + "$", (repository / "README.md").read_text(), re.M
        )
        assert len(found) == 1


def test_importing_volseg_loads_neither_torch_nor_monai(repository):
    code = "import sys, volseg; print([m for m in ('torch', 'monai', 'numpy') if m in sys.modules])"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=repository, capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"
