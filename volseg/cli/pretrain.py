"""``volseg pretrain``."""

import argparse
from typing import Any

from volseg.cli.options import add_bundle, report
from volseg.cli.training import add_training, training_options


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Describe the subcommand."""
    text = "pretrain an encoder on unlabelled volumes"
    parser: argparse.ArgumentParser = subparsers.add_parser("pretrain", help=text, description=text)
    add_bundle(parser, "masked_volume_pretraining")
    add_training(parser, "a pretext task")
    parser.add_argument(
        "--split",
        metavar="FILE",
        help="split.json, or a bundle that has one, whose validation cases are left out"
        " (default: the bundle's, if it is of these data)",
    )
    return parser


def run(args: argparse.Namespace) -> int:
    """Run the subcommand."""
    from volseg.bundle import Bundle
    from volseg.presets import preset_overrides
    from volseg.workflows.pretrain import pretrain

    bundle = Bundle.find(args.bundle, is_trusted=args.trust)
    presets = preset_overrides(bundle.root, args.presets)
    result = pretrain(
        args.data,
        args.output,
        bundle,
        overrides={**presets, **dict(args.overrides)},
        split=args.split,
        options=training_options(args),
    )
    return report(args, result)
