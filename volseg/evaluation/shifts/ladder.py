"""The shifts that are tried, and how strongly."""

from collections.abc import Callable, Sequence

from volseg.data.scan import Scan
from volseg.errors import DataError
from volseg.evaluation.shifts import ct, grids, mr
from volseg.evaluation.shifts.shift import MODALITIES, Change, Shift


def _plain(change: Callable[[Scan, float], Scan]) -> Change:
    """Give what draws nothing a seed to ignore."""
    return lambda scan, strength, _: change(scan, strength)


SHIFTS = (
    Shift("bias field", "coefficient", (0.1, 0.2, 0.4), 0, ("MR",), mr.bias),
    Shift("noise", "of the scan's SD", (0.1, 0.2, 0.4), 0, ("MR",), mr.noise),
    Shift("contrast", "exponent", (0.5, 0.7, 1.4, 2.0), 1, ("MR",), _plain(mr.gamma)),
    Shift("motion", "mm", (1.0, 2.0, 4.0), 0, ("MR",), _plain(mr.motion)),
    Shift("ghosts", "of the signal", (0.05, 0.1, 0.2), 0, ("MR",), _plain(mr.ghosts)),
    Shift("ringing", "of the spectrum", (0.3, 0.5, 0.7), 0, ("MR",), _plain(mr.ringing)),
    Shift("dose", "HU of noise", (10.0, 20.0, 40.0), 0, ("CT",), ct.noise),
    Shift("smooth kernel", "mm", (0.5, 1.0, 1.5), 0, ("CT",), _plain(ct.smooth_kernel)),
    Shift("sharp kernel", "times the detail", (0.5, 1.0, 2.0), 0, ("CT",), _plain(ct.sharp_kernel)),
    Shift("HU offset", "HU", (-40.0, -20.0, 20.0, 40.0), 0, ("CT",), _plain(ct.offset)),
    Shift("contrast phase", "of it", (-0.6, -0.3, 0.3, 0.6), 0, ("CT",), _plain(ct.contrast_phase)),
    Shift("slice thickness", "times", (2.0, 3.0, 5.0), 1, MODALITIES, _plain(grids.thicken)),
    Shift("voxel edge", "times", (1.5, 2.0, 3.0), 1, MODALITIES, _plain(grids.coarsen)),
    Shift("rotation", "degrees", (5.0, 10.0, 20.0), 0, MODALITIES, grids.turn),
    Shift("field of view", "cut off", (0.1, 0.2, 0.3), 0, MODALITIES, grids.crop),
)
"""What scanners differ in, by name."""


def choose_shifts(modality: str, names: Sequence[str] = ()) -> list[Shift]:
    """Choose the shifts to try.

    Args:
        modality: ``CT`` or ``MR``.
        names: Their names, with or without spaces; none: all of the modality.

    Returns:
        The shifts.

    Raises:
        DataError: If there is no such modality, or it has no such shift.
    """
    if modality not in MODALITIES:
        raise DataError(f"modality is {modality!r}; use {' or '.join(MODALITIES)}")
    known = {_key(shift.name): shift for shift in SHIFTS if modality in shift.modalities}
    lost = [name for name in names if _key(name) not in known]
    if lost:
        every = ", ".join(shift.name for shift in known.values())
        raise DataError(f"{modality} has no shift {lost[0]!r}; it has {every}")
    return [known[_key(name)] for name in dict.fromkeys(names)] if names else list(known.values())


def _key(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "").replace(" ", "")
