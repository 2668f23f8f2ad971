"""What the numbers of well-known label maps stand for.

``freesurfer`` covers aseg, aparc+aseg, aparc.a2009s+aseg and wmparc (FreeSurfer's
FreeSurferColorLUT.txt); ``synthseg`` adds what the label maps of SynthSeg (Billot et al. 2023,
https://doi.org/10.1016/j.media.2023.102789) have outside the brain; ``gif`` is the third version of
the parcellation by geodesic information flows (Cardoso et al. 2015,
https://doi.org/10.1109/TMI.2015.2418298), which numbers right and left alternately.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from volseg.errors import DataError
from volseg.transforms.anatomy.maps import Lobe, Side, Tissue


class Meaning(NamedTuple):
    """What one label stands for; side and lobe are `NONE` where the number does not tell."""

    tissue: Tissue
    side: Side = Side.NONE
    lobe: Lobe = Lobe.NONE


_MIDLINE = {
    0: Tissue.AIR,
    14: Tissue.VENTRICLE,
    15: Tissue.VENTRICLE,
    16: Tissue.BRAINSTEM,
    24: Tissue.FLUID,
    72: Tissue.VENTRICLE,
    77: Tissue.WHITE,
    80: Tissue.DEEP,
    85: Tissue.DEEP,
    165: Tissue.SKULL,
    170: Tissue.BRAINSTEM,
    171: Tissue.BRAINSTEM,
    172: Tissue.CEREBELLUM_CORTEX,
    173: Tissue.BRAINSTEM,
    174: Tissue.BRAINSTEM,
    175: Tissue.BRAINSTEM,
    178: Tissue.BRAINSTEM,
    192: Tissue.CALLOSUM,
    257: Tissue.FLUID,
    258: Tissue.HEAD,
    259: Tissue.SKULL,
    **dict.fromkeys(range(251, 256), Tissue.CALLOSUM),
}

_LEFT = {
    2: Tissue.WHITE,
    3: Tissue.CORTEX,
    4: Tissue.VENTRICLE,
    5: Tissue.VENTRICLE,
    7: Tissue.CEREBELLUM_WHITE,
    8: Tissue.CEREBELLUM_CORTEX,
    9: Tissue.DEEP,
    10: Tissue.DEEP,
    11: Tissue.DEEP,
    12: Tissue.DEEP,
    13: Tissue.DEEP,
    17: Tissue.LIMBIC,
    18: Tissue.LIMBIC,
    19: Tissue.CORTEX,
    20: Tissue.CORTEX,
    25: Tissue.LESION,
    26: Tissue.DEEP,
    27: Tissue.DEEP,
    28: Tissue.DEEP,
    30: Tissue.FLUID,
    31: Tissue.VENTRICLE,
    78: Tissue.WHITE,
    81: Tissue.DEEP,
    96: Tissue.LIMBIC,
    136: Tissue.VENTRICLE,
    137: Tissue.VENTRICLE,
    138: Tissue.DEEP,
    5001: Tissue.WHITE,
}

_RIGHT_OF_LEFT = {
    2: 41,
    3: 42,
    4: 43,
    5: 44,
    7: 46,
    8: 47,
    9: 48,
    10: 49,
    11: 50,
    12: 51,
    13: 52,
    17: 53,
    18: 54,
    19: 55,
    20: 56,
    25: 57,
    26: 58,
    27: 59,
    28: 60,
    30: 62,
    31: 63,
    78: 79,
    81: 82,
    96: 97,
    136: 163,
    137: 164,
    138: 139,
    5001: 5002,
}

_DESIKAN = {
    Lobe.FRONTAL: (2, 3, 12, 14, 17, 18, 19, 20, 24, 26, 27, 28, 32),
    Lobe.TEMPORAL: (1, 6, 7, 9, 15, 16, 30, 33, 34),
    Lobe.PARIETAL: (8, 10, 22, 23, 25, 29, 31),
    Lobe.OCCIPITAL: (5, 11, 13, 21),
}
"""The gyri of aparc by lobe, added to 1000 (left cortex), 2000 (right), 3000 and 4000 (white)."""

_OUTSIDE = {
    502: Tissue.HEAD,
    506: Tissue.HEAD,
    507: Tissue.HEAD,
    508: Tissue.HEAD,
    509: Tissue.HEAD,
    511: Tissue.HEAD,
    512: Tissue.HEAD,
    514: Tissue.HEAD,
    515: Tissue.SKULL,
    516: Tissue.SKULL,
    530: Tissue.HEAD,
}
"""SynthSeg: artery, eye, soft tissue, nerve, mucosa, skin, cord, vein, bone, marrow, nerve."""


def _freesurfer() -> dict[int, Meaning]:
    table = {number: Meaning(tissue) for number, tissue in _MIDLINE.items()}
    for number, tissue in _LEFT.items():
        table[number] = Meaning(tissue, Side.LEFT)
        table[_RIGHT_OF_LEFT[number]] = Meaning(tissue, Side.RIGHT)
    table.update(_parcels(1000, 36, Tissue.CORTEX))
    table.update(_parcels(3000, 36, Tissue.WHITE))
    table.update(_parcels(11100, 76, Tissue.CORTEX))
    table.update(_parcels(13100, 76, Tissue.WHITE))
    for base in (1000, 3000):
        table.update(_gyri(base, table[base].tissue))
    return table


def _parcels(first: int, count: int, tissue: Tissue) -> dict[int, Meaning]:
    """Give the parcels of both hemispheres, which are numbered 1000 apart."""
    left = {first + each: Meaning(tissue, Side.LEFT) for each in range(count)}
    right = {first + 1000 + each: Meaning(tissue, Side.RIGHT) for each in range(count)}
    return left | right


def _gyri(first: int, tissue: Tissue) -> dict[int, Meaning]:
    table = {}
    for lobe, gyri in _DESIKAN.items():
        for gyrus in gyri:
            table[first + gyrus] = Meaning(tissue, Side.LEFT, lobe)
            table[first + 1000 + gyrus] = Meaning(tissue, Side.RIGHT, lobe)
    return table


_GIF_MIDLINE = {
    0: Tissue.AIR,
    1: Tissue.FLUID,
    2: Tissue.HEAD,
    3: Tissue.HEAD,
    4: Tissue.FLUID,
    5: Tissue.VENTRICLE,
    12: Tissue.VENTRICLE,
    16: Tissue.VENTRICLE,
    35: Tissue.BRAINSTEM,
    36: Tissue.BRAINSTEM,
    47: Tissue.VENTRICLE,
    70: Tissue.DEEP,
    72: Tissue.CEREBELLUM_CORTEX,
    73: Tissue.CEREBELLUM_CORTEX,
    74: Tissue.CEREBELLUM_CORTEX,
    87: Tissue.CALLOSUM,
}

_GIF_RIGHT = {
    24: (31, Tissue.DEEP),
    32: (33, Tissue.LIMBIC),
    37: (38, Tissue.DEEP),
    39: (40, Tissue.CEREBELLUM_CORTEX),
    41: (42, Tissue.CEREBELLUM_WHITE),
    43: (44, Tissue.CORTEX),
    45: (46, Tissue.WHITE),
    48: (49, Tissue.LIMBIC),
    50: (51, Tissue.VENTRICLE),
    52: (53, Tissue.VENTRICLE),
    54: (55, Tissue.LESION),
    56: (57, Tissue.DEEP),
    58: (59, Tissue.DEEP),
    60: (61, Tissue.DEEP),
    62: (63, Tissue.DEEP),
    64: (65, Tissue.FLUID),
    66: (67, Tissue.WHITE),
    77: (76, Tissue.DEEP),
    96: (97, Tissue.DEEP),
}
"""Right number: (left number, tissue)."""

_GIF_LOBES = {
    Lobe.FRONTAL: (
        *(105, 119, 121, 125, 137, 141, 143, 147, 151, 153, 163, 165, 179, 183, 187, 191, 193),
        *(101, 139, 205, 84),
    ),
    Lobe.TEMPORAL: (117, 123, 133, 155, 171, 181, 185, 201, 203, 207, 81),
    Lobe.PARIETAL: (107, 149, 167, 169, 175, 177, 195, 199, 86),
    Lobe.OCCIPITAL: (109, 115, 129, 135, 145, 157, 161, 197, 85),
}
"""Right numbers of gyri (left: one more) and of the white matter of lobes (left: eight more)."""

_GIF_UNLOBED_CORTEX = (103, 113, 173)
_GIF_UNLOBED_WHITE = (82, 83)


def _gif() -> dict[int, Meaning]:
    table = {number: Meaning(tissue) for number, tissue in _GIF_MIDLINE.items()}
    for right, (left, tissue) in _GIF_RIGHT.items():
        table[right] = Meaning(tissue, Side.RIGHT)
        table[left] = Meaning(tissue, Side.LEFT)
    lobed = [(number, lobe) for lobe, numbers in _GIF_LOBES.items() for number in numbers]
    rest = [(number, Lobe.NONE) for number in (*_GIF_UNLOBED_CORTEX, *_GIF_UNLOBED_WHITE)]
    for number, lobe in (*lobed, *rest):
        tissue, step = (Tissue.CORTEX, 1) if number > 100 else (Tissue.WHITE, 8)
        table[number] = Meaning(tissue, Side.RIGHT, lobe)
        table[number + step] = Meaning(tissue, Side.LEFT, lobe)
    return table


_FREESURFER = _freesurfer()

SCHEMES: Mapping[str, Mapping[int, Meaning]] = {
    "freesurfer": _FREESURFER,
    "synthseg": _FREESURFER | {number: Meaning(tissue) for number, tissue in _OUTSIDE.items()},
    "gif": _gif(),
}
"""The meaning of each label, by the scheme's name."""

SHARE_KNOWN = 0.9
"""A scheme is guessed only if it knows at least this share of the labels."""


def find_scheme(scheme: str | Mapping[int, Tissue], values: Iterable[int]) -> Mapping[int, Meaning]:
    """Find what the labels of a map mean.

    Args:
        scheme: Name of a scheme, ``auto`` to guess it from the labels, or the tissue of each label.
        values: The labels that occur.

    Returns:
        The meaning of each label.

    Raises:
        DataError: If there is no such scheme, or none that can be told from the labels.
    """
    if not isinstance(scheme, str):
        return {int(number): Meaning(Tissue(tissue)) for number, tissue in scheme.items()}
    if scheme == "auto":
        return SCHEMES[guess_scheme(values)]
    if scheme not in SCHEMES:
        raise DataError(
            f"label scheme {scheme!r} is not known; use one of {', '.join(SCHEMES)}, auto, or a"
            " mapping from labels to tissues"
        )
    return SCHEMES[scheme]


def guess_scheme(values: Iterable[int]) -> str:
    """Tell a scheme from the labels that occur.

    FreeSurfer's family is told by the white matter of both sides (2 and 41) with the cortex of both
    (3 and 42, or aparc's); GIF by its white matter (45 and 46, or 84 and 92) with cortex above 100.

    Args:
        values: The labels that occur.

    Returns:
        Name of the scheme.

    Raises:
        DataError: If no scheme fits, or more than one.

    Examples:
        >>> guess_scheme([0, 2, 3, 41, 42, 10, 49, 16])
        'freesurfer'
    """
    present = {int(value) for value in values}
    fitting = [name for name in ("freesurfer", "gif") if _fits(name, present)]
    if len(fitting) != 1:
        reason = "fit none of the schemes" if not fitting else "fit FreeSurfer's and GIF's numbers"
        raise DataError(
            f"labels {_shorten(present)} {reason}; name the scheme ({', '.join(SCHEMES)}) or give a"
            " mapping from labels to tissues"
        )
    is_synthseg = fitting == ["freesurfer"] and bool(present & _OUTSIDE.keys())
    return "synthseg" if is_synthseg else fitting[0]


def _fits(name: str, present: set[int]) -> bool:
    if name == "gif":
        is_told = ({45, 46} <= present or {84, 92} <= present) and bool(
            present & set(range(101, 209))
        )
    else:
        is_told = {2, 41} <= present and (
            {3, 42} <= present
            or bool(present & set(range(1000, 1036)))
            or bool(present & set(range(11100, 11176)))
        )
    known = SCHEMES["gif" if name == "gif" else "synthseg"]
    return is_told and len(present & known.keys()) >= SHARE_KNOWN * len(present)


def _shorten(present: set[int]) -> str:
    numbers = sorted(present)
    text = ", ".join(str(number) for number in numbers[:12])
    return text if len(numbers) <= 12 else f"{text}, … ({len(numbers)} in all)"
