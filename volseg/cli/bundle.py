"""``volseg bundle``."""

import argparse
from pathlib import Path
from typing import Any

from volseg.cli.options import (
    add_common,
    add_output,
    add_trust,
    parse_names,
    parse_numbers,
    parse_size,
    report,
)


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Describe the subcommand and its own subcommands."""
    text = "list, check, pack, export, compress and make bundles"
    parser: argparse.ArgumentParser = subparsers.add_parser("bundle", help=text, description=text)
    inner = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    for add in (_add_new, _add_list, _add_check, _add_pack, _add_export, _add_compress):
        _add_common(add(inner))
    return parser


def _add_common(parser: argparse.ArgumentParser) -> None:
    """Add what all verbs have; what stands before the action's name counts as well."""
    before = set(vars(parser)["_actions"])
    add_common(parser)
    for action in set(vars(parser)["_actions"]) - before:
        action.default = argparse.SUPPRESS


def run(args: argparse.Namespace) -> int:
    """Run the subcommand."""
    status: int = args.act(args)
    return status


def _add_list(subparsers: Any) -> argparse.ArgumentParser:
    text = "list the bundles that come with volseg, and those in folders"
    parser: argparse.ArgumentParser = subparsers.add_parser("list", help=text, description=text)
    parser.add_argument(
        "folders",
        metavar="FOLDER",
        nargs="*",
        type=Path,
        help="a bundle, or a folder that holds some",
    )
    parser.set_defaults(act=_list)
    return parser


def _list(args: argparse.Namespace) -> int:
    from volseg.workflows.bundles.listing import list_bundles

    return report(args, list_bundles(args.folders))


def _add_check(subparsers: Any) -> argparse.ArgumentParser:
    text = "say in words what is wrong with a bundle, all of it; nothing of it is run"
    parser: argparse.ArgumentParser = subparsers.add_parser("check", help=text, description=text)
    parser.add_argument("bundle", metavar="PATH", help="a bundle's folder, zip file or name")
    add_trust(parser)
    parser.set_defaults(act=_check)
    return parser


def _check(args: argparse.Namespace) -> int:
    from volseg.bundle import Bundle
    from volseg.workflows.bundles.check import check_bundle

    folder = Path(args.bundle)
    if folder.is_dir():  # also one that lacks what makes it a bundle, to say so
        found = Bundle(folder.resolve(), is_trusted=args.trust)
    else:
        found = Bundle.find(args.bundle, is_trusted=args.trust)
    checked = check_bundle(found)
    return report(args, checked, is_good=checked.is_sound)


def _add_new(subparsers: Any) -> argparse.ArgumentParser:
    text = "make a segmentation bundle to be trained"
    parser: argparse.ArgumentParser = subparsers.add_parser("new", help=text, description=text)
    parser.add_argument("name", metavar="NAME", help="its name, with 'segmentation' in it")
    add_output(parser)
    parser.add_argument(
        "--channels",
        metavar="NAME,...",
        type=parse_names,
        help="what the network takes, such as T1,FLAIR (default: MRI)",
    )
    parser.add_argument(
        "--classes",
        metavar="NAME,...",
        type=parse_names,
        help="what it segments, without the background, by label value (default: foreground)",
    )
    parser.add_argument(
        "--spacing",
        metavar="MM,MM,MM",
        type=_parse_spacing,
        help="voxel edges, or 'native' for each volume's own (default: 1,1,1)",
    )
    parser.add_argument(
        "--patch-size",
        metavar="D,H,W",
        type=parse_size,
        help="voxels of a training crop (default: 64,64,64)",
    )
    parser.add_argument("--network", help="tiny, small, base or large (default: small)")
    parser.add_argument(
        "--window",
        metavar="LOWER,UPPER",
        type=_parse_window,
        help="intensities that matter, in HU for CT (default: as in MRI, standardise each volume);"
        " write --window=-100,300 if the first is negative",
    )
    parser.set_defaults(act=_new)
    return parser


def _new(args: argparse.Namespace) -> int:
    from volseg.workflows.bundles.new import Design, new_bundle

    names = ("channels", "classes", "patch_size", "network", "window")
    given = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    if args.spacing is not None:
        given["spacing"] = args.spacing or None
    design = Design(**given)
    return report(args, new_bundle(args.name, args.output, design, overwrite=args.overwrite))


def _add_pack(subparsers: Any) -> argparse.ArgumentParser:
    text = "write a bundle as a folder for Hugging Face and as a zip file"
    parser: argparse.ArgumentParser = subparsers.add_parser("pack", help=text, description=text)
    parser.add_argument("bundle", metavar="PATH", help="a bundle's folder, zip file or name")
    add_output(parser)
    parser.add_argument(
        "--repository",
        metavar="OWNER/NAME",
        default="",
        help="where it will lie on Hugging Face, for the addresses in large_files.yml",
    )
    add_trust(parser)
    parser.set_defaults(act=_pack)
    return parser


def _pack(args: argparse.Namespace) -> int:
    from volseg.bundle import Bundle
    from volseg.workflows.bundles.pack import pack_bundle

    found = Bundle.find(args.bundle, is_trusted=args.trust)
    packed = pack_bundle(found, args.output, args.repository, overwrite=args.overwrite)
    return report(args, packed)


def _add_export(subparsers: Any) -> argparse.ArgumentParser:
    text = "write a bundle's network as ONNX, torch.export and TorchScript, and compare"
    parser: argparse.ArgumentParser = subparsers.add_parser("export", help=text, description=text)
    parser.add_argument("bundle", metavar="PATH", help="a bundle's folder, zip file or name")
    add_output(parser)
    parser.add_argument(
        "--format",
        dest="formats",
        metavar="FORMAT,...",
        type=parse_names,
        help="any of onnx, pt2 and torchscript (default: all)",
    )
    parser.add_argument(
        "--size",
        metavar="D,H,W",
        type=parse_size,
        help="voxels of the volume that is tried (default: the bundle's patch)",
    )
    parser.add_argument(
        "--tolerance",
        type=float,
        metavar="FRACTION",
        help="largest difference from PyTorch that is taken, as a fraction of the largest logit"
        " (default: 1e-4)",
    )
    add_trust(parser)
    parser.set_defaults(act=_export)
    return parser


def _export(args: argparse.Namespace) -> int:
    from volseg.bundle import Bundle
    from volseg.workflows.bundles.export import export_bundle

    names = ("formats", "size", "tolerance")
    given = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    found = Bundle.find(args.bundle, is_trusted=args.trust)
    exported = export_bundle(found, args.output, **given, overwrite=args.overwrite)
    return report(args, exported, is_good=exported.is_complete)


def _add_compress(subparsers: Any) -> argparse.ArgumentParser:
    text = "write a bundle whose network has its trained layers in factors, with fewer parameters"
    parser: argparse.ArgumentParser = subparsers.add_parser("compress", help=text, description=text)
    parser.add_argument("bundle", metavar="PATH", help="a bundle's folder, zip file or name")
    add_output(parser)
    parser.add_argument("--method", help="cp, tucker or tt (default: tucker)")
    parser.add_argument(
        "--budget",
        type=float,
        metavar="FRACTION",
        help="parameters to keep at most, as a fraction of the network's (default: 0.3)",
    )
    parser.add_argument(
        "--data",
        metavar="DATA",
        type=Path,
        help="labelled cases on which both networks are scored: those that the bundle's split has"
        " for validation, if it is of these data (default: Dice is not measured)",
    )
    parser.add_argument(
        "--cases", metavar="N", dest="most", type=int, help="with --data: so many at most"
    )
    add_trust(parser)
    parser.set_defaults(act=_compress)
    return parser


def _compress(args: argparse.Namespace) -> int:
    from volseg.bundle import Bundle
    from volseg.workflows.bundles.compress import compress_bundle

    names = ("method", "budget", "data", "most")
    given = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    found = Bundle.find(args.bundle, is_trusted=args.trust)
    made = compress_bundle(found, args.output, **given, overwrite=args.overwrite)
    return report(args, made)


def _parse_spacing(text: str) -> tuple[float, ...]:
    """Read three lengths; no length at all keeps each volume's own."""
    return () if text == "native" else parse_numbers(text, 3)


def _parse_window(text: str) -> tuple[float, ...]:
    """Read two intensities."""
    return parse_numbers(text, 2)
