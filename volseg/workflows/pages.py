"""A page of results in one file: headings, charts, tables and slices, without a script."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from volseg.inference.gallery.markup import data_uri, shown
from volseg.networks.storage import write_atomically

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'"

STYLE = """
.chart { width: 100%; height: auto; max-width: 72rem; }
main > section { margin: 2rem 0; }
main h2 { font-size: 1.15rem; }
.results { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 0.9rem; }
.results th, .results td { padding: 0.25rem 0.8rem; border-bottom: 1px solid var(--line); text-align: right; }
.results th:first-child, .results td:first-child { text-align: left; }
.wide { overflow-x: auto; }
.strip { display: flex; flex-wrap: wrap; align-items: flex-end; gap: 0.6rem; margin: 0.4rem 0 1.4rem; }
.strip figure { margin: 0; }
.strip .slice { position: relative; background: #000; width: max-content; max-width: 100%; }
.strip .slice img { display: block; width: auto; height: auto; max-width: 100%; }
.strip .slice .laid { position: absolute; inset: 0; }
.strip figcaption { color: var(--soft); font-size: 0.82rem; max-width: 16rem; }
"""  # noqa: E501 - a rule a line


@dataclass(frozen=True)
class Shot:
    """A slice with what lies on it.

    Args:
        caption: What it shows.
        image: The slice, a WebP file.
        mask: Tint and outline, a WebP file; empty: none.
    """

    caption: str
    image: bytes
    mask: bytes = b""

    def to_html(self) -> str:
        """Write it as HTML."""
        over = f'<img class="laid" src="{data_uri(self.mask)}" alt="">' if self.mask else ""
        return (
            f'<figure><div class="slice"><img src="{data_uri(self.image)}"'
            f' alt="{shown(self.caption)}">{over}</div>'
            f"<figcaption>{shown(self.caption)}</figcaption></figure>"
        )


def write_strip(title: str, shots: Sequence[Shot]) -> str:
    """Write slices side by side.

    Args:
        title: What they have in common.
        shots: The slices.

    Returns:
        HTML.
    """
    inside = "".join(shot.to_html() for shot in shots)
    return f'<p>{shown(title)}</p>\n<div class="strip">{inside}</div>'


def write_table(rows: Sequence[Sequence[str]]) -> str:
    """Write a table.

    Args:
        rows: Cells, the headings first.

    Returns:
        HTML.
    """
    head = "".join(f"<th>{shown(cell)}</th>" for cell in rows[0])
    body = "\n".join(
        "<tr>" + "".join(f"<td>{shown(cell)}</td>" for cell in row) + "</tr>" for row in rows[1:]
    )
    return f'<div class="wide"><table class="results"><tr>{head}</tr>\n{body}</table></div>'


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lay a table out as text.

    Args:
        rows: Cells, the headings first.

    Returns:
        Lines whose columns begin in the same place.

    Examples:
        >>> aligned([["map", "area"], ["bright", "0.5"]])
        ['map     area', 'bright  0.5']
    """
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def write_section(title: str, text: str, *content: str) -> str:
    """Write a part of a page.

    Args:
        title: Its heading.
        text: What is to be said of it.
        *content: HTML.

    Returns:
        HTML.
    """
    said = f"<p>{shown(text)}</p>" if text else ""
    return f"<section><h2>{shown(title)}</h2>\n{said}\n{''.join(content)}</section>"


def write_result_page(
    path: Path,
    title: str,
    facts: Mapping[str, str],
    sections: Sequence[str],
    figures: str = "results.json",
) -> None:
    """Write a page.

    Args:
        path: The HTML file; one that is there is replaced, whole.
        title: Its heading.
        facts: What holds for all of it, by name.
        sections: HTML of its parts.
        figures: The file beside it that holds all figures.
    """
    asset = files("volseg.inference.gallery") / "assets" / "report.css"
    listed = "".join(
        f"<div><dt>{shown(key)}</dt><dd>{shown(value)}</dd></div>" for key, value in facts.items()
    )
    text = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{shown(title)}</title>
<link rel="icon" href="data:,">
<style>
{asset.read_text(encoding="utf-8").strip()}
{STYLE}
</style>
</head>
<body>
<header class="top"><h1>{shown(title)}</h1><dl class="facts">{listed}</dl></header>
<main>
{chr(10).join(sections)}
</main>
<footer>
<p>One file; nothing is loaded from elsewhere. All figures also stand in {shown(figures)}.</p>
</footer>
</body>
</html>
"""
    write_atomically(path, text.encode())
