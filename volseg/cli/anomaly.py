"""``volseg anomaly``."""

import argparse
from pathlib import Path
from typing import Any

from volseg.cli.options import add_common, add_device, add_output, report


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Describe the subcommand and its own subcommands."""
    text = "learn what normal volumes look like, and map what is unusual in others"
    parser: argparse.ArgumentParser = subparsers.add_parser("anomaly", help=text, description=text)
    inner = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    for add in (_add_train, _add_map, _add_evaluate):
        _add_common(add(inner))
    return parser


def _add_common(parser: argparse.ArgumentParser) -> None:
    """Add what all verbs have; what stands before the action's name counts as well."""
    add_output(parser)
    add_device(parser)
    before = set(vars(parser)["_actions"])
    add_common(parser)
    for action in set(vars(parser)["_actions"]) - before:
        action.default = argparse.SUPPRESS


def run(args: argparse.Namespace) -> int:
    """Run the subcommand."""
    status: int = args.act(args)
    return status


def _add_train(subparsers: Any) -> argparse.ArgumentParser:
    text = "train an autoencoder on normal volumes"
    parser: argparse.ArgumentParser = subparsers.add_parser("train", help=text, description=text)
    parser.add_argument(
        "--data", metavar="NORMALS", type=Path, required=True, help="normal volumes of one contrast"
    )
    parser.add_argument(
        "--bottleneck",
        choices=("transformer", "convolution"),
        default="transformer",
        help="what stands between encoder and decoder; convolution is the plain control"
        " (default: transformer)",
    )
    parser.add_argument(
        "--spacing", metavar="MM", type=float, default=2.0, help="of its grid (default: 2)"
    )
    parser.add_argument(
        "--size", metavar="VOXELS", type=int, default=32, help="of its crops (default: 32)"
    )
    parser.add_argument("--steps", metavar="N", type=int, default=600, help="(default: 600)")
    parser.add_argument("--seed", type=int, default=0, help="of every draw (default: 0)")
    parser.set_defaults(act=_train)
    return parser


def _train(args: argparse.Namespace) -> int:
    from volseg.engines.anomaly import AnomalyTraining
    from volseg.workflows.anomaly_train import AnomalySettings, train_anomaly

    training = AnomalyTraining(size=(args.size,) * 3, steps=args.steps, seed=args.seed)
    settings = AnomalySettings(
        bottleneck=args.bottleneck,
        spacing=args.spacing,
        training=training,
        device=args.device,
        overwrite=args.overwrite,
        progress=not args.quiet,
    )
    return report(args, train_anomaly(args.data, args.output, settings))


def _add_map(subparsers: Any) -> argparse.ArgumentParser:
    text = "map what is unusual in scans"
    parser: argparse.ArgumentParser = subparsers.add_parser("map", help=text, description=text)
    parser.add_argument(
        "inputs", metavar="SCANS", nargs="+", type=Path, help="files and folders, as for segment"
    )
    parser.add_argument(
        "--model", metavar="RUN", type=Path, required=True, help="what 'anomaly train' has left"
    )
    parser.set_defaults(act=_map)
    return parser


def _map(args: argparse.Namespace) -> int:
    from volseg.workflows.anomaly_map import map_anomaly

    found = map_anomaly(
        args.inputs, args.model, args.output, device=args.device, overwrite=args.overwrite
    )
    return report(args, found, is_good=found.is_complete)


def _add_evaluate(subparsers: Any) -> argparse.ArgumentParser:
    text = "compare anomaly maps with labelled lesions, and with the intensities alone"
    parser: argparse.ArgumentParser = subparsers.add_parser("evaluate", help=text, description=text)
    parser.add_argument(
        "--data",
        metavar="DATA",
        type=Path,
        required=True,
        help="labelled cases, as for finetune; all but 0 is lesion, an empty label is normal",
    )
    parser.add_argument(
        "--model",
        metavar="RUN",
        type=Path,
        action="extend",
        nargs="+",
        required=True,
        help="what 'anomaly train' has left, or a folder of such runs with other seeds; several"
        " are compared",
    )
    parser.set_defaults(act=_evaluate)
    return parser


def _evaluate(args: argparse.Namespace) -> int:
    from volseg.workflows.anomaly_evaluate import evaluate_anomaly

    found = evaluate_anomaly(
        args.data,
        args.model,
        args.output,
        device=args.device,
        overwrite=args.overwrite,
        progress=not args.quiet,
    )
    return report(args, found, is_good=found.is_complete)
