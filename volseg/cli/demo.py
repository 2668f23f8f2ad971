"""``volseg demo``."""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from volseg.cli.options import add_device, add_output, report


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Describe the subcommand."""
    text = "the whole path on a real MRI in a few minutes, offline"
    parser: argparse.ArgumentParser = subparsers.add_parser("demo", help=text, description=text)
    add_output(parser, Path("volseg-demo"))
    add_device(parser)
    parser.add_argument("--seed", type=int, default=0, help="source of every draw (default: 0)")
    return parser


def run(args: argparse.Namespace) -> int:
    """Run the subcommand."""
    from volseg.workflows.demo import demo
    from volseg.workflows.demo_settings import DemoSettings

    settings = replace(DemoSettings(), device=args.device, seed=args.seed, progress=not args.quiet)
    return report(args, demo(args.output, settings, overwrite=args.overwrite))
