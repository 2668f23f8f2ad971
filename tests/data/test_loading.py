"""Errors of volseg pass through MONAI as they are."""

import numpy as np
import pytest
from monai.transforms import Lambda

from tests.data.files import image, label, save
from volseg.data.loading import Pipeline
from volseg.data.pipelines import preprocessing
from volseg.errors import DataError, GeometryError


def refuse(_):
    """Raise an error of volseg."""
    raise DataError("case 7 is bad")


def fail(_):
    """Raise an error of another kind."""
    raise ValueError("broken")


def test_what_volseg_refuses_is_not_wrapped():
    with pytest.raises(DataError, match=r"^case 7 is bad$"):
        Pipeline([Lambda(refuse)])(1)


def test_other_errors_stay_as_monai_raises_them():
    with pytest.raises(RuntimeError, match="applying transform"):
        Pipeline([Lambda(fail)])(1)


def test_without_errors_it_is_a_compose():
    assert Pipeline([Lambda(lambda x: x + 1), Lambda(lambda x: 2 * x)])(1) == 4
    assert len(Pipeline([Lambda(fail)] * 3)) == 3


def test_a_label_on_another_grid_is_refused_by_the_names_of_both(tmp_path):
    pair = {
        "image": str(save(tmp_path / "i.nii.gz", image())),
        "label": str(save(tmp_path / "l.nii.gz", label(), np.diag([-1.0, 1, 1, 1]))),
    }
    with pytest.raises(GeometryError, match=r"l\.nii\.gz: lies up to 10 mm from .*i\.nii\.gz"):
        preprocessing(("image", "label"))(pair)
