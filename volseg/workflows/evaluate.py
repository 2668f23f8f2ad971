"""Compare masks with references."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from volseg.bundle import Bundle
from volseg.evaluation.metrics import TOLERANCE
from volseg.evaluation.pairs import find_pairs
from volseg.evaluation.regions import Regions
from volseg.evaluation.report import Report, evaluate_pairs


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


def _with_those_of(bundle: Bundle, regions: Regions) -> Regions:
    """Take a bundle's regions where none were given."""
    own = bundle.raw_config("inference").get("regions")
    return replace(regions, values=own) if own and not regions.values else regions
