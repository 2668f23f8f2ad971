"""The report of a batch: one HTML file that needs neither network nor server.

Style, script and viewer are written into the page. Its policy lets nothing run but these two
scripts, by their hashes, and lets nothing be loaded.
"""

import gzip
import hashlib
import json
import math
from base64 import b64encode
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from volseg.inference.gallery.budget import Contents, PageLimits, choose_contents
from volseg.inference.gallery.case import ReportCase
from volseg.inference.gallery.markup import json_block, name_of, shown
from volseg.inference.gallery.rows import (
    MOST_COLUMNS,
    Column,
    list_columns,
    write_heads,
    write_row,
    write_show,
)
from volseg.networks.storage import write_atomically

ASSETS = files("volseg.inference.gallery") / "assets"


def write_report(
    path: Path,
    cases: Sequence[ReportCase],
    title: str,
    facts: Mapping[str, str],
    limits: PageLimits | None = None,
) -> None:
    """Write the report of a batch.

    Args:
        path: The HTML file; one that is there is replaced, whole.
        cases: The cases, in the order of the table.
        title: Heading of the page.
        facts: What holds for the batch, such as bundle and version, by name.
        limits: How large the page may become.
    """
    contents = choose_contents(cases, limits or PageLimits())
    columns = list_columns(cases)
    script = _asset("report.js")
    packed = (ASSETS / "niivue.umd.js.gz").read_bytes() if contents.viewable else b""
    page = Template(_asset("report.html")).substitute(
        policy=_policy(f"\n{script}\n".encode(), gzip.decompress(packed) if packed else b""),
        title=shown(title),
        style=_asset("report.css"),
        counts=_count(cases),
        facts="\n".join(
            f"<div><dt>{shown(key)}</dt><dd>{name_of(text)}</dd></div>"
            for key, text in facts.items()
        ),
        heads=write_heads(columns),
        rows="\n".join(_rows(cases, columns, contents)),
        limits=_limits(cases, columns, contents),
        notice=_notice() if packed else "",
        data=json_block(_data(path, cases, title, columns, contents)),
        volumes="\n".join(_volumes(cases, contents)),
        viewer=_data_element("viewer", b64encode(packed).decode()) if packed else "",
        script=script,
    )
    write_atomically(path, page.encode())


def _asset(name: str) -> str:
    return (ASSETS / name).read_text(encoding="utf-8").strip()


def _policy(*scripts: bytes) -> str:
    hashes = [b64encode(hashlib.sha256(script).digest()).decode() for script in scripts if script]
    allowed = " ".join(f"'sha256-{value}'" for value in hashes)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:;"
        " base-uri 'none'; form-action 'none'"
    )


def _count(cases: Sequence[ReportCase]) -> str:
    counts = {
        "done": sum(case.status == "done" for case in cases),
        "failed": sum(case.status == "failed" for case in cases),
        "skipped": sum(case.status == "skipped" for case in cases),
        "flagged": sum(bool(case.flags) for case in cases),
    }
    parts = [f"<b>{len(cases)}</b> {'case' if len(cases) == 1 else 'cases'}"]
    parts += [f"<b>{count}</b> {name}" for name, count in counts.items() if count]
    return " · ".join(parts)


def _rows(cases: Sequence[ReportCase], columns: Sequence[Column], contents: Contents) -> list[str]:
    rows = []
    for index, case in enumerate(cases):
        show = '<p class="note">No pictures of this case are in the page.</p>'
        if case.picture is not None and index in contents.pictured:
            show = write_show(case.picture, is_viewable=index in contents.viewable)
        rows.append(write_row(index, case, columns, show))
    return rows


def _limits(cases: Sequence[ReportCase], columns: Sequence[Column], contents: Contents) -> str:
    """Say what is not in the page."""
    parts = []
    made = sum(case.picture is not None for case in cases)
    if len(contents.pictured) < made:
        parts.append(f"To stay small, the page shows {len(contents.pictured)} of {made} cases.")
    if len(contents.viewable) < len(contents.pictured):
        parts.append(
            f"{len(contents.viewable)} of {len(contents.pictured)} pictured cases open in the"
            " viewer; those with flags come first."
        )
    if len(columns) > MOST_COLUMNS:
        parts.append(
            f"{MOST_COLUMNS} of {len(columns)} classes have a column; all stand below each case"
            " and in the CSV file."
        )
    return escape(" ".join(parts))


def _notice() -> str:
    return (
        "<details><summary>Viewer: NiiVue, BSD-2-Clause. Licences of what this page"
        f" contains</summary><pre>{_shown_lines(_asset('licences.txt'))}</pre></details>"
    )


def _shown_lines(text: str) -> str:
    return "\n".join(shown(line) for line in text.splitlines())


def _data(
    path: Path,
    cases: Sequence[ReportCase],
    title: str,
    columns: Sequence[Column],
    contents: Contents,
) -> dict[str, Any]:
    """Give what the script needs."""
    pictures = {}
    for index in sorted(contents.viewable):
        picture = cases[index].picture
        if picture is not None:
            classes = [vars(item) for item in picture.classes]
            pictures[index] = {"focus": picture.focus, "classes": classes}
    return {
        "id": _digest(str(path.absolute()), title),
        "classes": [column.name for column in columns],
        "cases": [_plain(case) for case in cases],
        "pictures": pictures,
    }


def _plain(case: ReportCase) -> dict[str, Any]:
    volumes = {n: v for n, v in case.volumes_ml.items() if math.isfinite(v)}
    return {
        # A case that was segmented anew is not the one that was marked.
        "key": _digest(case.name, case.source, str(volumes), case.status, str(case.seconds)),
        "name": case.name,
        "source": case.source,
        "target": case.target,
        "status": case.status,
        "reason": case.reason,
        "seconds": case.seconds,
        "volumes": volumes,
        "flags": list(case.flags),
    }


def _digest(*parts: str) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _volumes(cases: Sequence[ReportCase], contents: Contents) -> list[str]:
    elements = []
    for index in sorted(contents.viewable):
        picture = cases[index].picture
        if picture is not None:
            both = (b64encode(content).decode() for content in (picture.image, picture.labels))
            elements.append(_data_element(f"v{index}", "\n".join(both)))
    return elements


def _data_element(name: str, content: str) -> str:
    return f'<script type="text/plain" id="{name}">{content}</script>'
