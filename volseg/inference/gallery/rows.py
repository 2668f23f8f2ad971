"""The rows of the table: what is seen of a case at once, and what opens below it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from volseg.inference.gallery.case import CasePicture, Plane, ReportCase
from volseg.inference.gallery.colours import colour_of
from volseg.inference.gallery.markup import data_uri, name_of, shown

MOST_COLUMNS = 8
"""Classes that have a column; the others stand below the case."""

SIDES = {"axial": "RLAP", "coronal": "RLSI", "sagittal": "APSI"}
"""Letters at the left, the right, the top and the bottom of a slice."""

NONE = '<span class="none">&ndash;</span>'


@dataclass(frozen=True)
class Column:
    """A class of the batch.

    Args:
        name: Its name.
        colour: Its colour.
    """

    name: str
    colour: str


def list_columns(cases: Sequence[ReportCase]) -> list[Column]:
    """List the classes of a batch in the order in which they first come up.

    Args:
        cases: The cases.

    Returns:
        The classes, with the colours that the pictures give them.
    """
    names = dict.fromkeys(name for case in cases for name in case.volumes_ml)
    pictures = [case.picture for case in cases if case.picture is not None]
    colours = {item.name: item.colour for picture in pictures for item in picture.classes}
    return [Column(name, colours.get(name, colour_of(index))) for index, name in enumerate(names)]


def write_heads(columns: Sequence[Column]) -> str:
    """Write the heading of each column.

    Args:
        columns: The classes of the batch.

    Returns:
        ``th`` elements.
    """
    heads = [_head("name", "Case", "text name"), _head("mark", "Mark", "text needs-script")]
    heads += [_head("status", "Status", "text"), _head("flags", "Flags", "text")]
    heads += [
        _head(f"ml:{column.name}", f"{_swatch(column.colour)}{shown(column.name)}, mL")
        for column in columns[:MOST_COLUMNS]
    ]
    return "\n".join([*heads, _head("seconds", "Seconds")])


def write_row(index: int, case: ReportCase, columns: Sequence[Column], show: str) -> str:
    """Write a case.

    Args:
        index: Its position.
        case: The case.
        columns: The classes of the batch.
        show: What opens below it, above its facts.

    Returns:
        A ``tbody`` element.
    """
    some = columns[:MOST_COLUMNS]
    volumes = "".join(f"<td>{_volume(case.volumes_ml.get(c.name))}</td>" for c in some)
    flags = "".join(f'<span class="tag flag">{shown(flag)}</span>' for flag in case.flags)
    reason = f'<p class="note">{name_of(case.reason)}</p>' if case.reason else ""
    return f"""<tbody id="c{index}"><tr class="row"><th scope="row" class="text name">\
<button type="button" aria-expanded="false" aria-controls="d{index}">{name_of(case.name)}</button>\
{reason}</th><td class="text mark needs-script"><button type="button" data-mark="accepted">Accept\
</button><button type="button" data-mark="rejected">Reject</button></td><td class="text">\
<span class="tag {case.status}">{case.status}</span></td><td class="text"><span class="flags">\
{flags or NONE}</span></td>{volumes}<td>{case.seconds:.1f}</td></tr>
<tr class="detail" id="d{index}"><td colspan="{len(some) + 5}">{show}\
<dl class="under">{_facts(case, columns)}</dl></td></tr></tbody>"""


def write_show(picture: CasePicture, *, is_viewable: bool) -> str:
    """Write a case's slices, and the place for the viewer.

    The slices stand where only a page without scripts shows them; the script fetches them from
    there when the case is opened.

    Args:
        picture: Pictures of the case.
        is_viewable: Whether its volumes are in the page.

    Returns:
        An element.
    """
    planes = "".join(_figure(plane) for plane in picture.planes)
    viewer = ""
    if is_viewable:
        edges = " &times; ".join(f"{edge:.2g}" for edge in picture.edges)
        viewer = (
            '<div class="viewer needs-script"><div class="plate"><span class="wait"></span></div>'
            f'<p class="note">Viewer: a copy with voxels of {edges} mm. Drag with the right button'
            " to change the window, scroll to move through slices.</p></div>"
        )
    return (
        f'<div class="show"><div class="planes"><noscript>{planes}</noscript></div>{viewer}</div>'
    )


def _head(column: str, text: str, kind: str = "") -> str:
    return (
        f'<th scope="col" class="{kind}" data-column="{shown(column)}" aria-sort="none">'
        f'<button type="button">{text}</button></th>'
    )


def _figure(plane: Plane) -> str:
    size = f'width="{plane.width}" height="{plane.height}"'
    letters = "".join(f"<b>{letter}</b>" for letter in SIDES[plane.name])
    mask = ""
    if plane.mask:
        mask = f'<img class="over" {size} src="{data_uri(plane.mask)}" alt="">'
    return (
        f'<figure><div class="plate"><img {size} src="{data_uri(plane.image)}"'
        f' alt="{plane.name} slice with the mask">{mask}{letters}</div>'
        f"<figcaption>{plane.name.capitalize()}, {plane.place}</figcaption></figure>"
    )


def _facts(case: ReportCase, columns: Sequence[Column]) -> str:
    facts = {"Image": name_of(case.source)}
    if case.target is not None:
        facts["Mask"] = name_of(case.target)
    if case.volumes_ml:
        facts["Volumes"] = _legend(case.volumes_ml, columns)
    return "".join(f"<div><dt>{key}</dt><dd>{text}</dd></div>" for key, text in facts.items())


def _legend(volumes: Mapping[str, float], columns: Sequence[Column]) -> str:
    parts = [
        f"<span>{_swatch(column.colour)}{shown(column.name)}"
        f" {_volume(volumes[column.name])} mL</span>"
        for column in columns
        if volumes.get(column.name)
    ]
    return f'<span class="legend">{"".join(parts) or NONE}</span>'


def _swatch(colour: str) -> str:
    return f'<span class="swatch" style="background:{colour}"></span>'


def _volume(value: float | None) -> str:
    if value is None:
        return NONE
    if value == 0:
        return "0"
    return f"{value:,.1f}" if value >= 10 else f"{value:.2f}" if value >= 0.1 else f"{value:.2g}"
