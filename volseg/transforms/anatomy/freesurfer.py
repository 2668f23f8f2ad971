"""FreeSurfer's numbers (FreeSurferColorLUT.txt), and those that SynthSeg adds outside the brain."""

from volseg.transforms.anatomy.maps import Lobe, Side, Tissue
from volseg.transforms.anatomy.meaning import Meaning

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

OUTSIDE = {
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


def freesurfer() -> dict[int, Meaning]:
    """Give the meaning of FreeSurfer's labels, aparc's and wmparc's included."""
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
