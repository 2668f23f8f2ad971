"""Compare masks with references."""

from collections.abc import Mapping
from pathlib import Path

from volseg.bundle import Bundle
from volseg.evaluation.metrics import TOLERANCE
from volseg.evaluation.pairs import find_pairs
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

    Returns:
        The scores; ``is_complete`` tells whether every reference had a usable mask.
    """
    if classes is None and bundle is not None:
        classes = Bundle.find(bundle).classes()
    pairs, unmatched = find_pairs(Path(predictions), Path(references))
    return evaluate_pairs(
        pairs, classes, tolerance=tolerance, unmatched=unmatched, seed=seed, progress=progress
    )
