"""The numbers of GIF's third version, where right and left alternate."""

from volseg.transforms.anatomy.maps import Lobe, Side, Tissue
from volseg.transforms.anatomy.meaning import Meaning

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


def gif() -> dict[int, Meaning]:
    """Give the meaning of GIF's labels."""
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
