"""Everything that was drawn for one simulated tumour, so that it can be recorded and replayed.

Positions are RAS mm in the space of the scan's affine; nothing here depends on a grid. A `Tumour`
survives ``Tumour.from_json(tumour.to_json())`` unchanged.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from enum import IntEnum
from typing import Any, Self

from volseg.transforms.resection.cavity import Cavity, Point, Solid

KINDS = ("glioblastoma", "low_grade", "metastasis", "meningioma", "mass", "none")
"""A ring with a dead centre; an infiltrating one that takes up no contrast agent; small, round ones
with much oedema; a homogeneous one that comes from the surface; a plain one of soft tissue, for
bodies; ``none`` leaves the scan as it is."""


class Part(IntEnum):
    """Values of the label, in the order of BraTS since 2023."""

    CORE = 1
    OEDEMA = 2
    ENHANCING = 3


@dataclass(frozen=True)
class Tumour:
    """One simulated tumour; 0 switches a part off.

    Args:
        kind: One of `KINDS`.
        side: `Side` of the patient, 0 for both or none.
        is_infratentorial: Whether it lies in the cerebellum.
        solids: Its foci; each has its volume exactly. Empty for a negative.
        rim: Thickness of the enhancing rim, in mm; it comes and goes.
        necrosis: Share of what lies within the rim that is dead, 0 to 1.
        quiet: Share of the tumour that takes up no contrast agent, though it is alive, 0 to 1.
        enhancement: How strongly the rest takes it up, 0 to 1.
        oedema: How far oedema spreads, in mm.
        oedema_strength: Its gain, 0 to 1 times the way of the contrast table.
        mass_effect: Displacement at the surface of the largest focus, in mm.
        infiltration: How much of the healthy tissue still shows within, 0 to 1.
        heterogeneity: Spread of the brightness within, in units of what tells it from white matter.
        blur: Standard deviation of its edge, in mm.
        seed: Seed of every texture.
        is_ok: `False` if no attempt succeeded: the image stays as it is and the label empty.
    """

    kind: str = "none"
    side: int = 0
    is_infratentorial: bool = False
    solids: tuple[Solid, ...] = ()
    rim: float = 0.0
    necrosis: float = 0.0
    quiet: float = 0.0
    enhancement: float = 0.0
    oedema: float = 0.0
    oedema_strength: float = 0.0
    mass_effect: float = 0.0
    infiltration: float = 0.0
    heterogeneity: float = 0.15
    blur: float = 0.7
    seed: int = 0
    is_ok: bool = True

    @property
    def centre(self) -> Point | None:
        """Centre of the largest focus, RAS mm; `None` for a negative."""
        return max(self.solids, key=lambda each: each.volume_ml).centre if self.solids else None

    @property
    def cavity(self) -> Cavity:
        """The same solids, as what carves them knows them."""
        mode = "infratentorial" if self.is_infratentorial else "tumour"
        return Cavity(mode=mode, side=self.side, solids=self.solids, seed=self.seed)

    def to_json(self) -> dict[str, Any]:
        """Give everything as plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Make a tumour of what `to_json` gave, also after a way through a JSON file.

        Args:
            values: The plain values.

        Returns:
            The tumour.
        """
        known = {each.name: values[each.name] for each in fields(cls) if each.name in values}
        solids = Cavity.from_json({"solids": values.get("solids", ())}).solids
        return cls(**{**known, "solids": solids})
