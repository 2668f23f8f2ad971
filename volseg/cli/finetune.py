"""``volseg finetune``."""

import argparse
from pathlib import Path
from typing import Any

from volseg.cli.options import add_bundle, add_facts, report
from volseg.cli.training import add_training, training_options

SCHEDULES = ("scratch", "warmup", "sawtooth", "llrd", "frozen")


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Describe the subcommand."""
    text = "train a segmenter, from a pretrained encoder or from scratch"
    parser: argparse.ArgumentParser = subparsers.add_parser("finetune", help=text, description=text)
    add_bundle(parser)
    add_training(parser, "those of a data set or of a network")
    parser.add_argument(
        "--encoder",
        metavar="FILE",
        type=Path,
        help="weights of a pretrained encoder, of MONAI, nnssl or SMIT too; without it training"
        " starts from scratch",
    )
    add_facts(parser)
    parser.add_argument(
        "--transductive",
        action="store_true",
        help="allow an encoder that was pretrained on images of validation cases",
    )
    parser.add_argument(
        "--schedule",
        choices=SCHEDULES,
        help="learning-rate schedule (default: the bundle's)",
    )
    parser.add_argument(
        "--split",
        metavar="FILE",
        help="split.json, or a bundle that has one, that names training and validation cases"
        " (default: the bundle's if it is of these data, else a fifth of the groups validates)",
    )
    return parser


def run(args: argparse.Namespace) -> int:
    """Run the subcommand."""
    from volseg.bundle import Bundle
    from volseg.presets import preset_overrides
    from volseg.workflows.finetune import finetune

    bundle = Bundle.find(args.bundle, is_trusted=args.trust)
    presets = preset_overrides(bundle.root, args.presets)

    result = finetune(
        args.data,
        args.output,
        bundle,
        encoder=args.encoder,
        schedule=args.schedule,
        overrides={**presets, **dict(args.overrides)},
        split=args.split,
        options=training_options(args),
    )
    return report(args, result)
