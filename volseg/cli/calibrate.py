"""``volseg calibrate``."""

import argparse
from pathlib import Path
from typing import Any

from volseg.cli.options import add_output, report


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Describe the subcommand."""
    text = "hold a network's probabilities on a hold-out against the truth"
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "calibrate", help=text, description=text
    )
    parser.add_argument(
        "predictions",
        metavar="PRED",
        type=Path,
        help="folder of masks from volseg segment --maps probabilities",
    )
    parser.add_argument(
        "references", metavar="REF", type=Path, help="folder of references with the masks' names"
    )
    add_output(parser)
    parser.add_argument(
        "--groups",
        metavar="CSV",
        type=Path,
        help="a table with the columns case (or name) and group (default: each case is its own)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the draws (default: 0)")
    return parser


def run(args: argparse.Namespace) -> int:
    """Run the subcommand."""
    from volseg.workflows.calibrate import calibrate

    found = calibrate(
        args.predictions,
        args.references,
        args.output,
        groups=args.groups,
        seed=args.seed,
        overwrite=args.overwrite,
    )
    return report(args, found, is_good=found.is_complete)
