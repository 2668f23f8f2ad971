"""A page of results as its reader gets it: what it loads, its pictures and its tables."""

from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

LOADING = {"src", "href", "data", "poster", "srcset", "action"}
"""Attributes by which a browser loads something or goes elsewhere."""


@dataclass
class Page(HTMLParser):
    pictures: list[str] = field(default_factory=list)
    charts: int = 0
    rows: list[list[str]] = field(default_factory=list)
    headings: list[str] = field(default_factory=list)
    order: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)
    text: str = ""
    cell: str | None = None

    def __post_init__(self):
        super().__init__()

    def handle_starttag(self, tag, attrs):
        self.outside += [
            f"{tag} {key}={value}"
            for key, value in attrs
            if key in LOADING and not str(value).startswith("data:")
        ]
        if tag in ("script", "iframe", "object", "embed"):
            self.outside.append(tag)
        if tag in ("img", "svg", "table"):
            self.order.append(tag)
        if tag == "img":
            self.pictures.append(dict(attrs)["src"])
        self.charts += tag == "svg"
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th", "h2"):
            self.cell = ""

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            self.rows[-1].append(self.cell)
        if tag == "h2":
            self.headings.append(self.cell)
        if tag in ("td", "th", "h2"):
            self.cell = None

    def handle_data(self, data):
        self.text += data
        if self.cell is not None:
            self.cell += data

    def row(self, name: str) -> list[str]:
        """Give the cells of the only row of a name, without the name."""
        (found,) = [row[1:] for row in self.rows if row[0] == name]
        return found


def read_page(path: Path) -> Page:
    """Read a page that is one file, and shows a picture or a chart before its first table."""
    html = path.read_text(encoding="utf-8")
    page = Page()
    page.feed(html)
    assert page.outside == []
    assert "@import" not in html
    assert "url(http" not in html
    assert html.count("http") == html.count("http-equiv") + html.count("http://www.w3.org/2000/svg")
    assert page.order[0] in ("img", "svg")
    return page
