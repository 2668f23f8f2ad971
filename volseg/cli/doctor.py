"""``volseg doctor``."""

import argparse
from typing import Any

from volseg.cli.options import report


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Describe the subcommand."""
    text = "check the installation: versions, devices, memory, disk, a self-test of ten seconds"
    parser: argparse.ArgumentParser = subparsers.add_parser("doctor", help=text, description=text)
    return parser


def run(args: argparse.Namespace) -> int:
    """Run the subcommand."""
    from volseg.workflows.doctor import doctor

    found = doctor()
    return report(args, found, is_good=found.is_healthy)
