"""Cases to train a tumour segmenter on: healthy heads, and real tumours if there are some."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from volseg.data.cases import Case, find_cases, select_cases
from volseg.data.volumes import check_label, read_grid, require_same_grid
from volseg.errors import DataError


def tumour_items(
    source: str | Path | Sequence[Case],
    channels: Sequence[str],
    split: str | Path | None = None,
    part: str | None = None,
    draws: int = 1,
) -> list[dict[str, Any]]:
    """List healthy cases, in which tumours are simulated, and labelled ones.

    A case without a label is a healthy head: its sequences, a label map of its structures, or both.
    A case with a label is one of a real tumour, and is used as it is.

    Args:
        source: What `volseg.data.cases.find_cases` takes, or cases.
        channels: What a network takes, in its order; a case may lack some of them.
        split: A file that `volseg.data.splits.write_split` wrote; `None` takes every case.
        part: Part of the split, such as ``training``.
        draws: How many items a healthy case makes; their tumours differ, for validation.

    Returns:
        For each case its files that there are, under ``image`` (a list), ``labels`` (of its
        structures), ``brain`` and ``label`` (of its tumour); the names of its ``channels``; and
        ``draw``, the number of the tumour.
    """
    cases = (
        find_cases(source, None, channels, optional_channels=True)
        if isinstance(source, (str, Path))
        else list(source)
    )
    if split is not None:
        cases = select_cases(cases, Path(split), part, divides=True)
    found: list[dict[str, Any]] = []
    for case in cases:
        require_one_grid(case)
        item = _item(case)
        times = draws if case.label is None else 1
        found.extend({**item, "draw": draw} for draw in range(times))
    return found


def require_one_grid(case: Case) -> None:
    """Refuse a case whose files do not lie on one grid, or a label without an image.

    Args:
        case: The case; headers are read, and the label as a whole.

    Raises:
        DataError: If a label or a brain mask has no image that it is of.
    """
    if not case.images and (case.label is not None or case.brain is not None):
        raise DataError(f"{case.name} has a label or a brain mask and no image that it is of")
    grids = [read_grid(path) for path in case.files]
    for grid in grids[1:]:
        require_same_grid(grids[0], grid)
    if case.label is not None:
        check_label(grids[0], case.label, None)


def _item(case: Case) -> dict[str, Any]:
    files = {"labels": case.anatomy, "brain": case.brain, "label": case.label}
    item: dict[str, Any] = {k: str(path) for k, path in files.items() if path is not None}
    if case.images:
        item["image"] = [str(path) for path in case.images]
        item["channels"] = list(case.channels)
    return item
