"""``volseg evaluate``."""

import argparse
from pathlib import Path
from typing import Any

from volseg.cli.options import report


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Describe the subcommand."""
    text = "compare masks with references: Dice, HD95 and surface Dice"
    parser: argparse.ArgumentParser = subparsers.add_parser("evaluate", help=text, description=text)
    parser.add_argument(
        "predictions", metavar="PRED", type=Path, help="a mask, or a folder of masks"
    )
    parser.add_argument(
        "references",
        metavar="REF",
        type=Path,
        help="a reference, or a folder of references with the masks' names",
    )
    parser.add_argument("--bundle", metavar="NAME", help="bundle whose class names to use")
    parser.add_argument(
        "--tolerance", metavar="MM", type=float, default=1.0, help="of surface Dice (default: 1)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap (default: 0)")
    return parser


def run(args: argparse.Namespace) -> int:
    """Run the subcommand."""
    from volseg.workflows.evaluate import evaluate

    found = evaluate(
        args.predictions,
        args.references,
        bundle=args.bundle,
        tolerance=args.tolerance,
        seed=args.seed,
        progress=not args.quiet,
    )
    return report(args, found, found.table(), is_good=found.is_complete)
