"""``volseg bundle``."""

import argparse
from pathlib import Path
from typing import Any

from volseg.cli.options import add_common, add_trust, report


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Describe the subcommand and its own subcommands."""
    text = "list, check, pack, export and make bundles"
    parser: argparse.ArgumentParser = subparsers.add_parser("bundle", help=text, description=text)
    inner = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    for add in (_add_list, _add_check):
        _add_common(add(inner))
    return parser


def _add_common(parser: argparse.ArgumentParser) -> None:
    """Add what all verbs have; what stands before the action's name counts as well."""
    before = set(vars(parser)["_actions"])
    add_common(parser)
    for action in set(vars(parser)["_actions"]) - before:
        action.default = argparse.SUPPRESS


def run(args: argparse.Namespace) -> int:
    """Run the subcommand."""
    status: int = args.act(args)
    return status


def _add_list(subparsers: Any) -> argparse.ArgumentParser:
    text = "list the bundles that come with volseg, and those in folders"
    parser: argparse.ArgumentParser = subparsers.add_parser("list", help=text, description=text)
    parser.add_argument(
        "folders",
        metavar="FOLDER",
        nargs="*",
        type=Path,
        help="a bundle, or a folder that holds some",
    )
    parser.set_defaults(act=_list)
    return parser


def _list(args: argparse.Namespace) -> int:
    from volseg.workflows.bundles.listing import list_bundles

    return report(args, list_bundles(args.folders))


def _add_check(subparsers: Any) -> argparse.ArgumentParser:
    text = "say in words what is wrong with a bundle, all of it; nothing of it is run"
    parser: argparse.ArgumentParser = subparsers.add_parser("check", help=text, description=text)
    parser.add_argument("bundle", metavar="PATH", help="a bundle's folder, zip file or name")
    add_trust(parser)
    parser.set_defaults(act=_check)
    return parser


def _check(args: argparse.Namespace) -> int:
    from volseg.bundle import Bundle
    from volseg.workflows.bundles.check import check_bundle

    folder = Path(args.bundle)
    if folder.is_dir():  # also one that lacks what makes it a bundle, to say so
        found = Bundle(folder.resolve(), is_trusted=args.trust)
    else:
        found = Bundle.find(args.bundle, is_trusted=args.trust)
    checked = check_bundle(found)
    return report(args, checked, is_good=checked.is_sound)
