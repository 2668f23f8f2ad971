"""Resampling touches its own keys only."""

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Spacingd

from volseg.data.spacing import IsolatedSpacingd


def case():
    """Give a case as MONAI Label makes it: with the path of the image under another key."""
    affine = np.diag([1.0, 2, 3, 1])
    volume = torch.arange(120.0).reshape(1, 4, 5, 6)
    meta = {"filename_or_obj": "a.nii.gz"}
    return {"image": MetaTensor(volume, affine=affine, meta=meta), "image_path": "a.nii.gz"}


def test_voxels_are_those_of_monai():
    settings = {"keys": "image", "pixdim": (1.5, 1.5, 1.5), "mode": "bilinear"}
    ours = IsolatedSpacingd(**settings)(case())
    theirs = Spacingd(**settings)({"image": case()["image"]})
    assert torch.equal(ours["image"], theirs["image"])
    assert ours["image"].shape == (1, 3, 6, 11)  # (n - 1) * old / new + 1, rounded
    assert ours["image_path"] == "a.nii.gz"


def test_the_result_can_be_undone():
    transform = IsolatedSpacingd("image", pixdim=(1.0, 1.0, 1.0), mode="bilinear")
    back = transform.inverse(transform(case()))["image"]
    # a linear ramp survives linear interpolation; its values reach 119 in 32 bits
    assert torch.allclose(back.as_tensor(), case()["image"].as_tensor(), atol=1e-3)


@pytest.mark.parametrize("lazy", [False, True])
def test_lazy_resampling_is_noted_and_not_done(lazy):
    result = IsolatedSpacingd("image", pixdim=(1.0, 1.0, 1.0))(case(), lazy=lazy)
    assert result["image"].shape == ((1, 4, 5, 6) if lazy else (1, 4, 9, 16))
    assert len(result["image"].pending_operations) == int(lazy)
