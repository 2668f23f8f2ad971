"""Tables of cases in CSV files."""

import csv
from collections.abc import Sequence
from pathlib import Path

from volseg.errors import DataError


def read_rows(table: Path, needed: Sequence[str]) -> list[dict[str, str]]:
    """Read a CSV with a header.

    Args:
        table: The file.
        needed: Columns, one of which must have a value somewhere.

    Returns:
        The value of each column, row by row.

    Raises:
        DataError: If it is no such table.
    """
    rows, _ = read_table(table)
    if not any(row.get(column) for row in rows for column in needed):
        names = " or ".join(map(repr, needed))
        raise DataError(f"{table} has no row, or none under the column {names}")
    return rows


def read_table(table: Path) -> tuple[list[dict[str, str]], list[str]]:
    """Read a CSV with a header, which may have no rows.

    Args:
        table: The file.

    Returns:
        The value of each column, row by row; and the columns.

    Raises:
        DataError: If it cannot be read as CSV.
    """
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            return list(reader), list(reader.fieldnames or ())
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{table} cannot be read as CSV: {error}") from error
