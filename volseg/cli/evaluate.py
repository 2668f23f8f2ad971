"""``volseg evaluate``."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from volseg.cli.options import report


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Describe the subcommand."""
    text = "compare masks, or tables of classes, with references"
    parser: argparse.ArgumentParser = subparsers.add_parser("evaluate", help=text, description=text)
    parser.add_argument(
        "predictions",
        metavar="PRED",
        type=Path,
        help="a mask, a folder of masks, or a table (*.csv) of classes or, with --lesions, boxes",
    )
    parser.add_argument(
        "references",
        metavar="REF",
        type=Path,
        help="a reference, a folder of references with the masks' names, or a table of labels",
    )
    parser.add_argument("--bundle", metavar="NAME", help="bundle whose class names to use")
    _add_values(parser)
    parser.add_argument(
        "--tolerance", metavar="MM", type=float, default=1.0, help="of surface Dice (default: 1)"
    )
    _add_lesions(parser)
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap (default: 0)")
    _add_page(parser)
    return parser


def run(args: argparse.Namespace) -> int:
    """Run the subcommand."""
    if args.output is not None:
        from volseg.workflows.evaluate_report import require_free

        require_free(args.output, overwrite=args.overwrite)
    is_table = args.predictions.suffix == ".csv"
    if args.lesions is not None:
        return _run_boxes(args) if is_table else _run_lesions(args)
    return _run_grades(args) if is_table else _run_masks(args)


def _run_masks(args: argparse.Namespace) -> int:
    """Score masks, class by class."""
    from volseg.evaluation.regions import Regions
    from volseg.workflows.evaluate import evaluate
    from volseg.workflows.evaluate_report import mask_sections

    found = evaluate(
        args.predictions,
        args.references,
        bundle=args.bundle,
        tolerance=args.tolerance,
        seed=args.seed,
        progress=not args.quiet,
        regions=Regions(dict(args.regions), dict(args.relabel)),
    )
    return _end(args, found, mask_sections)


def _run_grades(args: argparse.Namespace) -> int:
    """Score a table of classes or grades."""
    from volseg.workflows.evaluate import evaluate_grades
    from volseg.workflows.evaluate_report import class_sections

    graded = evaluate_grades(args.predictions, args.references, seed=args.seed)
    return _end(args, graded, class_sections)


def _run_lesions(args: argparse.Namespace) -> int:
    """Score masks, lesion by lesion."""
    from volseg.workflows.evaluate_report import lesion_sections
    from volseg.workflows.lesions import Criterion, evaluate_lesions

    what = Criterion(args.lesions, args.overlap, args.least_ml)
    counted = evaluate_lesions(args.predictions, args.references, what, args.groups, seed=args.seed)
    return _end(args, counted, lesion_sections)


def _run_boxes(args: argparse.Namespace) -> int:
    """Score a table of boxes."""
    from volseg.workflows.box_evaluate import evaluate_boxes
    from volseg.workflows.evaluate_report import box_sections
    from volseg.workflows.lesions import Criterion

    what = Criterion(args.lesions, least_ml=args.least_ml)
    found = evaluate_boxes(
        args.predictions, args.references, what, args.iou, args.groups, seed=args.seed
    )
    return _end(args, found, box_sections)


def _end(args: argparse.Namespace, found: Any, sections_of: Callable[[Any], Sequence[str]]) -> int:
    """Write the page, if there is to be one, and print the table."""
    if args.output is not None:
        from volseg.workflows.evaluate_report import write_report

        settings = {name: value for name, value in vars(args).items() if name != "run"}
        write_report(args.output, found, sections_of(found), settings)
    return report(args, found, found.table(), is_good=found.is_complete)


def _add_values(parser: argparse.ArgumentParser) -> None:
    """Add what label values mean."""
    parser.add_argument(
        "--regions",
        metavar="NAME=VALUES",
        action="extend",
        nargs="+",
        type=_parse("parse_region"),
        default=[],
        help="unions of label values to score as well, such as WT=1,2,3 TC=1,3 ET=3 (default: those"
        " of the bundle)",
    )
    parser.add_argument(
        "--relabel",
        metavar="OLD=NEW",
        action="extend",
        nargs="+",
        type=_parse("parse_relabel"),
        default=[],
        help="label values of the references that mean another class there, such as 4=3",
    )


def _add_page(parser: argparse.ArgumentParser) -> None:
    """Add where the page goes, if there is to be one."""
    parser.add_argument(
        "--output", metavar="DIR", type=Path, help="write report.html and results.json there"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace those that are there")


def _add_lesions(parser: argparse.ArgumentParser) -> None:
    """Add what counts as a lesion."""
    lesions = parser.add_argument_group("lesion by lesion")
    lesions.add_argument(
        "--lesions",
        metavar="VALUE",
        type=int,
        action="extend",
        nargs="*",
        help="count connected lesions of these label values together (default: all but 0), instead"
        " of scoring classes; with FROC if maps of probabilities lie beside the masks",
    )
    lesions.add_argument(
        "--overlap",
        metavar="SHARE",
        type=float,
        default=0.0,
        help="share of a lesion that must be covered to count as found (default: 0, one voxel)",
    )
    lesions.add_argument(
        "--iou",
        metavar="SHARE",
        type=float,
        default=0.3,
        help="for boxes: least intersection over union with the lesion that one finds"
        " (default: 0.3)",
    )
    lesions.add_argument(
        "--least-ml", metavar="ML", type=float, default=0.0, help="leave out smaller lesions"
    )
    lesions.add_argument(
        "--groups",
        metavar="CSV",
        type=Path,
        help="a table with the columns case (or name) and group",
    )


def _parse(name: str) -> Callable[[str], Any]:
    """Name a function that reads an option; it loads when it is needed, and says what is wrong."""

    def parse(text: str) -> Any:
        from volseg.evaluation import regions

        try:
            return getattr(regions, name)(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return parse
