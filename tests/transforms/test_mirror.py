"""The other side of a head as more channels."""

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from scipy.spatial.transform import Rotation

from tests.transforms.resection.heads import make_head
from volseg.errors import DataError
from volseg.transforms.anatomy.lobes import Plane
from volseg.transforms.mirror import AppendMirrord, RandMidlined, midline_of, mirror

SPACING = (4.0, 4.0, 4.0)
ACROSS = np.array([1.0, 0.0, 0.0])


def head(turn=0.0, tilt=0.0):
    """Make a head whose sides differ in nothing but a little noise, turned in its affine."""
    anatomy = make_head(SPACING)
    noise = torch.from_numpy(np.random.default_rng(0).normal(0, 0.1, anatomy.tissue.shape))
    image = 10.0 * anatomy.tissue.float() + noise.float()
    turned = np.eye(4)
    turned[:3, :3] = Rotation.from_euler("zy", [turn, tilt], degrees=True).as_matrix()
    return MetaTensor(image[None], affine=turned @ anatomy.affine)


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 2, 0), (2, 0, 1)])
@pytest.mark.parametrize("is_left_handed", [False, True])
def test_a_reflection_is_exact_whatever_the_axes_of_the_grid(order, is_left_handed):
    sizes, edges = (9, 6, 5), (2.0, 3.0, 4.0)
    values = torch.randn(2, *sizes)
    turn = Rotation.from_euler("xyz", [10, 20, 30], degrees=True).as_matrix()
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag(edges)
    affine[:3, 3] = (-7, 1, 2)
    middle = affine[:3, :3] @ [4, 0, 0] + affine[:3, 3]
    volume, placed = values.permute(0, *(axis + 1 for axis in order)), affine[:, [*order, 3]]
    if is_left_handed:
        volume = volume.flip(2)
        placed = placed @ np.diag([1.0, -1, 1, 1])
        placed[:3, 3] -= placed[:3, 1] * (volume.shape[2] - 1)
    found = mirror(volume.contiguous(), Plane(middle, turn[:, 0]), placed)
    expected = volume.flip(order.index(0) + 1)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


def test_a_plane_off_the_middle_continues_the_border():
    volume = torch.arange(6.0).view(1, 6, 1, 1).expand(1, 6, 3, 3).contiguous()
    found = mirror(volume, Plane(np.array([3.5, 0.0, 0.0]), ACROSS), np.eye(4))
    assert found[0, :, 1, 1].tolist() == pytest.approx([5, 5, 5, 4, 3, 2], abs=1e-4)


@pytest.mark.parametrize(("turn", "tilt"), [(0.0, 0.0), (9.0, 0.0), (-6.0, 7.0)])
def test_a_head_is_much_like_its_mirror_image_however_it_is_turned(turn, tilt):
    image = head(turn, tilt)
    both = AppendMirrord(["image"])({"image": image})["image"]
    assert both.shape == (2, *image.shape[1:])
    torch.testing.assert_close(both[:1].as_subclass(torch.Tensor), image.as_subclass(torch.Tensor))
    inside = image[0] > 5
    own, other = (channel[inside].numpy() for channel in both.as_subclass(torch.Tensor))
    assert np.corrcoef(own, other)[0, 1] > 0.75
    np.testing.assert_allclose(both.affine, image.affine)


def test_what_is_on_one_side_appears_on_the_other():
    image = head()
    image[0, 10:13, 25:28, 25:28] = 500.0
    both = AppendMirrord("image")({"image": image})["image"].as_subclass(torch.Tensor)
    places = (both[1] > 250).nonzero().float().mean(0).numpy()
    affine = np.asarray(image.affine)
    seen = affine[:3, :3] @ places + affine[:3, 3]
    there = affine[:3, :3] @ [11, 26, 26] + affine[:3, 3]
    assert seen[0] == pytest.approx(-there[0], abs=4)
    np.testing.assert_allclose(seen[1:], there[1:], atol=4)


def test_each_channel_has_its_own_mirror_image_behind_all_channels():
    image = head()
    both = AppendMirrord("image")({"image": torch.cat([image, -image])})["image"]
    torch.testing.assert_close(both[3], -both[2])


def test_a_known_midline_is_used_and_a_plain_tensor_takes_the_affine_of_its_case():
    image = torch.randn(1, 5, 4, 4)
    case = {"image": image, "affine": np.eye(4), "midline": Plane(np.array([2.0, 0, 0]), ACROSS)}
    both = AppendMirrord("image")(case)["image"]
    torch.testing.assert_close(both[1:], image.flip(1), atol=1e-5, rtol=0)
    with pytest.raises(DataError, match="image has no affine, so its sides are not known"):
        AppendMirrord("image")({"image": image})


def test_where_nothing_is_seen_the_volume_is_halved():
    plane = midline_of(torch.zeros(5, 7, 9), np.diag([2.0, 2, 2, 1]))
    np.testing.assert_allclose(plane.point, (4, 6, 8))
    np.testing.assert_allclose(plane.normal, ACROSS)


def test_a_midline_is_moved_by_a_little_and_in_another_way_each_time():
    plane = Plane(np.array([1.0, 2.0, 3.0]), ACROSS)
    move = RandMidlined(shift=1.5, turn=2.0)
    move.set_random_state(seed=0)
    moved = [move({"midline": plane})["midline"] for _ in range(300)]
    shifts = [each.point[0] - 1 for each in moved]
    angles = [np.degrees(np.arctan(each.normal[1] / each.normal[0])) for each in moved]
    assert np.std(shifts) == pytest.approx(1.5, rel=0.15)
    assert np.std(angles) == pytest.approx(2.0, rel=0.15)
    assert all(np.linalg.norm(each.normal) == pytest.approx(1) for each in moved)
    assert move({"name": "ann"}) == {"name": "ann"}
