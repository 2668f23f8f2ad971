"""The page and the figures that stand beside a table, under its name, and what was run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from volseg.errors import DataError
from volseg.workflows.pages import write_result_page
from volseg.workflows.record import hash_files, versions, write_record

FIGURES, PAGE = ".json", ".html"


@dataclass(frozen=True)
class Run:
    """What was run: a table has no folder of its own for ``run.json``.

    Args:
        verb: The subcommand.
        settings: Its arguments, as plain values.
        inputs: Files whose content decides the result; each is hashed.
    """

    verb: str
    settings: Mapping[str, Any]
    inputs: Sequence[Path]

    def to_json(self) -> dict[str, Any]:
        """Give it as plain values, with the time and the versions."""
        return {
            "verb": self.verb,
            "ended": datetime.now(UTC).isoformat(timespec="seconds"),
            "settings": dict(self.settings),
            "versions": versions(),
            "inputs": hash_files(self.inputs),
        }


def require_room(table: Path, *, overwrite: bool) -> None:
    """See that a table, its page and its figures can be written, before anything is computed.

    Args:
        table: The table.
        overwrite: Whether they may be replaced.

    Raises:
        DataError: If one is there and may not be replaced, or the table has the name of another.
    """
    if table.suffix in (FIGURES, PAGE):
        raise DataError(f"{table} is to be a table; give a name that ends in .csv")
    for path in (table, table.with_suffix(FIGURES), table.with_suffix(PAGE)):
        if path.exists() and not overwrite:
            raise DataError(f"{path} exists already; use another output or --overwrite")


def write_beside(
    table: Path, run: Run, result: Any, facts: Mapping[str, str], sections: Sequence[str]
) -> None:
    """Write the page, and the figures with what was run.

    Args:
        table: The table.
        run: What was run.
        result: Has ``to_json()``.
        facts: What holds for all of the page, by name.
        sections: HTML of its parts.
    """
    figures = table.with_suffix(FIGURES)
    write_record(figures, {**result.to_json(), "run": run.to_json()})
    title = f"volseg {run.verb}"
    write_result_page(table.with_suffix(PAGE), title, facts, sections, figures.name)
