"""Tables of classes: a label a case, given or predicted."""

import csv
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from monai.transforms import MapTransform

from volseg.data.case import Case, stem
from volseg.data.cases import find_cases, require_usable
from volseg.data.splits import select_cases
from volseg.data.tables import read_rows
from volseg.errors import DataError

CHANCE = "p "
"""Before the name of a class: the column of its probability."""


def labels_of_table(table: str | Path, column: str = "label") -> tuple[dict[str, str], list[Case]]:
    """Read labels of cases from a CSV.

    Args:
        table: With the columns ``case`` (or ``name``) and ``label``, and ``group`` if samples of
            one patient are to stay together.
        column: The column of the labels.

    Returns:
        The label of each case, and cases that know nothing but their name and group.

    Raises:
        DataError: If it is no such table, or a case stands in it twice.
    """
    path = Path(table)
    rows = read_rows(path, ("case", "name"))
    if column not in rows[0]:
        raise DataError(f"{path} has no column {column!r}; it has {', '.join(rows[0])}")
    names = [row.get("case") or row.get("name") or "" for row in rows]
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise DataError(f"{path} names {twice[0]!r} {names.count(twice[0])} times; keep one row")
    labels = {
        name: row[column].strip()
        for name, row in zip(names, rows, strict=True)
        if name and (row[column] or "").strip()
    }
    groups = [row.get("group") or row.get("subject group") or None for row in rows]
    return labels, [Case(name, (), None, group) for name, group in zip(names, groups, strict=True)]


def with_groups(cases: Sequence[Case], known: Sequence[Case]) -> list[Case]:
    """Give cases the groups that a table knows.

    Args:
        cases: The cases.
        known: Cases of the same names, with groups.

    Returns:
        The cases; a group that nobody knows stays as it is.
    """
    groups = {case.name: case.group for case in known if case.group}
    return [replace(case, group=groups.get(case.name, case.group)) for case in cases]


def classified_cases(cases: Sequence[Case], table: str | Path, column: str = "label") -> list[Case]:
    """Take the cases that a table gives a label.

    Args:
        cases: The cases.
        table: As for `labels_of_table`.
        column: The column of the labels.

    Returns:
        The labelled cases, in the groups that the table knows.

    Raises:
        DataError: If there is none.
    """
    labels, rows = labels_of_table(table, column)
    found = [case for case in with_groups(cases, rows) if case.name in labels]
    if not found:
        raise DataError(
            f"{table} gives no label to a case (such as {next(iter(labels), 'none')!r} and"
            f" {cases[0].name!r}); use the names of the cases"
        )
    return found


def classified_items(
    source: str | Path,
    table: str | Path,
    classes: Sequence[str],
    split: str | Path | None = None,
    part: str | None = None,
    column: str = "label",
) -> list[dict[str, Any]]:
    """List cases with the number of their class, as MONAI takes them.

    Args:
        source: What `volseg.data.cases.find_cases` takes, one image a case.
        table: As for `labels_of_table`.
        classes: Name of each class, in order.
        split: A split; if there is no such file, the labelled cases are divided by group.
        part: Part of the split, such as ``training``.
        column: The column of the labels.

    Returns:
        ``{"image": path, "label": number}`` for each labelled case.

    Raises:
        DataError: If a label is no class.
    """
    cases = classified_cases(find_cases(source), table, column)
    labels, _ = labels_of_table(table, column)
    if split is not None:
        cases = select_cases(cases, Path(split), part, divides=True)
    items = []
    for case in cases:
        require_usable(replace(case, label=None))
        if labels[case.name] not in classes:
            raise DataError(
                f"{table}: {case.name} has the label {labels[case.name]!r}; the classes are"
                f" {', '.join(classes)}"
            )
        items.append(
            {"image": str(case.images[0]), "label": list(classes).index(labels[case.name])}
        )
    return items


class SaveClassesd(MapTransform):
    """Appends each case's class and probabilities to ``classes.csv``, one line a case.

    Args:
        keys: Keys of the logits, ``(K,)`` each.
        output_dir: Folder of the file; made when the first line is written.
        classes: Name of each class.
        image: Key of the volume that was classified; its metadata names the file.
    """

    def __init__(
        self,
        keys: Sequence[Hashable] | Hashable,
        output_dir: str | Path,
        classes: Sequence[str],
        image: str = "image",
    ) -> None:
        super().__init__(keys)
        self.path = Path(output_dir) / "classes.csv"
        self.classes = [str(name) for name in classes]
        self.image = image

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Write one case.

        Args:
            data: The case.

        Returns:
            The case as it was.

        Raises:
            DataError: If the disk refuses.
        """
        source = getattr(data[self.image], "meta", {}).get("filename_or_obj", "")
        for key in self.key_iterator(dict(data)):
            chances = torch.as_tensor(data[key]).float().softmax(0).tolist()
            best = self.classes[chances.index(max(chances))]
            row = [stem(Path(str(source)).name), best, *(f"{value:.6f}" for value in chances)]
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                is_new = not self.path.exists()
                with self.path.open("a", newline="", encoding="utf-8") as file:
                    writer = csv.writer(file)
                    if is_new:
                        heads = [f"{CHANCE}{name}" for name in self.classes]
                        writer.writerow(["case", "label", *heads])
                    writer.writerow(row)
            except OSError as error:
                raise DataError(f"cannot write {self.path}: {error}") from error
        return dict(data)


def chances_of_table(table: str | Path) -> tuple[list[str], dict[str, list[float]]]:
    """Read the probabilities that were predicted.

    Args:
        table: As `SaveClassesd` writes it.

    Returns:
        Name of each class, and the probabilities of each case.

    Raises:
        DataError: If it is no such table.
    """
    rows = read_rows(Path(table), ("case",))
    classes = [head.removeprefix(CHANCE) for head in rows[0] if head.startswith(CHANCE)]
    if len(classes) < 2:
        raise DataError(f"{table} has no columns of probabilities, such as {CHANCE + '1'!r}")
    try:
        return classes, {
            row["case"]: [float(row[f"{CHANCE}{name}"]) for name in classes] for row in rows
        }
    except (TypeError, ValueError) as error:
        raise DataError(f"{table} holds a probability that is no number: {error}") from error
