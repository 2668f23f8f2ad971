"""Codes for the names of labels, from the lists that come with DICOM's standard.

A name is searched among the concepts of DICOM's context group 7151, the types of segmented
properties, by its words; a few everyday words stand for theirs. What is not there is coded as
tissue, the most general of the types; the name itself is always stored beside the code.
"""

import re
from dataclasses import dataclass, replace
from functools import cache

from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

LESIONS = "CID7159"
"""The context group of the types of lesions."""

TYPES = "CID7151"
"""The context group of all types of segmented properties."""

GENERAL = "CID7166"
"""The context group of common tissues, whose category is tissue."""

EVERYDAY = {
    "tumor": "Neoplasm",
    "tumour": "Neoplasm",
    "cancer": "Neoplasm",
    "glioma": "Neoplasm",
    "metastasis": "NeoplasmSecondary",
    "metastases": "NeoplasmSecondary",
    "oedema": "Edema",
    "edema": "Edema",
    "necrosis": "Necrosis",
    "necrotic": "Necrosis",
    "bleeding": "Hemorrhage",
    "haemorrhage": "Hemorrhage",
    "enhancing": "EnhancingLesion",
    "nonenhancing": "NonEnhancingLesion",
    "lesion": "Lesion",
    "cyst": "Cyst",
}
"""Words in the names of labels, and the lesion that each stands for; the first found counts."""

SIDES = {"left": codes.SCT.Left, "right": codes.SCT.Right}


@dataclass(frozen=True)
class Coding:
    """What a label is, in codes.

    Args:
        category: The category of the property.
        kind: Its type.
        side: Left or right, if the name says so.
    """

    category: Code
    kind: Code
    side: Code | None = None


UNKNOWN = Coding(codes.SCT.Tissue, codes.SCT.Tissue)
"""What a label is of which only the name is known."""


def code_of(name: str) -> Coding:
    """Find the codes for the name of a label.

    Args:
        name: The name, such as ``left kidney`` or ``kidney_left``.

    Returns:
        Its codes.
    """
    words = re.findall(r"[a-z]+", re.sub(r"non[ _-]", "non", name.lower()))
    side = next((SIDES[word] for word in words if word in SIDES), None)
    words = [word for word in words if word not in SIDES]
    kind = _codes_in(TYPES).get("".join(words))
    if kind is None:
        everyday = [EVERYDAY[word] for word in words if word in EVERYDAY]
        kind = _codes_in(LESIONS)[everyday[0].lower()] if everyday else None
    return replace(_categorise(kind) if kind else UNKNOWN, side=side)


def _categorise(kind: Code) -> Coding:
    if kind in _codes_in(LESIONS).values():
        return Coding(codes.SCT.MorphologicallyAbnormalStructure, kind)
    if kind in _codes_in(GENERAL).values():
        return Coding(codes.SCT.Tissue, kind)
    return Coding(codes.SCT.AnatomicalStructure, kind)


@cache
def _codes_in(group: str) -> dict[str, Code]:
    """Give the codes of a context group by the letters of their keywords."""
    found = getattr(codes, group)
    return {keyword.lower(): getattr(found, keyword) for keyword in found.dir()}
