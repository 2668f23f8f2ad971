"""Cutting volumes to slabs."""

import numpy as np
import pytest
import torch

from volseg.errors import GeometryError
from volseg.transforms.slab import AXES, RandSlabd

SPACING = (2.0, 2.0, 4.0)


def case():
    image = torch.arange(40 * 50 * 30, dtype=torch.float32).view(1, 40, 50, 30)
    return {"image": image, "label": (image > 100).float(), "name": "ann"}


def cut_of(whole, slab):
    """Tell the axis that was cut and the first voxel that was kept."""
    axes = [axis for axis in range(3) if slab.shape[axis + 1] < whole.shape[axis + 1]]
    assert len(axes) == 1
    first = int(slab.flatten()[0])
    return axes[0], (first // 1500, first // 30 % 50, first % 30)[axes[0]]


def test_image_and_label_are_cut_alike_to_the_thickness_in_mm():
    transform = RandSlabd(("image", "label"), SPACING, 1.0, (24.0, 56.0))
    whole, seen = case(), set()
    for seed in range(40):
        transform.set_random_state(seed=seed)
        slab = transform(whole)
        axis, start = cut_of(whole["image"], slab["image"])
        kept = slab["image"].shape[axis + 1]
        assert 24 <= kept * SPACING[axis] <= 56
        expected = whole["label"].narrow(axis + 1, start, kept)
        assert torch.equal(slab["label"], expected)
        assert slab["name"] == "ann"
        seen.add(axis)
    assert seen == {0, 1, 2}


def test_an_affine_moves_along():
    transform = RandSlabd(("image",), SPACING, 1.0, (24.0, 56.0))
    affine = np.array([[0, -2.0, 0, 9], [2.0, 0, 0, -3], [0, 0, 4.0, 5], [0, 0, 0, 1]])
    whole = case()["image"]
    for seed in range(20):
        transform.set_random_state(seed=seed)
        slab = transform({"image": whole, "affine": affine})
        voxel = np.unravel_index(int(slab["image"].flatten()[0]), whole.shape[1:])
        np.testing.assert_allclose(slab["affine"][:, 3], affine @ [*voxel, 1])
        np.testing.assert_allclose(slab["affine"][:, :3], affine[:, :3])


def test_both_ends_may_stay():
    transform = RandSlabd(("image",), SPACING, 1.0, (112.0, 112.0))
    ends = set()
    for seed in range(200):
        transform.set_random_state(seed=seed)
        slab = transform({"image": case()["image"]})["image"]
        if slab.shape[3] == 28:
            ends.add(cut_of(case()["image"], slab)[1])
    assert ends == {0, 1, 2}


def test_most_slabs_are_axial():
    transform = RandSlabd(("image",), (1.0, 1.0, 1.0), 1.0, (5.0, 5.0))
    axial = 0
    for seed in range(300):
        transform.set_random_state(seed=seed)
        axial += transform({"image": case()["image"]})["image"].shape[3] == 5
    assert axial / 300 == pytest.approx(AXES[2], abs=0.1)


def test_what_is_thinner_is_left_alone_and_nothing_is_cut_at_probability_0():
    whole = case()
    for transform in (
        RandSlabd(("image",), SPACING, 1.0, (500.0, 600.0)),
        RandSlabd(("image",), SPACING, 0.0, (5.0, 5.0)),
    ):
        transform.set_random_state(seed=0)
        assert transform(whole)["image"] is whole["image"]


def test_an_empty_range_is_refused():
    with pytest.raises(GeometryError, match="slabs of 9 to 5 mm"):
        RandSlabd(("image",), SPACING, thickness=(9, 5))
