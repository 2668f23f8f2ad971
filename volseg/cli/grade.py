"""``volseg grade``."""

import argparse
from pathlib import Path
from typing import Any

from volseg.cli.options import report


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Describe the subcommand."""
    text = "measure how much lesion masks hold, and grade them"
    parser: argparse.ArgumentParser = subparsers.add_parser("grade", help=text, description=text)
    parser.add_argument(
        "masks",
        metavar="MASKS",
        type=Path,
        help="a folder of masks, or a data set whose labels are the masks",
    )
    parser.add_argument(
        "--output", metavar="CSV", type=Path, required=True, help="the table to write"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace a table that is there")
    _add_values(parser)
    edges = parser.add_mutually_exclusive_group(required=True)
    edges.add_argument(
        "--thresholds",
        metavar="LOAD",
        type=float,
        action="extend",
        nargs="+",
        default=[],
        help="the least load of each grade but the first",
    )
    edges.add_argument("--grades", metavar="N", type=int, help="so many grades of equal number")
    return parser


def _add_values(parser: argparse.ArgumentParser) -> None:
    """Add what label values mean."""
    parser.add_argument(
        "--lesion",
        metavar="VALUE",
        type=int,
        action="extend",
        nargs="+",
        help="label values (default: all but 0)",
    )
    parser.add_argument(
        "--organ",
        metavar="VALUE",
        type=int,
        action="extend",
        nargs="+",
        default=[],
        help="label values of the organ around it: the lesion's share of both is graded, not its"
        " volume in mL",
    )


def run(args: argparse.Namespace) -> int:
    """Run the subcommand."""
    from volseg.workflows.grade import Scale, grade

    scale = Scale(args.lesion, args.organ, args.thresholds, args.grades)
    found = grade(args.masks, args.output, scale, overwrite=args.overwrite)
    return report(args, found, is_good=found.is_complete)
