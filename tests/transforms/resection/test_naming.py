"""Names of contrasts as they occur."""

import pytest
import torch

from volseg.transforms.resection.naming import guess_contrast

NAMES = {
    "T1": ["t1", "chris_t1", "sub-01_T1w", "MPRAGE", "t1_pre_contrast", "T1 without contrast"],
    "T1c": ["t1c", "PGBM-002_t1c", "MR_Gd", "t1ce", "T1w_gd", "t1_post_contrast", "T1_Gadovist"],
    "T2": ["T2", "case_t2w"],
    "FLAIR": ["flair", "TCGA-DU-7294_flair", "T2-FLAIR"],
    "PD": ["chris_PD"],
    "CT": ["head_ct", "ct_contrast"],
    "unknown": ["image", "t10", "patient"],
}


@pytest.mark.parametrize(
    ("contrast", "name"), [(c, n) for c, names in NAMES.items() for n in names]
)
def test_a_name_gives_the_contrast_away(contrast, name):
    assert guess_contrast(name) == contrast


def test_hounsfield_units_give_ct_away():
    head = torch.full((20, 20, 20), -1000.0)
    head[4:16, 4:16, 4:16] = 35.0
    assert guess_contrast("image", head) == "CT"
    assert guess_contrast("image", head + 1000) == "unknown"
    assert guess_contrast("t1", head) == "T1"


@pytest.mark.parametrize("padding", [-2000.0, -3024.0, -32768.0])
def test_padding_does_not_hide_hounsfield_units(padding):
    head = torch.full((20, 20, 20), -1000.0)
    head[4:16, 4:16, 4:16] = 35.0
    head[:3] = padding
    assert guess_contrast("image", head) == "CT"
    assert guess_contrast("image", torch.full((4, 4, 4), padding)) == "unknown"
