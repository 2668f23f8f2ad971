"""What one label of a label map stands for."""

from typing import NamedTuple

from volseg.transforms.anatomy.maps import Lobe, Side, Tissue


class Meaning(NamedTuple):
    """What one label stands for; side and lobe are `NONE` where the number does not tell."""

    tissue: Tissue
    side: Side = Side.NONE
    lobe: Lobe = Lobe.NONE
