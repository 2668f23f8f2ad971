"""``volseg probe``."""

import argparse
from pathlib import Path
from typing import Any

from volseg.cli.options import add_device, add_output, report


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Describe the subcommand."""
    text = "compare what encoders have learned: frozen features against labels"
    parser: argparse.ArgumentParser = subparsers.add_parser("probe", help=text, description=text)
    parser.add_argument(
        "encoders",
        metavar="ENCODER",
        nargs="+",
        help="weights with a card (*.safetensors), a run folder or a bundle; NAME=ENCODER names it."
        " The same network untrained is always a row of its own",
    )
    parser.add_argument(
        "--data", metavar="PATH", type=Path, required=True, help="the cases, as for finetune"
    )
    add_output(parser)
    add_device(parser)
    _add_labels(parser)
    _add_judging(parser)
    return parser


def run(args: argparse.Namespace) -> int:
    """Run the subcommand."""
    from volseg.workflows.probe import ProbeOptions, probe
    from volseg.workflows.probe_labels import Labels, Unit

    labels = Labels(
        args.labels,
        args.column,
        args.from_segmentation,
        args.from_volume,
        args.from_dicom_tag,
        args.series,
        args.graded,
    )
    options = ProbeOptions(
        unit=Unit(args.unit, args.patches),
        pool=args.pool,
        patch_size=args.patch_size and tuple(args.patch_size),
        folds=args.folds,
        repeats=args.repeats,
        only_unseen=args.only_unseen,
        device=args.device,
        seed=args.seed,
        progress=not args.quiet,
    )
    found = probe(args.encoders, args.data, args.output, labels, options, overwrite=args.overwrite)
    return report(args, found, is_good=found.is_complete)


def _add_labels(parser: argparse.ArgumentParser) -> None:
    """Add where labels come from."""
    group = parser.add_argument_group("labels, from one of")
    group.add_argument(
        "--labels",
        metavar="CSV",
        type=Path,
        help="a table with the columns case and label, and perhaps group",
    )
    group.add_argument(
        "--from-segmentation",
        action="store_true",
        help="the classes of the masks: a label for each region, or for each patch by its centre",
    )
    group.add_argument(
        "--from-volume",
        metavar="GRADES",
        type=int,
        help="the volume of the masks, in so many grades of equal number",
    )
    group.add_argument(
        "--from-dicom-tag",
        metavar="KEYWORD",
        help="a DICOM attribute such as Manufacturer, from CASE.json beside each volume, or from"
        " --series",
    )
    group.add_argument(
        "--series", metavar="DIR", type=Path, help="holds the DICOM series of each case, by name"
    )
    group.add_argument(
        "--column", default="label", help="the column of the table's labels (default: label)"
    )
    group.add_argument(
        "--graded", action="store_true", help="the table's labels are numbers whose order counts"
    )


def _add_judging(parser: argparse.ArgumentParser) -> None:
    """Add how features are computed and judged."""
    parser.add_argument(
        "--unit",
        choices=("volume", "patch", "region"),
        help="what is described by one vector (default: region with --from-segmentation, else"
        " volume)",
    )
    parser.add_argument(
        "--patches",
        type=int,
        default=4,
        help="patches of a volume, or of each class with --from-segmentation (default: 4)",
    )
    parser.add_argument(
        "--patch-size",
        metavar="VOXELS",
        type=int,
        nargs=3,
        help="of a patch (default: as the first encoder was trained)",
    )
    parser.add_argument(
        "--pool",
        choices=("mean_std", "max"),
        default="mean_std",
        help="how maps become a vector: mean and spread of the deepest level, or the maximum over"
        " every level (default: mean_std)",
    )
    parser.add_argument("--folds", type=int, default=5, help="that judge (default: 5)")
    parser.add_argument(
        "--repeats", type=int, default=3, help="of the cross-validation (default: 3)"
    )
    parser.add_argument(
        "--only-unseen", action="store_true", help="leave out cases that an encoder was trained on"
    )
    parser.add_argument("--seed", type=int, default=0, help="source of every draw (default: 0)")
