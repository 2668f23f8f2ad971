"""The command line: what it loads, prints and returns."""

import argparse
import json
import logging
import os
import resource
import subprocess
import sys
from types import SimpleNamespace

import pytest

from volseg import __version__
from volseg.cli import main as command_line
from volseg.cli.main import COMMANDS, main, make_parser
from volseg.errors import DataError, VolsegError, find_cause

HEAVY = ("torch", "monai", "numpy", "nibabel")


@pytest.fixture
def command(monkeypatch):
    """Give the command line one verb, ``try``, whose function a test sets."""

    def add_parser(subparsers):
        return subparsers.add_parser("try")

    def set_run(run):
        module = SimpleNamespace(add_parser=add_parser, run=run)
        monkeypatch.setattr(command_line, "COMMANDS", (module,))

    return set_run


def fail(error):
    def run(args):
        raise error

    return run


def test_help_loads_nothing_heavy_and_answers_at_once(repository):
    code = (
        "import sys; from volseg.cli.main import make_parser; make_parser().format_help();"
        f" print([name for name in {HEAVY} if name in sys.modules])"
    )
    run = [sys.executable, "-c", code]
    bare = {key: value for key, value in os.environ.items() if not key.startswith("COV")}
    took = []
    for _ in range(3):  # processor time, since the machine may be busy with something else
        began = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
        said = subprocess.run(
            run, cwd=repository, env=bare, capture_output=True, text=True, check=True
        )
        took.append(resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - began)
    assert said.stdout.strip() == "[]"
    assert min(took) < 0.3


def test_monai_says_nothing_of_a_decoder_that_is_not_there(command, caplog):
    def read(args):
        from monai.transforms import LoadImage

        LoadImage()
        return 0

    command(read)
    assert main(["try"]) == 0
    assert not [each for each in caplog.records if "nvImageCodec" in each.getMessage()]


def test_every_verb_has_help_and_the_name_of_its_public_function(capsys):
    for module in COMMANDS:
        verb = module.__name__.rpartition(".")[2]
        with pytest.raises(SystemExit) as stop:
            main([verb, "--help"])
        assert stop.value.code == 0
        assert f"usage: volseg {verb}" in capsys.readouterr().out
    import volseg

    verbs = {module.__name__.rpartition(".")[2] for module in COMMANDS} - {"anomaly", "bundle"}
    actions = {f"{action}_bundle" for action in ("check",)} | {"list_bundles"}
    actions |= {f"{action}_anomaly" for action in ("train", "map", "evaluate")}
    assert verbs | actions <= set(volseg.__all__)


def test_the_version_is_that_of_the_package(capsys):
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out == f"volseg {__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["no_such_verb"],
        ["segment"],
        ["segment", "a.nii", "--bundle", "b"],
        ["pretrain", "--data", "d", "--output", "o", "--set", "no_equals_sign"],
        ["finetune", "--bundle", "b", "--data", "d", "--output", "o", "--schedule", "fast"],
    ],
)
def test_wrong_usage_ends_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert "usage: volseg" in capsys.readouterr().err


def test_the_status_is_that_of_the_verb(command):
    command(lambda args: 0)
    assert main(["try"]) == 0
    command(lambda args: 1)
    assert main(["try"]) == 1


def test_an_error_of_volseg_is_one_line_and_ends_with_1(command, capsys):
    command(fail(DataError("no\ncase  here")))
    assert main(["try"]) == 1
    out, err = capsys.readouterr()
    assert (out, err) == ("", "volseg: no case here\n")


def test_an_error_is_a_json_document_if_json_is_asked_for(command, capsys):
    command(fail(DataError("no case")))
    assert main(["try", "--json"]) == 1
    assert json.loads(capsys.readouterr().out) == {"error": "no case"}


def test_debug_lets_the_error_through(command):
    command(fail(DataError("no case")))
    with pytest.raises(DataError, match="no case"):
        main(["try", "--debug"])


def test_an_unforeseen_error_names_its_type_and_the_way_to_its_place(command, capsys):
    command(fail(ZeroDivisionError("by zero")))
    assert main(["try"]) == 1
    assert capsys.readouterr().err == "volseg: ZeroDivisionError: by zero; --debug shows where\n"


def test_an_interruption_ends_with_130_and_without_a_traceback(command, capsys):
    command(fail(KeyboardInterrupt()))
    assert main(["try"]) == 130
    assert capsys.readouterr().err == "volseg: interrupted\n"


def test_quiet_leaves_only_warnings(command):
    command(lambda args: 0)
    main(["try", "--quiet"])
    assert logging.getLogger("volseg").level == logging.WARNING
    main(["try"])
    assert logging.getLogger("volseg").level == logging.INFO


def test_what_volseg_said_is_found_below_what_others_made_of_it():
    said = DataError("no case")
    wrapped = RuntimeError("Failed to instantiate")
    wrapped.__cause__ = said
    outer = ValueError("and again")
    outer.__context__ = wrapped
    assert find_cause(outer) is said


def test_causes_that_form_a_circle_come_to_an_end():
    first, second = RuntimeError("first"), TypeError("second")
    first.__cause__, second.__cause__ = second, first
    assert find_cause(first) is first
    other = ValueError("nothing of volseg")
    assert find_cause(other) is other
    assert find_cause(VolsegError("x")).args == ("x",)


def test_set_may_be_given_again_and_reads_json():
    args = make_parser().parse_args(
        ["pretrain", "--data", "d", "--output", "o", "--set", "a=[1]", "--set", "b::c=x=y"]
    )
    assert args.overrides == [("a", [1]), ("b::c", "x=y")]


def parsers_of(parser):
    """Give a parser and all of its subcommands."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for each in action.choices.values():
                yield from parsers_of(each)


def test_an_option_of_several_values_that_is_given_twice_keeps_all_of_them():
    several = [
        action
        for parser in parsers_of(make_parser())
        for action in parser._actions
        if action.option_strings and action.nargs in ("+", "*")
    ]
    assert len(several) > 8
    assert {type(action) for action in several} == {argparse._ExtendAction}
    given = ["evaluate", "a", "b", "--relabel", "3=1", "--relabel", "4=3", "2=2"]
    assert make_parser().parse_args(given).relabel == [(3, 1), (4, 3), (2, 2)]
    assert make_parser().parse_args(["evaluate", "a", "b"]).relabel == []


def test_the_package_is_the_command(repository):
    def run(argument):
        command = [sys.executable, "-m", "volseg", argument]
        return subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False)

    said, wrong = run("--version"), run("nothing")
    assert (said.returncode, said.stdout) == (0, f"volseg {__version__}\n")
    assert wrong.returncode == 2
    assert "invalid choice: 'nothing'" in wrong.stderr
