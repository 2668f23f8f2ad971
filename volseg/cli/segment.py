"""``volseg segment``."""

import argparse
from pathlib import Path
from typing import Any

from volseg.cli.options import add_bundle, add_device, add_output, add_overrides, report


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Describe the subcommand."""
    text = "segment files and folders, each on its own grid"
    parser: argparse.ArgumentParser = subparsers.add_parser("segment", help=text, description=text)
    parser.add_argument(
        "inputs", metavar="INPUT", nargs="+", type=Path, help="NIfTI files and folders of them"
    )
    add_bundle(parser)
    add_output(parser)
    add_device(parser)
    parser.add_argument(
        "--stage",
        choices=("preop", "postop", "auto"),
        help="for a bundle that guards against implausible cavities: before surgery every cavity is"
        " removed, after it none, auto weighs each part (default: what the bundle says)",
    )
    add_overrides(parser)
    return parser


def run(args: argparse.Namespace) -> int:
    """Run the subcommand."""
    from volseg.workflows.segment import segment

    summary = segment(
        args.inputs,
        args.bundle,
        args.output,
        overrides=dict(args.overrides),
        device=args.device,
        stage=args.stage,
        overwrite=args.overwrite,
        progress=not args.quiet,
    )
    return report(args, summary, is_good=summary.is_complete)
