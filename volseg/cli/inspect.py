"""``volseg inspect``."""

import argparse
from typing import Any

from volseg.cli.options import report


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Describe the subcommand."""
    text = "say what a volume, folder, dataset, weights or bundle is, and what is wrong with it"
    parser: argparse.ArgumentParser = subparsers.add_parser("inspect", help=text, description=text)
    parser.add_argument("path", metavar="PATH", help="what to look at, or the name of a bundle")
    return parser


def run(args: argparse.Namespace) -> int:
    """Run the subcommand."""
    from volseg.workflows.inspect import inspect

    found = inspect(args.path, progress=not args.quiet)
    return report(args, found, is_good=found.is_sound)
