"""``volseg detect``."""

import argparse
from pathlib import Path
from typing import Any

from volseg.cli.options import add_device, add_output, add_overrides, add_trust, report


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Describe the subcommand."""
    text = "put boxes around lesions, in scans by a trained detector, or in masks"
    parser: argparse.ArgumentParser = subparsers.add_parser("detect", help=text, description=text)
    parser.add_argument(
        "source", metavar="DATA", type=Path, help="a scan, a folder of scans or a data set"
    )
    how = parser.add_mutually_exclusive_group(required=True)
    how.add_argument(
        "--bundle", metavar="NAME", help="a bundle with weights that detects, as finetune leaves it"
    )
    how.add_argument(
        "--masks",
        action="store_true",
        help="DATA are masks, or their labels are: box their connected parts, without a network",
    )
    parser.add_argument(
        "--least-ml",
        metavar="ML",
        type=float,
        default=0.0,
        help="with --masks: leave out smaller parts",
    )
    add_output(parser)
    add_device(parser)
    add_overrides(parser)
    add_trust(parser)
    return parser


def run(args: argparse.Namespace) -> int:
    """Run the subcommand."""
    from volseg.bundle import Bundle
    from volseg.workflows.detect import boxes_of_masks, detect

    if args.masks:
        found = boxes_of_masks(
            args.source, args.output, least_ml=args.least_ml, overwrite=args.overwrite
        )
        return report(args, found, is_good=found.is_complete)
    found = detect(
        args.source,
        Bundle.find(args.bundle, is_trusted=args.trust),
        args.output,
        device=args.device,
        overrides=dict(args.overrides),
        overwrite=args.overwrite,
    )
    return report(args, found, is_good=found.is_complete)
