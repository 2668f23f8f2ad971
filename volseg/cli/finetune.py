"""``volseg finetune``."""

import argparse
from pathlib import Path
from typing import Any

from volseg.cli.options import add_bundle, add_facts, report
from volseg.cli.training import add_training, training_options

SCHEDULES = ("scratch", "warmup", "sawtooth", "llrd", "frozen")


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Describe the subcommand."""
    text = "train a segmenter, classifier or detector, from a pretrained encoder or from scratch"
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
    _add_curve(parser)
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
    from volseg.errors import DataError
    from volseg.presets import preset_overrides
    from volseg.workflows.finetune import finetune

    bundle = Bundle.find(args.bundle, is_trusted=args.trust)
    presets = preset_overrides(bundle.root, args.presets)
    overrides = {**presets, **dict(args.overrides)}
    options = training_options(args)
    if args.cases is not None:
        from volseg.workflows.curve_arms import Curve
        from volseg.workflows.label_curve import label_curve

        seeds = 4 if args.seeds is None else args.seeds
        controls = dict(args.controls)
        curve = Curve(
            args.cases, seeds, args.encoder, args.schedule, overrides, args.split, controls,
            args.longer,
        )  # fmt: skip
        return report(args, label_curve(args.data, args.output, bundle, curve, options))
    if args.seeds is not None:
        raise DataError("--seeds goes with --cases; --seed N is the seed of one training")
    if args.controls or args.longer:
        raise DataError("--control and --longer go with --cases: they are arms of a curve")
    result = finetune(
        args.data,
        args.output,
        bundle,
        encoder=args.encoder,
        schedule=args.schedule,
        overrides=overrides,
        split=args.split,
        options=options,
    )
    return report(args, result)


def _add_curve(parser: argparse.ArgumentParser) -> None:
    """Add what makes a label-efficiency curve of a training."""
    parser.add_argument(
        "--cases",
        metavar="N",
        type=int,
        action="extend",
        nargs="+",
        help="train with so few labelled cases, again and again, beside the same from scratch, and"
        " draw the curve; 0 means all",
    )
    parser.add_argument(
        "--seeds", metavar="K", type=int, help="seeds for each number of cases (default: 4)"
    )
    parser.add_argument(
        "--control",
        dest="controls",
        metavar="NAME=FILE",
        type=_parse_control,
        action="append",
        default=[],
        help="with --cases: another encoder as one more arm, such as an autoencoder's; may be given"
        " again",
    )
    parser.add_argument(
        "--longer",
        action="store_true",
        help="with --cases: one more arm from scratch, with the steps of pretraining and"
        " fine-tuning together",
    )


def _parse_control(text: str) -> tuple[str, Path]:
    """Split ``NAME=FILE``."""
    name, _, path = text.partition("=")
    if not name or not path:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=FILE")
    return name, Path(path)
