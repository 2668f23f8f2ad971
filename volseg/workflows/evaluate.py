"""Compare masks with references."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from volseg.bundle import Bundle
from volseg.data.class_tables import chances_of_table, labels_of_table
from volseg.evaluation.metrics import TOLERANCE
from volseg.evaluation.pairs import find_pairs
from volseg.evaluation.regions import Regions
from volseg.evaluation.report import Report, evaluate_pairs

if TYPE_CHECKING:
    from volseg.evaluation.classes import ClassReport


def evaluate(
    predictions: str | Path,
    references: str | Path,
    classes: Mapping[int, str] | None = None,
    bundle: str | Path | None = None,
    tolerance: float = TOLERANCE,
    *,
    seed: int = 0,
    progress: bool = False,
    regions: Regions | None = None,
) -> Report:
    """Compare masks with references: Dice, HD95 and surface Dice of every class and case.

    Args:
        predictions: A mask, or a folder of masks.
        references: A reference, or a folder of references with the masks' names.
        classes: Name of each label value; `None` takes the bundle's.
        bundle: Bundle whose class names to use; `None` scores every value that occurs.
        tolerance: Tolerance of surface Dice, in mm.
        seed: Of the bootstrap.
        progress: Whether to draw a bar on stderr.
        regions: What is scored beside the classes, and how the values of references are read; where
            it names no region, those of the bundle are taken, if it has some.

    Returns:
        The scores; ``is_complete`` tells whether every reference had a usable mask.
    """
    if bundle is not None:
        found = Bundle.find(bundle)
        classes = found.classes() if classes is None else classes
        regions = _with_those_of(found, regions or Regions())
    pairs, unmatched = find_pairs(Path(predictions), Path(references))
    return evaluate_pairs(
        pairs,
        classes,
        tolerance=tolerance,
        unmatched=unmatched,
        seed=seed,
        progress=progress,
        regions=regions,
    )


def evaluate_grades(
    predictions: str | Path, references: str | Path, column: str = "label", seed: int = 0
) -> "ClassReport":
    """Score predicted classes or grades: balanced accuracy, AUC and, for numbers, quadratic kappa.

    Args:
        predictions: The table ``classes.csv`` that a bundle for classification writes.
        references: A table with the columns ``case`` and ``column``, and perhaps ``group``.
        column: The column of the labels.
        seed: Of the bootstrap over groups.

    Returns:
        The scores with intervals.
    """
    from volseg.workflows.probe import require_probe_extra

    require_probe_extra()
    from volseg.evaluation.classes import evaluate_classes

    classes, chances = chances_of_table(predictions)
    labels, rows = labels_of_table(references, column)
    groups = {case.name: case.group for case in rows if case.group}
    return evaluate_classes(chances, labels, classes, groups, seed)


def _with_those_of(bundle: Bundle, regions: Regions) -> Regions:
    """Take a bundle's regions where none were given."""
    own = bundle.raw_config("inference").get("regions")
    return replace(regions, values=own) if own and not regions.values else regions
