"""Labels are rounded, never cut off, and known."""

import pytest
import torch
from monai.data import MetaTensor

from volseg.data.labels import RequireClassesd, RoundLabeld
from volseg.errors import DataError


def test_almost_whole_numbers_are_rounded():
    values = torch.tensor([0.0, 0.99999997, 2.0004, 530])
    result = RoundLabeld("label")({"label": values, "image": 1})
    assert result["label"].tolist() == [0, 1, 2, 530]
    assert result["label"].dtype == torch.int16
    assert result["image"] == 1


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.int64, torch.float64])
def test_any_stored_type_will_do(dtype):
    assert RoundLabeld("label")({"label": torch.tensor([0, 7], dtype=dtype)})["label"].tolist() == [
        0,
        7,
    ]


@pytest.mark.parametrize("value", [0.5, -1.0, 40000.0, float("nan"), float("inf")])
def test_what_is_no_label_is_refused_by_name(value):
    label = MetaTensor(torch.tensor([0.0, value]), meta={"filename_or_obj": "case/7.nii"})
    with pytest.raises(DataError, match=r"case/7\.nii is not a label map"):
        RoundLabeld("label")({"label": label})


def test_a_value_beyond_the_classes_is_refused():
    case = {"label": torch.tensor([[0, 2, 3]])}
    assert RequireClassesd("label", 4)(case) == case
    with pytest.raises(
        DataError, match="label holds the value 3 and there are 3 classes; use 0 to 2"
    ):
        RequireClassesd("label", 3)(case)
    assert RequireClassesd("label", 3)({"image": 1}) == {"image": 1}
