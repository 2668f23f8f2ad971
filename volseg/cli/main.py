"""``volseg``: parse the command line, call the verb, print what it found.

Nothing heavy is imported before a verb runs, so that ``volseg --help`` answers at once.
"""

import argparse
import json
import logging
import sys
import warnings
from collections.abc import Sequence
from types import ModuleType

from volseg import __version__
from volseg.cli import (
    anomaly,
    bundle,
    calibrate,
    demo,
    detect,
    doctor,
    evaluate,
    extent,
    finetune,
    grade,
    inspect,
    pretrain,
    probe,
    resect,
    review,
    robustness,
    segment,
)
from volseg.cli.options import add_common
from volseg.errors import VolsegError, find_cause

COMMANDS: tuple[ModuleType, ...] = (
    demo,
    pretrain,
    finetune,
    segment,
    detect,
    evaluate,
    calibrate,
    review,
    resect,
    extent,
    grade,
    probe,
    robustness,
    anomaly,
    inspect,
    bundle,
    doctor,
)

INTERRUPTED = 130
"""What a shell reports for a command that Ctrl-C has ended."""


def make_parser() -> argparse.ArgumentParser:
    """Make the parser of the whole command line.

    Returns:
        The parser; what it parses has ``run``, the subcommand's function.
    """
    parser = argparse.ArgumentParser(
        prog="volseg",
        description="Pretrain, fine-tune and apply 3D segmentation networks for CT and MRI.",
        epilog="Exit status: 0, all done; 1, some case failed or an error was raised;"
        " 2, wrong usage. Research software, not a medical device.",
    )
    parser.add_argument("--version", action="version", version=f"volseg {__version__}")
    subparsers = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    for command in COMMANDS:
        subparser = command.add_parser(subparsers)
        add_common(subparser)
        subparser.set_defaults(run=command.run)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: What follows ``volseg``; `None` takes what the shell gave.

    Returns:
        The exit status.

    Raises:
        Exception: Whatever a verb raises, with ``--debug``; otherwise nothing.
    """
    args = make_parser().parse_args(arguments)
    _set_up_logging(is_quiet=args.quiet)
    try:
        status: int = args.run(args)
    except KeyboardInterrupt:
        print("volseg: interrupted", file=sys.stderr)
        return INTERRUPTED
    except Exception as error:
        if args.debug:
            raise
        return _report_error(args, error)
    return status


def _report_error(args: argparse.Namespace, error: Exception) -> int:
    known = find_cause(error)
    if isinstance(known, VolsegError | OSError):
        line = " ".join(str(known).split())
    else:
        line = " ".join(f"{type(known).__name__}: {known}; --debug shows where".split())
    print(f"volseg: {line}", file=sys.stderr)
    if args.json:
        print(json.dumps({"error": line}, ensure_ascii=False))
    return 1


def _set_up_logging(*, is_quiet: bool) -> None:
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(message)s")
    logging.getLogger("volseg").setLevel(logging.WARNING if is_quiet else logging.INFO)
    # MONAI looks for a decoder of GPUs whenever it reads a volume, and warns where there is none
    logging.getLogger("monai.data.nvimgcodec_pydicom_plugin").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"(monai|ignite|torch|itk)(\.|$)")


if __name__ == "__main__":
    sys.exit(main())
