"""``volseg review``."""

import argparse
from pathlib import Path
from typing import Any

from volseg.cli.options import report


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Describe the subcommand."""
    text = "list the cases of which a network is least sure"
    parser: argparse.ArgumentParser = subparsers.add_parser("review", help=text, description=text)
    parser.add_argument(
        "masks", metavar="MASKS", type=Path, help="folder of masks from volseg segment --maps"
    )
    parser.add_argument(
        "--output", metavar="CSV", type=Path, required=True, help="the table to write"
    )
    parser.add_argument("--top", metavar="N", type=int, help="how many cases (default: all)")
    parser.add_argument("--overwrite", action="store_true", help="replace a table that is there")
    return parser


def run(args: argparse.Namespace) -> int:
    """Run the subcommand."""
    from volseg.workflows.review import review

    found = review(args.masks, args.output, args.top, overwrite=args.overwrite)
    return report(args, found, is_good=found.is_complete)
