"""The demo's page: pictures and tables in one HTML file."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from volseg.workflows.page import Section, Table
from volseg.workflows.page import write_page as write_any_page

LEAD = (
    "Grey and white matter on the MNI152 template: a tiny network pretrained by filling in hidden"
    " blocks, fine-tuned on the front of the head, and tested on the back."
)


def dice_table(scores: Mapping[str, Mapping[str, float]]) -> Table:
    """Lay out the Dice of both arms.

    Args:
        scores: Dice by class by arm.

    Returns:
        One row an arm, one column a class, and their mean.
    """
    classes = list(next(iter(scores.values())))
    rows = [
        [arm, *(f"{dice[name]:.3f}" for name in classes), f"{sum(dice.values()) / len(dice):.3f}"]
        for arm, dice in scores.items()
    ]
    return Table(["Dice on the back", *classes, "mean"], rows)


def write_page(path: Path, sections: Sequence[Section]) -> None:
    """Write the page.

    Args:
        path: The HTML file.
        sections: What to show, in order.
    """
    write_any_page(path, "volseg demo", LEAD, sections)
