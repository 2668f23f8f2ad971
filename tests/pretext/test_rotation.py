"""Rotation, with a half of the features that knows it and one that does not."""

from functools import partial
from typing import ClassVar

import pytest
import torch

from tests.pretext.contract import PretextContract, make_batch, smooth_volume
from volseg.errors import GeometryError
from volseg.networks.residual import ResidualEncoder
from volseg.networks.swin import SwinEncoder
from volseg.networks.vit import ViTEncoder
from volseg.pretext.rotation import (
    CubicCrop,
    RotationDecoupling,
    cube_turns,
    tell_apart,
    turn_copies,
)

PATCH = (16, 16, 16)


def residual(in_channels=1):
    return ResidualEncoder(in_channels, widths=(4, 8, 8))


def swin():
    return SwinEncoder(1, 8, (2, 2), (2, 2), window=3)


def vit():
    return ViTEncoder(1, PATCH, 4, 24, 4, 2)


class RotationContract(PretextContract):
    """The contract, over cubes."""

    patch = PATCH
    make = staticmethod(residual)
    options: ClassVar = {}

    def build(self, encoder=None):
        torch.manual_seed(0)
        return RotationDecoupling(encoder or self.make(), **{"projection": 8, **self.options})

    def unfit(self):
        encoder = ResidualEncoder(1, (4, 8, 8), downsampling=((2, 2, 1), (2, 2, 2)))
        return encoder, "ViTEncoder, SwinEncoder or ResidualEncoder with equal strides"


class TestAxes(RotationContract):
    pass


class TestCube(RotationContract):
    options: ClassVar = {"rotations": "cube24", "copies": 3}


class TestSwin(RotationContract):
    make = staticmethod(swin)
    unused = ("mask_token",)


class TestViT(RotationContract):
    steps = 40  # a transformer without convolutions sees turns late
    make = staticmethod(vit)


class TestTwoChannels(RotationContract):
    make = staticmethod(partial(residual, 2))


def turned(numbers):
    cube = torch.arange(27.0).view(1, 1, 3, 3, 3)
    return turn_copies(cube, torch.tensor([numbers]), cube_turns(is_about_axes=False))[0, :, 0]


def test_a_cube_has_24_rotations_and_the_first_is_the_identity():
    copies = turned(list(range(24)))
    assert len({tuple(copy.flatten().tolist()) for copy in copies}) == 24
    assert torch.equal(copies[0], torch.arange(27.0).view(3, 3, 3))


def test_rotations_keep_the_hand_of_a_corner():
    """The corner's neighbours along x, y, z stay a right-handed frame; a mirrored one would not."""
    cube = torch.zeros(3, 3, 3)
    cube[0, 0, 0], cube[1, 0, 0], cube[0, 1, 0], cube[0, 0, 1] = 1, 2, 3, 4
    turns = cube_turns(is_about_axes=False)
    copies = turn_copies(cube[None, None], torch.arange(24)[None], turns)[0, :, 0]
    for copy in copies:
        corner, *ends = ((copy == value).nonzero()[0] for value in (1, 2, 3, 4))
        frame = torch.stack([end - corner for end in ends]).float()
        assert torch.linalg.det(frame).round() == 1


def test_ten_rotations_are_those_about_an_axis_by_quarter_turns():
    cube = torch.arange(27.0).view(3, 3, 3)
    wanted = {tuple(cube.flatten().tolist())}
    for plane in [(0, 1), (0, 2), (1, 2)]:
        for quarter in (1, 2, 3):
            wanted.add(tuple(torch.rot90(cube, quarter, plane).flatten().tolist()))
    turns = cube_turns(is_about_axes=True)
    copies = turn_copies(cube[None, None], torch.arange(len(turns))[None], turns)[0, :, 0]
    assert {tuple(copy.flatten().tolist()) for copy in copies} == wanted
    assert len(turns) == len(wanted) == 10


def test_the_crop_of_a_thin_volume_is_its_largest_cube_enlarged_without_padding():
    view = CubicCrop(16, 10, 2)
    view.set_random_state(0)
    crop = view({"image": smooth_volume((20, 8, 30)) + 100})
    assert crop["image"].shape == (1, 16, 16, 16)
    assert crop["image"].min() > 90  # padding would be 0
    ramp = torch.arange(8.0).view(1, 1, 8, 1).expand(1, 8, 8, 8)
    row = CubicCrop(16, 10, 2)({"image": ramp})["image"][0, 5, :, 5]
    torch.testing.assert_close(row[1:-1], torch.arange(14) / 2 + 0.25)  # cells of half a voxel


def test_the_rotations_of_a_crop_are_all_different_and_all_are_drawn():
    view = CubicCrop(4, 10, 4)
    view.set_random_state(0)
    draws = [view.sample((6, 6, 6), 4)[1] for _ in range(100)]
    assert all(len(set(draw)) == 4 for draw in draws)
    assert set().union(*draws) == set(range(10))


def test_each_copy_is_asked_for_its_own_rotation():
    """A head that knows the answers is right, in whatever order the rotations were drawn."""
    task = RotationDecoupling(residual(), copies=3)
    batch = make_batch(task, PATCH)
    numbers = batch["turns"].flatten()
    task.classify = Answers(numbers)
    result = task(batch)
    assert result.monitors["rotation_accuracy"] == 1
    assert result.parts["rotation"].item() == pytest.approx(0, abs=1e-4)


class Answers(torch.nn.Module):
    def __init__(self, numbers):
        super().__init__()
        self.rows = 20 * torch.nn.functional.one_hot(numbers, 10).float()

    def forward(self, features):
        return self.rows + 0 * features.sum()


def test_copies_of_unlike_volumes_are_told_apart_in_closed_form():
    known = torch.tensor([[[1.0, 0], [1, 0]], [[0, 1], [0, 1]]])
    # the own volume has cosine 1, the other 0: minus log of e^2 / (e^2 + 1)
    assert tell_apart(known, 0.5).item() == pytest.approx(0.126928, abs=1e-5)


def test_a_copy_is_not_compared_with_itself():
    """Two copies of a volume that are orthogonal are as unlike as copies of different volumes."""
    known = torch.tensor([[[1.0, 0, 0, 0], [0, 1, 0, 0]], [[0, 0, 1, 0], [0, 0, 0, 1]]])
    assert tell_apart(known, 0.1).item() == pytest.approx(0.693147, abs=1e-5)


def test_a_batch_of_one_has_nobody_to_be_told_from():
    assert tell_apart(torch.eye(3)[None], 0.1) == 0


def test_a_crop_that_is_no_cube_is_refused():
    with pytest.raises(GeometryError, match=r"is no cube.*use \(24, 24, 24\)"):
        RotationDecoupling(residual()).views((16, 24, 16))


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"rotations": "axis4"}, r"use one of \['axis10', 'cube24'\]"),
        ({"copies": 1}, "1 copies do not fit 10 rotations; use 2 to 10"),
        ({"copies": 11}, "use 2 to 10"),
    ],
)
def test_options_without_a_task_are_refused(options, reason):
    with pytest.raises(GeometryError, match=reason):
        RotationDecoupling(residual(), **options)
