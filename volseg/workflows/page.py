"""A page of pictures and tables: one HTML file."""

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from string import Template

PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem;
       color: #1a1a1a; background: #fff; }
h1, h2 { line-height: 1.2; }
img { max-width: 100%; height: auto; }
table { border-collapse: collapse; margin: 1rem 0; }
th, td { padding: .3rem .9rem; border-bottom: 1px solid #ccc; text-align: right; }
th:first-child, td:first-child { text-align: left; }
figure { margin: 1rem 0 2rem; }
figcaption, .note { color: #555; }
code { background: #f2f2f2; padding: 0 .2rem; }
</style>
</head>
<body>
<h1>$title</h1>
<p>$lead</p>
$sections
</body>
</html>
""")


@dataclass(frozen=True)
class Table:
    """A table of numbers.

    Args:
        columns: Headings, the first of the column of names.
        rows: Cells as they are to be shown.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]

    def to_html(self) -> str:
        """Write it as HTML.

        Returns:
            A ``table`` element.
        """
        head = "".join(f"<th>{escape(cell)}</th>" for cell in self.columns)
        body = "\n".join(
            "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>"
            for row in self.rows
        )
        return f"<table>\n<tr>{head}</tr>\n{body}\n</table>"

    def to_text(self) -> str:
        """Write it for a terminal.

        Returns:
            Lines whose columns are aligned.
        """
        lines = [self.columns, *self.rows]
        widths = [max(len(line[i]) for line in lines) for i in range(len(self.columns))]
        return "\n".join(
            "  ".join(
                cell.ljust(width) if i == 0 else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in lines
        )


@dataclass(frozen=True)
class Section:
    """A heading with what stands under it.

    Args:
        title: The heading.
        text: A paragraph.
        picture: A PNG file beside the page, or the content of one, which is then part of it.
        caption: What the picture shows.
        table: A table.
    """

    title: str
    text: str = ""
    picture: Path | bytes | None = None
    caption: str = ""
    table: Table | None = field(default=None)

    def to_html(self) -> str:
        """Write it as HTML.

        Returns:
            A heading and the elements under it.
        """
        parts = [f"<h2>{escape(self.title)}</h2>"]
        if self.text:
            parts.append(f"<p>{escape(self.text)}</p>")
        if self.picture is not None:
            name, caption = _address(self.picture), escape(self.caption)
            parts.append(
                f'<figure><img src="{name}" alt="{caption}">'
                f"<figcaption>{caption}</figcaption></figure>"
            )
        if self.table is not None:
            parts.append(self.table.to_html())
        return "\n".join(parts)


def write_page(path: Path, title: str, lead: str, sections: Sequence[Section]) -> None:
    """Write the page.

    Args:
        path: The HTML file.
        title: Its heading.
        lead: What stands under it.
        sections: What to show, in order.
    """
    body = "\n".join(section.to_html() for section in sections)
    text = PAGE.substitute(title=escape(title), lead=escape(lead), sections=body)
    path.write_bytes(text.encode("utf-8", "replace"))


def _address(picture: Path | bytes) -> str:
    if isinstance(picture, bytes):
        return f"data:image/png;base64,{b64encode(picture).decode()}"
    return escape(picture.name)
