"""``volseg inspect``."""

import argparse
from typing import Any

from volseg.cli.options import add_facts, report


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Describe the subcommand."""
    text = "say what a volume, folder, dataset, weights or bundle is, and what is wrong with it"
    parser: argparse.ArgumentParser = subparsers.add_parser("inspect", help=text, description=text)
    parser.add_argument("path", metavar="PATH", help="what to look at, or the name of a bundle")
    parser.add_argument(
        "--against",
        metavar="NETWORK",
        help="say what of the weights a network would take, and train nothing: a bundle, a weights"
        " file with a card, a preset such as volseg.networks.swin.base, or a config as JSON",
    )
    add_facts(parser)
    return parser


def run(args: argparse.Namespace) -> int:
    """Run the subcommand."""
    from volseg.networks.foreign.layout import Facts
    from volseg.workflows.inspect import inspect

    facts = Facts.from_values(dict(args.facts))
    found = inspect(args.path, progress=not args.quiet, against=args.against, facts=facts)
    return report(args, found, is_good=found.is_sound)
