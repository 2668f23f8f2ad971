"""``volseg resect``."""

import argparse
from pathlib import Path
from typing import Any

from volseg.cli.options import add_output, report


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Describe the subcommand."""
    text = "simulate resections on healthy scans, with the mask of each cavity"
    parser: argparse.ArgumentParser = subparsers.add_parser("resect", help=text, description=text)
    parser.add_argument(
        "inputs",
        metavar="INPUT",
        nargs="+",
        type=Path,
        help="NIfTI files of heads or brains, and folders of them; with --synthesize label maps",
    )
    add_output(parser)
    parser.add_argument("--count", type=int, default=1, help="resections of each (default: 1)")
    parser.add_argument("--seed", type=int, default=0, help="of every draw (default: 0)")
    _add_anatomy(parser)
    _add_kind(parser)
    return parser


def _add_anatomy(parser: argparse.ArgumentParser) -> None:
    maps = parser.add_mutually_exclusive_group()
    maps.add_argument("--labels", metavar="FILE", type=Path, help="label map on the scan's grid")
    maps.add_argument(
        "--brain",
        metavar="FILE",
        type=Path,
        help="brain mask on the scan's grid (default: the brain is estimated from the scan)",
    )
    maps.add_argument(
        "--synthesize",
        action="store_true",
        help="the inputs are label maps: make an image of random contrast for each resection",
    )
    parser.add_argument(
        "--scheme",
        default="auto",
        help="what the label map's numbers mean: freesurfer, synthseg, gif or auto (default: auto)",
    )
    parser.add_argument(
        "--tumour", metavar="FILE", type=Path, help="tumour mask that a resection may follow"
    )


def _add_kind(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--contrast",
        action="append",
        default=[],
        help="T1, T1c, T2, FLAIR, PD, CT, unknown or auto, which asks the file's name; once for"
        " all inputs, or again for each (default: auto)",
    )
    parser.add_argument(
        "--together",
        action="store_true",
        help="the inputs are registered sequences of one patient: one cavity in all of them",
    )
    parser.add_argument(
        "--mode", help="kind of resection, such as lesionectomy (default: as often as in practice)"
    )
    parser.add_argument(
        "--stage",
        help="intraoperative, early, subacute, chronic (default: all of these) or unknown",
    )


def run(args: argparse.Namespace) -> int:
    """Run the subcommand."""
    from volseg.workflows.resect import ResectOptions, resect
    from volseg.workflows.resect_case import Maps

    made = resect(
        args.inputs,
        args.output,
        Maps(args.labels, args.brain, args.tumour, args.scheme),
        ResectOptions(
            count=args.count,
            seed=args.seed,
            contrasts=args.contrast,
            mode=args.mode,
            stage=args.stage,
            is_together=args.together,
            is_synthetic=args.synthesize,
        ),
        overwrite=args.overwrite,
        progress=not args.quiet,
    )
    return report(args, made, is_good=made.is_complete)
