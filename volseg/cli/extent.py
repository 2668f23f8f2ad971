"""``volseg extent``."""

import argparse
from pathlib import Path
from typing import Any

from volseg.cli.options import add_output, report


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Describe the subcommand."""
    text = "measure how much of a tumour a resection cavity has taken"
    parser: argparse.ArgumentParser = subparsers.add_parser("extent", help=text, description=text)
    parser.add_argument(
        "cavity", metavar="CAVITY", type=Path, help="mask of the cavity, on the grid of --post"
    )
    parser.add_argument("--post", metavar="FILE", type=Path, help="the postoperative scan")
    parser.add_argument("--pre", metavar="FILE", type=Path, help="the preoperative scan")
    parser.add_argument(
        "--tumour",
        metavar="FILE",
        type=Path,
        required=True,
        help="mask of the tumour, on the grid of --pre",
    )
    parser.add_argument(
        "--tumour-labels",
        metavar="VALUE",
        type=int,
        action="extend",
        nargs="+",
        help="values of the tumour mask that are tumour (default: all but 0)",
    )
    parser.add_argument(
        "--transform",
        metavar="FILE",
        help="rigid transform that ITK reads, from the points of --post to those of --pre, or"
        " 'identity' (default: the two scans are registered)",
    )
    add_output(parser)
    parser.add_argument("--seed", type=int, default=0, help="of the draws (default: 0)")
    return parser


def run(args: argparse.Namespace) -> int:
    """Run the subcommand."""
    from volseg.evaluation.extent import Doubt
    from volseg.workflows.extent import Pair, extent

    pair = Pair(args.cavity, args.tumour, args.post, args.pre, args.transform, args.tumour_labels)
    found = extent(pair, args.output, Doubt(seed=args.seed), overwrite=args.overwrite)
    return report(args, found)
