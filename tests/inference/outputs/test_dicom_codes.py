"""Names of labels become codes that DICOM's own lists know."""

import pytest

from volseg.inference.outputs.dicom_codes import code_of

ANATOMY, MORPHOLOGY, TISSUE = "91723000", "49755003", "85756007"

NAMES = {
    "liver": (ANATOMY, "10200004", None),
    "Kidney_Left": (ANATOMY, "64033007", "7771000"),
    "right lung": (ANATOMY, "39607008", "24028007"),
    "white matter": (ANATOMY, "389080008", None),
    "Tumor": (MORPHOLOGY, "108369006", None),
    "necrotic core": (MORPHOLOGY, "6574001", None),
    "peritumoral edema": (MORPHOLOGY, "79654002", None),
    "enhancing tumour": (MORPHOLOGY, "C113842", None),
    "non-enhancing tumour": (MORPHOLOGY, "C81175", None),
    "artery": (TISSUE, "51114001", None),
    "anterior": (TISSUE, TISSUE, None),
    "left thing": (TISSUE, TISSUE, "7771000"),
    "肝臓": (TISSUE, TISSUE, None),
    "1": (TISSUE, TISSUE, None),
}


@pytest.mark.parametrize("name", NAMES)
def test_a_name_gets_category_type_and_side(name):
    coding = code_of(name)
    side = coding.side.value if coding.side else None
    assert (coding.category.value, coding.kind.value, side) == NAMES[name]
