"""What the numbers of well-known label maps stand for.

``freesurfer`` covers aseg, aparc+aseg, aparc.a2009s+aseg and wmparc (FreeSurfer's
FreeSurferColorLUT.txt); ``synthseg`` adds what the label maps of SynthSeg (Billot et al. 2023,
https://doi.org/10.1016/j.media.2023.102789) have outside the brain; ``gif`` is the third version of
the parcellation by geodesic information flows (Cardoso et al. 2015,
https://doi.org/10.1109/TMI.2015.2418298), which numbers right and left alternately.
"""

from collections.abc import Iterable, Mapping

from volseg.errors import DataError
from volseg.transforms.anatomy.freesurfer import OUTSIDE, freesurfer
from volseg.transforms.anatomy.gif import gif
from volseg.transforms.anatomy.maps import Tissue
from volseg.transforms.anatomy.meaning import Meaning

_FREESURFER = freesurfer()

SCHEMES: Mapping[str, Mapping[int, Meaning]] = {
    "freesurfer": _FREESURFER,
    "synthseg": _FREESURFER | {number: Meaning(tissue) for number, tissue in OUTSIDE.items()},
    "gif": gif(),
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
    is_synthseg = fitting == ["freesurfer"] and bool(present & OUTSIDE.keys())
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
