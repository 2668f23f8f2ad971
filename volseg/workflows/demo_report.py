"""The demo's page: pictures and tables in one HTML file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from string import Template

PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>volseg demo</title>
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
<h1>volseg demo</h1>
<p>Grey and white matter on the MNI152 template: a tiny network pretrained by filling in hidden
blocks, fine-tuned on the front of the head, and tested on the back.</p>
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
        picture: A PNG file beside the page.
        caption: What the picture shows.
        table: A table.
    """

    title: str
    text: str = ""
    picture: Path | None = None
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
        if self.table is not None:
            parts.append(self.table.to_html())
        if self.picture is not None:
            name, caption = escape(self.picture.name), escape(self.caption)
            parts.append(
                f'<figure><img src="{name}" alt="{caption}">'
                f"<figcaption>{caption}</figcaption></figure>"
            )
        return "\n".join(parts)


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
    body = "\n".join(section.to_html() for section in sections)
    path.write_text(PAGE.substitute(sections=body), encoding="utf-8")
