"""Everything that was drawn for one simulated resection, so that it can be recorded and replayed.

Positions are RAS mm in the space of the scan's affine; directions are RAS unit vectors; nothing
here depends on a grid. A `Cavity` survives ``Cavity.from_json(cavity.to_json())`` unchanged.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from typing import Any, Self, get_type_hints

Point = tuple[float, float, float]

RESECTOR = "resector"
"""The law of the simulator resector, see `volseg.transforms.resection.compat`."""


@dataclass(frozen=True)
class HalfSpace:
    """A cutting plane: what lies on its far side is spared.

    Args:
        point: A point of the plane, RAS mm.
        normal: Unit vector that points to the spared side.
    """

    point: Point
    normal: Point


@dataclass(frozen=True)
class Solid:
    """One noisy ellipsoid whose level is chosen so that it has its volume exactly.

    Args:
        centre: RAS mm.
        radii: Semi-axes in mm, before the volume is met.
        angles: Rotation about the x, then y, then z axis, in degrees.
        volume_ml: Volume of the cavity that it makes within what can be resected.
        roughness: Amplitude of the boundary's noise as a fraction of the radius.
        seed: Seed of the boundary's noise.
        planes: Cutting planes, as of a lobectomy.
        lobe: `Lobe` that it stays in, 0 for any.
        corridor: Radius in mm of the path to the surface; 0 for none.
        entry: Where the corridor meets the surface, RAS mm; `None`: where it is nearest.
        tissue: `Tissue` whose outline it follows within the ellipsoid, 0 for none.
        law: ``resector`` for that simulator's law, by which angles turn about z first, the seed is
            the offset of its noise, and the volume is not met; empty for volseg's own.
    """

    centre: Point
    radii: Point
    angles: Point
    volume_ml: float
    roughness: float = 0.5
    seed: int = 0
    planes: tuple[HalfSpace, ...] = ()
    lobe: int = 0
    corridor: float = 0.0
    entry: Point | None = None
    tissue: int = 0
    law: str = ""


@dataclass(frozen=True)
class Shift:
    """How the brain gives way; image and mask move together.

    Args:
        collapse: Movement of the walls into the cavity, in mm.
        sag: Fall of the surface away from the skull, in mm.
        gravity: Where down is, RAS unit vector.
    """

    collapse: float = 0.0
    sag: float = 0.0
    gravity: Point = (0.0, -1.0, 0.0)


@dataclass(frozen=True)
class Content:
    """What fills the cavity and what its walls look like; 0 switches each off.

    Args:
        protein: How much brighter than CSF the fluid is, 0 to 1 times the contrast table's way.
        layering: How much of ``protein`` sinks along gravity, 0 to 1.
        clot: Fraction of the cavity that is clot.
        septa: Fraction of the cavity that is septa.
        air: Fraction of the cavity's height that is air, above a level.
        rim: Thickness of the haemosiderin rim, in mm.
        enhancement: Thickness of the enhancing rim, in mm; it shows on contrast-enhanced T1 only.
        gliosis: Distance over which gliosis or oedema in white matter fades, in mm.
        gliosis_strength: Its gain, 0 to 1 times the way of the contrast table.
        blur: Standard deviation of the partial-volume blur of the wall, in mm.
    """

    protein: float = 0.0
    layering: float = 0.0
    clot: float = 0.0
    septa: float = 0.0
    air: float = 0.0
    rim: float = 0.0
    enhancement: float = 0.0
    gliosis: float = 0.0
    gliosis_strength: float = 0.0
    blur: float = 0.7


@dataclass(frozen=True)
class CompatContent:
    """What fills and surrounds a cavity by resector's law; it takes the place of a `Content`.

    Args:
        sigmas: Standard deviation of the blur of the wall along each axis, in mm.
        has_lesion: Whether all but grey matter becomes fluid far around the cavity.
        clot: Solid of the clot; `None`: there is none.
        percentile: The clot is as bright as this percentile of the image.
        smoothing: Standard deviation of a blur of the texture, in mm; resector's is white, 0.
    """

    sigmas: Point
    has_lesion: bool = False
    clot: Solid | None = None
    percentile: float = 95.0
    smoothing: float = 0.0


@dataclass(frozen=True)
class Flap:
    """The craniotomy, drawn only where a skull is in view.

    Args:
        centre: Point of the skull's outer surface over the cavity, RAS mm.
        radius: Of the bone flap, in mm.
        kerf: Width of the saw cut, in mm.
        burr_holes: Number of burr holes on the cut.
        burr_radius: Of a burr hole, in mm.
        extradural: Thickness of the collection under the flap, in mm.
        subgaleal: Thickness of the collection over the flap, in mm.
    """

    centre: Point
    radius: float
    kerf: float = 2.5
    burr_holes: int = 3
    burr_radius: float = 6.0
    extradural: float = 0.0
    subgaleal: float = 0.0


@dataclass(frozen=True)
class Cavity:
    """One simulated resection.

    Args:
        mode: One of `MODES`.
        stage: One of `STAGES`.
        side: `Side` that was operated, 0 for both or none.
        solids: What was taken out; empty for a negative.
        content: What fills it.
        shift: How the brain gave way.
        flap: The craniotomy; `None`: none.
        seed: Seed of every texture.
        is_ok: `False` if no attempt succeeded: the image stays as it is and the mask empty.
        compat: What is painted by resector's law instead of ``content``; `None`: nothing.
    """

    mode: str = "none"
    stage: str = "chronic"
    side: int = 0
    solids: tuple[Solid, ...] = ()
    content: Content = field(default_factory=Content)
    shift: Shift = field(default_factory=Shift)
    flap: Flap | None = None
    seed: int = 0
    is_ok: bool = True
    compat: CompatContent | None = None

    def to_json(self) -> dict[str, Any]:
        """Give everything as plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Make a cavity of what `to_json` gave, also after a way through a JSON file.

        Args:
            values: The plain values.

        Returns:
            The cavity.
        """
        known: Self = _build(cls, values)
        return known


MODES = (
    "lesionectomy",
    "temporal_lobectomy",
    "lobectomy",
    "amygdalohippocampectomy",
    "tumour",
    "infratentorial",
    "tract",
    "two_cavities",
    "none",
    "flap_only",
)
"""What was done; ``none`` and ``flap_only`` leave the brain whole."""

STAGES = ("intraoperative", "early", "subacute", "chronic", "unknown")
"""During surgery; within 72 hours; after 2 to 8 weeks; later; and ``unknown``: of no time, for what
fills the cavity has any brightness, so that a network cannot rely on it. Drawn only on request."""


def _build(kind: Any, values: Mapping[str, Any]) -> Any:
    hints = get_type_hints(kind)
    known = {each.name: values[each.name] for each in fields(kind) if each.name in values}
    return kind(**{name: _restore(hints[name], value) for name, value in known.items()})


def _restore(hint: Any, value: Any) -> Any:
    for kind in (hint, *getattr(hint, "__args__", ())):
        if is_dataclass(kind) and isinstance(value, Mapping):
            return _build(kind, value)
        if is_dataclass(kind) and isinstance(value, (list, tuple)):
            return tuple(_build(kind, each) for each in value)
    return tuple(value) if isinstance(value, (list, tuple)) else value
