"""What the labels of a head stand for, as far as their brightness is concerned.

The numbers are FreeSurfer's, with those that the label maps of SynthSeg (Billot et al. 2023,
https://doi.org/10.1016/j.media.2023.102789) add for what lies outside the brain.
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import NamedTuple

from volseg.transforms.anatomy.maps import Tissue
from volseg.transforms.anatomy.schemes import find_scheme, guess_scheme


class Kind(StrEnum):
    """A tissue whose labels are about as bright as one another."""

    AIR = "air"
    WHITE = "white"
    GREY = "grey"
    FOLIA = "folia"
    DEEP = "deep"
    PALLIDUM = "pallidum"
    STEM = "stem"
    FLUID = "fluid"
    VENTRICLE = "ventricle"
    LESION = "lesion"
    PLEXUS = "plexus"
    ARTERY = "artery"
    VEIN = "vein"
    NERVE = "nerve"
    EYE = "eye"
    SOFT = "soft"
    FAT = "fat"
    SKIN = "skin"
    MUCOSA = "mucosa"
    BONE = "bone"
    MARROW = "marrow"
    OTHER = "other"


NUMBERS: Mapping[Kind, tuple[int, ...]] = {
    Kind.AIR: (0,),
    Kind.WHITE: (2, 7, 41, 46, 251, 252, 253, 254, 255),
    Kind.GREY: (3, 17, 18, 19, 20, 42, 53, 54, 55, 56, 96, 97),
    Kind.FOLIA: (8, 47),
    Kind.DEEP: (9, 10, 11, 12, 26, 27, 48, 49, 50, 51, 58, 59),
    Kind.PALLIDUM: (13, 52),
    Kind.STEM: (16, 28, 60),
    Kind.FLUID: (24,),
    Kind.VENTRICLE: (4, 5, 14, 15, 43, 44, 72),
    Kind.LESION: (25, 57, 77, 78, 79, 80, 81, 82),
    Kind.PLEXUS: (31, 63, 136, 137, 163, 164),
    Kind.ARTERY: (30, 62, 502),
    Kind.VEIN: (514,),
    Kind.NERVE: (85, 508, 512, 530),
    Kind.EYE: (506,),
    Kind.SOFT: (507,),
    Kind.SKIN: (511,),
    Kind.MUCOSA: (509,),
    Kind.BONE: (515,),
    Kind.MARROW: (516,),
}
"""The label numbers of each kind; fat has none, it lies within the soft tissue."""

BRAIN = frozenset(
    {
        Kind.WHITE,
        Kind.GREY,
        Kind.FOLIA,
        Kind.DEEP,
        Kind.PALLIDUM,
        Kind.STEM,
        Kind.LESION,
        Kind.PLEXUS,
    }
)
"""The kinds of solid brain."""

INNER = frozenset({Kind.FLUID, Kind.ARTERY, Kind.VEIN, Kind.NERVE})
"""The kinds that a skull stripper leaves between the convolutions."""

LEFT_OF_RIGHT: Mapping[int, int] = {
    **{right: right - 39 for right in (41, 42, 43, 44, 46, 47, *range(49, 53))},
    **{53: 17, 54: 18, 57: 25, 58: 26, 60: 28, 62: 30, 63: 31, 163: 136, 164: 137},
}
"""The left label of each right one."""

_KINDS = {number: kind for kind, numbers in NUMBERS.items() for number in numbers}


def kind_of_label(number: int) -> Kind:
    """Say what a label stands for.

    Args:
        number: FreeSurfer's or SynthSeg's number.

    Returns:
        Its kind; `Kind.OTHER` for a number that is not known.

    Examples:
        >>> kind_of_label(1015), kind_of_label(41)
        (<Kind.GREY: 'grey'>, <Kind.WHITE: 'white'>)
    """
    first = representative(number)
    return _KINDS.get(first, Kind.OTHER)


def representative(number: int) -> int:
    """Give the label that stands for a structure: the left one, and one for the whole cortex.

    Args:
        number: FreeSurfer's or SynthSeg's number.

    Returns:
        The number of the label that shares its brightness.

    Examples:
        >>> representative(49), representative(2030), representative(515)
        (10, 3, 515)
    """
    if 1000 <= number < 3000 or 11000 <= number < 13000:
        return 3
    if 3000 <= number < 5000 or 13000 <= number < 15000:
        return 2
    return LEFT_OF_RIGHT.get(number, number)


_OF_TISSUE = {
    Tissue.AIR: Kind.AIR,
    Tissue.HEAD: Kind.SOFT,
    Tissue.SKULL: Kind.BONE,
    Tissue.FLUID: Kind.FLUID,
    Tissue.VENTRICLE: Kind.VENTRICLE,
    Tissue.CORTEX: Kind.GREY,
    Tissue.WHITE: Kind.WHITE,
    Tissue.DEEP: Kind.DEEP,
    Tissue.LIMBIC: Kind.GREY,
    Tissue.CALLOSUM: Kind.WHITE,
    Tissue.BRAINSTEM: Kind.STEM,
    Tissue.CEREBELLUM_CORTEX: Kind.FOLIA,
    Tissue.CEREBELLUM_WHITE: Kind.WHITE,
    Tissue.LESION: Kind.LESION,
}


class Look(NamedTuple):
    """What decides how bright a label is.

    Args:
        kind: Its kind.
        group: Labels of one group look alike, as left and right do.
    """

    kind: Kind
    group: str


def read_labels(
    values: Iterable[int], scheme: str | Mapping[int, Tissue] | None = None
) -> dict[int, Look]:
    """Say what labels stand for.

    Args:
        values: The labels.
        scheme: Name of the scheme of their numbers, ``auto`` to guess it, or the tissue of each
            label; `None`: FreeSurfer's or SynthSeg's. In every scheme but these two, all labels of
            one tissue look alike.

    Returns:
        What decides how bright each label is.

    Examples:
        >>> read_labels([41], None)[41] == read_labels([2], None)[2]
        True
        >>> read_labels([45, 46], "gif")[46].kind
        <Kind.WHITE: 'white'>
    """
    numbers = [int(value) for value in values]
    name = guess_scheme(numbers) if isinstance(scheme, str) and scheme == "auto" else scheme
    if name is None or (isinstance(name, str) and name in ("freesurfer", "synthseg")):
        return {n: Look(kind_of_label(n), str(representative(n))) for n in numbers}
    table = find_scheme(name, numbers)
    looks = {}
    for number in numbers:
        kind = _OF_TISSUE[table[number].tissue] if number in table else Kind.OTHER
        looks[number] = Look(kind, str(number) if kind is Kind.OTHER else kind.value)
    return looks
