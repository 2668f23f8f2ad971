"""Cases to train a cavity segmenter on: healthy heads, and real cavities if there are some."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from volseg.data.cases import Case, find_cases, select_cases
from volseg.data.volumes import read_grid, require_same_grid
from volseg.errors import DataError
from volseg.transforms.resection.contrast import CONTRASTS
from volseg.transforms.resection.naming import guess_contrast


def simulation_items(
    source: str | Path | Sequence[Case],
    split: str | Path | None = None,
    part: str | None = None,
    draws: int = 1,
) -> list[dict[str, Any]]:
    """List cases whose resections are simulated, and labelled ones.

    A case without a label is a healthy head: a scan, a label map of its structures, or both. A case
    with a label is a scan of a real cavity, and is used as it is.

    Args:
        source: What `volseg.data.cases.find_cases` takes, or cases.
        split: A file that `volseg.data.splits.write_split` wrote; `None` takes every case.
        part: Part of the split, such as ``training``.
        draws: How many items a healthy case makes; their resections differ, for validation.

    Returns:
        For each case its files that there are, under ``image``, ``labels`` (of its structures),
        ``brain`` and ``label`` (of its cavity); the ``contrast`` of its image; and ``draw``, the
        number of the resection.
    """
    cases = find_cases(source) if isinstance(source, (str, Path)) else list(source)
    if split is not None:
        cases = select_cases(cases, Path(split), part)
    items: list[dict[str, Any]] = []
    for case in cases:
        require_one_grid(case)
        times = draws if case.label is None else 1
        items.extend({**_item(case), "draw": draw} for draw in range(times))
    return items


def require_one_grid(case: Case) -> None:
    """Refuse a case of several channels, or whose files do not lie on one grid.

    Args:
        case: The case; headers are read.

    Raises:
        DataError: If a file cannot be read, or the case has more than one image, or a label or a
            brain mask without one.
    """
    if len(case.images) > 1:
        raise DataError(
            f"{case.name} has {len(case.images)} channels; a cavity is found in any one sequence,"
            " so list each as a case of its own, of one group"
        )
    if not case.images and (case.label is not None or case.brain is not None):
        raise DataError(f"{case.name} has a label or a brain mask and no image that it is of")
    grids = [read_grid(path) for path in case.files]
    for grid in grids[1:]:
        require_same_grid(grids[0], grid)


def _item(case: Case) -> dict[str, Any]:
    files = {
        "image": case.images[0] if case.images else None,
        "labels": case.anatomy,
        "brain": case.brain,
        "label": case.label,
    }
    name = case.images[0].name if case.images else case.name
    contrast = case.contrast or guess_contrast(name)
    if contrast not in CONTRASTS:
        known = ", ".join(CONTRASTS)
        raise DataError(f"{case.name} has the contrast {contrast!r}; use one of {known}, or none")
    return {
        **{key: str(path) for key, path in files.items() if path is not None},
        "contrast": contrast,
    }
