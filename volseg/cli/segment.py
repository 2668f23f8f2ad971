"""``volseg segment``."""

import argparse
from pathlib import Path
from typing import Any

from volseg.cli.options import (
    add_bundle,
    add_device,
    add_output,
    add_overrides,
    add_trust,
    parse_names,
    report,
)


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Describe the subcommand."""
    text = "segment files, folders and data sets, each image on its own grid"
    parser: argparse.ArgumentParser = subparsers.add_parser("segment", help=text, description=text)
    parser.add_argument(
        "inputs",
        metavar="INPUT",
        nargs="+",
        type=Path,
        help="NIfTI, NRRD, MetaImage or DICOM: files, folders, patterns, CSV or TSV lists,"
        " dataset.json, nnU-Net and BIDS data sets",
    )
    add_bundle(parser)
    add_output(parser)
    add_device(parser, are_several=True)
    parser.add_argument(
        "--cluster",
        metavar="ADDRESS",
        help="segment on the workers of the Dask scheduler at this address, such as"
        " tcp://host:8786; the workers must see the same folders under the same paths",
    )
    _add_layout(parser)
    _add_batch(parser)
    _add_computation(parser)
    parser.add_argument(
        "--stage",
        choices=("preop", "postop", "auto"),
        help="for a bundle that guards against implausible cavities: before surgery every cavity is"
        " removed, after it none, auto weighs each part (default: what the bundle says)",
    )
    add_overrides(parser)
    add_trust(parser)
    return parser


def run(args: argparse.Namespace) -> int:
    """Run the subcommand."""
    from volseg.bundle import Bundle
    from volseg.inference.memory import Ceiling
    from volseg.workflows.segment import Batch, forecast_segment, segment

    batch = Batch(
        channel_map=dict(args.channels),
        layout="bids" if args.bids else args.layout,
        ending=args.format,
        ceiling=Ceiling(args.max_memory, args.max_gpu_memory),
        resume=args.resume,
        report=args.report,
        progress=not args.quiet,
        precision=args.precision,
        tta=args.tta,
        maps=args.maps,
        cluster=args.cluster,
    )
    bundle = Bundle.find(args.bundle, is_trusted=args.trust)
    work = (args.inputs, bundle, args.output, dict(args.overrides), args.device)
    if args.dry_run:
        return report(args, forecast_segment(*work, batch=batch, overwrite=args.overwrite))
    summary = segment(*work, args.stage, batch=batch, overwrite=args.overwrite)
    return report(args, summary, is_good=summary.is_complete)


def _add_batch(parser: argparse.ArgumentParser) -> None:
    """Add how the batch is held and written."""
    parser.add_argument(
        "--resume",
        action="store_true",
        help="go on with an interrupted run: what is done and still valid is left as it is",
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="say what would be read and written, and about how long it would take; write nothing",
    )
    parser.add_argument(
        "--format",
        default="nii.gz",
        choices=("nii.gz", "seg.nrrd", "dcm"),
        help="format of the masks (default: nii.gz); dcm is DICOM-SEG, for DICOM series only",
    )
    for name, what in (("memory", "the process"), ("gpu-memory", "the GPU")):
        parser.add_argument(
            f"--max-{name}",
            metavar="SIZE",
            type=_parse_bytes,
            help=f"ceiling of the memory of {what}, such as 4G",
        )
    parser.add_argument(
        "--no-report", dest="report", action="store_false", help="write no report.html"
    )


def _add_computation(parser: argparse.ArgumentParser) -> None:
    """Add how the network is applied, and what is kept beside the labels."""
    parser.add_argument(
        "--maps",
        metavar="MAP,...",
        type=parse_names,
        default=(),
        help="write maps beside each mask: any of probabilities, entropy and variance",
    )
    parser.add_argument(
        "--tta",
        default="none",
        choices=("none", "flips"),
        help="test-time augmentation: look at flipped windows too, along the axes that the bundle"
        " declares safe (default: none)",
    )
    parser.add_argument(
        "--precision",
        default="auto",
        choices=("auto", "float32", "bfloat16", "float16"),
        help="of products in the network (default: auto, bfloat16 on a GPU that computes it, else"
        " float32)",
    )


def _add_layout(parser: argparse.ArgumentParser) -> None:
    """Add how inputs are understood."""
    parser.add_argument(
        "--layout",
        default="auto",
        choices=("auto", "folder", "decathlon", "nnunet", "bids"),
        help="what input folders are (default: auto, which looks)",
    )
    parser.add_argument(
        "--bids", action="store_true", help="read a BIDS data set and write BIDS derivatives"
    )
    parser.add_argument(
        "--channel",
        metavar="NAME=END",
        dest="channels",
        type=_parse_channel,
        action="append",
        default=[],
        help="which files show a channel: the end of their names, or a pattern; once a channel",
    )


def _parse_bytes(text: str) -> int:
    """Read an amount of memory."""
    from volseg.inference.memory import parse_bytes

    try:
        return parse_bytes(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _parse_channel(text: str) -> tuple[str, str]:
    """Split ``NAME=END``."""
    name, equals, end = text.partition("=")
    if not equals or not name or not end:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=END, such as t1c=_T1_Gd")
    return name, end
