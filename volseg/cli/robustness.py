"""``volseg robustness``."""

import argparse
from pathlib import Path
from typing import Any

from volseg.cli.options import add_device, add_output, add_trust, report


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Describe the subcommand."""
    text = "measure how segmentations change with the acquisition, for one network or two"
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "robustness", help=text, description=text
    )
    parser.add_argument(
        "bundle",
        metavar="BUNDLE",
        help="a segmentation bundle, or a folder of them: the runs of one way of training",
    )
    parser.add_argument(
        "other", metavar="BUNDLE2", nargs="?", help="another one, to compare the drops with"
    )
    parser.add_argument(
        "--data", metavar="DATA", type=Path, required=True, help="labelled cases, as for finetune"
    )
    add_output(parser)
    _add_what(parser)
    _add_strata(parser)
    parser.add_argument(
        "--tolerance", metavar="MM", type=float, default=1.0, help="of surface Dice (default: 1)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of every draw (default: 0)")
    add_device(parser)
    add_trust(parser)
    return parser


def _add_what(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--shifts",
        metavar="NAME",
        action="extend",
        nargs="+",
        default=[],
        help="shifts to try, such as noise rotation slice-thickness (default: all of the modality)",
    )
    parser.add_argument(
        "--modality", choices=("CT", "MR"), help="which shifts apply (default: the bundle's)"
    )
    parser.add_argument(
        "--split",
        metavar="FILE",
        type=Path,
        help="split.json, or a bundle that has one, whose validation cases are taken (default: the"
        " bundle's if it is of these data, else every labelled case)",
    )
    parser.add_argument("--cases", metavar="N", type=int, help="take the first N cases only")
    parser.add_argument(
        "--before",
        metavar="ENCODER",
        type=Path,
        help="weights of the encoder from which the networks were fine-tuned: how alike is each"
        " level before and after (CKA)",
    )
    parser.add_argument(
        "--worst", metavar="N", type=int, default=4, help="cases shown in pictures (default: 4)"
    )


def _add_strata(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--strata",
        metavar="CSV",
        type=Path,
        help="table with the column 'case' that says how each was acquired: kernel, maker, ...",
    )
    parser.add_argument(
        "--by",
        metavar="COLUMN",
        action="extend",
        nargs="+",
        default=[],
        help="columns of --strata (default: all that hold numbers or few values)",
    )
    parser.add_argument(
        "--tags",
        metavar="KEYWORD",
        action="extend",
        nargs="+",
        default=[],
        help="DICOM attributes to stratify by, such as ConvolutionKernel SliceThickness, read from"
        " NAME.json beside each volume as dcm2niix writes it, or from --series; strata.csv in the"
        " output holds them, to be mended and given as --strata",
    )
    parser.add_argument(
        "--series", metavar="DIR", type=Path, help="holds the DICOM series of each case, by name"
    )


def run(args: argparse.Namespace) -> int:
    """Run the subcommand."""
    from volseg.workflows.robustness import RobustnessOptions, robustness

    found = robustness(
        args.bundle,
        args.data,
        args.output,
        args.other,
        RobustnessOptions(
            shifts=args.shifts,
            modality=args.modality,
            split=args.split,
            cases=args.cases,
            strata=args.strata,
            by=args.by,
            tags=args.tags,
            series=args.series,
            before=args.before,
            tolerance=args.tolerance,
            worst=args.worst,
            seed=args.seed,
            device=args.device,
            overwrite=args.overwrite,
            progress=not args.quiet,
            trust=args.trust,
        ),
    )
    return report(args, found, is_good=found.is_complete)
