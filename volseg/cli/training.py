"""Options of the two subcommands that train."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from volseg.cli.options import add_device, add_output, add_overrides, add_trust

if TYPE_CHECKING:
    from volseg.workflows.training import TrainingOptions


def add_training(parser: argparse.ArgumentParser, presets: str) -> None:
    """Add what both have.

    Args:
        parser: The subcommand's parser.
        presets: What a preset may hold, for the help.
    """
    parser.add_argument(
        "--data",
        metavar="PATH",
        type=Path,
        required=True,
        help="a folder of NIfTI volumes, or an MSD dataset (its folder or dataset.json)",
    )
    add_output(parser)
    add_device(parser)
    add_overrides(parser)
    add_trust(parser)
    parser.add_argument(
        "--preset",
        metavar="NAME",
        dest="presets",
        action="append",
        default=[],
        help=f"values that the bundle keeps under a name, such as {presets}; may be given again,"
        " and --set overrules it",
    )
    parser.add_argument("--seed", type=int, help="source of every draw (default: the bundle's, 0)")
    parser.add_argument(
        "--resume", action="store_true", help="go on with an interrupted run in the output folder"
    )


def training_options(args: argparse.Namespace) -> "TrainingOptions":
    """Collect what both have.

    Args:
        args: The parsed arguments.

    Returns:
        The options.
    """
    from volseg.networks.foreign.layout import Facts
    from volseg.workflows.training import TrainingOptions

    return TrainingOptions(
        device=args.device,
        seed=args.seed,
        resume=args.resume,
        overwrite=args.overwrite,
        progress=not args.quiet,
        is_transductive=getattr(args, "transductive", False),
        facts=Facts.from_values(dict(getattr(args, "facts", ()))),
    )
