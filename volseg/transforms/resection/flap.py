"""The craniotomy: saw cut, burr holes, plates, and the collections under and over the bone flap.

Everything is laid out in a frame about the flap's axis, which points from the skull into the head:
the cut is a closed curve about it that is not quite a circle. Only voxels that can change are
visited, those of bone, scalp and the brain's outermost layer.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from volseg.transforms.anatomy.maps import DEPTH_STEP, Anatomy, Tissue
from volseg.transforms.resection.cavity import Flap
from volseg.transforms.resection.streams import FLAP, open_stream

Corner = tuple[int, int, int]

CPU = torch.device("cpu")

MARGIN = 6.0
"""The flap's box reaches so far beyond cut and burr hole, in mm."""

BONE = (1.5, 8.0)
"""Where no bone is labelled it is taken to lie so many mm outside the brain's hull."""

PLATE_RADIUS = 3.5
"""A titanium plate bridges the cut over so many mm; its void is as large on MRI."""


@dataclass(frozen=True)
class FlapFields:
    """Weights of the flap's parts in its box, ``(d, h, w)`` each, 0 to 1.

    Args:
        start: First voxel of the box.
        stop: First voxel beyond it.
        weights: ``cut_bone``, ``plate``, ``extradural`` and ``subgaleal``, those that there are.
    """

    start: Corner
    stop: Corner
    weights: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class _Frame:
    """Coordinates about the flap's axis, in mm."""

    flap: Flap
    axis: NDArray[np.float64]
    first: NDArray[np.float64]
    second: NDArray[np.float64]
    waves: NDArray[np.float64]
    holes: NDArray[np.float64]

    def locate(self, points: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
        """Give depth along the axis, distance from it and angle about it."""
        offset = points - np.asarray(self.flap.centre)
        across, along = offset @ self.first, offset @ self.second
        return offset @ self.axis, np.hypot(across, along), np.arctan2(along, across)

    def edge(self, angle: NDArray[np.float64]) -> NDArray[np.float64]:
        """Distance of the cut from the axis at an angle."""
        two, three = self.waves
        wobble = 0.1 * np.cos(2 * angle + two) + 0.05 * np.cos(3 * angle + three)
        radius: NDArray[np.float64] = self.flap.radius * (1 + wobble)
        return radius


def make_flap(anatomy: Anatomy, flap: Flap, seed: int) -> FlapFields | None:
    """Lay out a craniotomy.

    Args:
        anatomy: The maps of the head.
        flap: What was drawn.
        seed: Of the outline and of the places of holes and plates.

    Returns:
        The fields, or `None` if there is nothing of the head outside the brain's hull there.
    """
    start, stop = _box(anatomy, flap)
    if any(b - a < 2 for a, b in zip(start, stop, strict=True)):
        return None
    box = anatomy.crop(start, stop).to(CPU)
    bone = _bone(box)
    hull = box.depth > 0
    if not bool(bone.any()) or not bool(hull.any()):
        return None
    frame = _frame(box, flap, hull, seed)
    weights = {"cut_bone": _cut(box, bone, frame), "plate": _plates(box, bone, frame)}
    if flap.extradural > 0:
        weights["extradural"] = _extradural(box, hull, frame)
    if flap.subgaleal > 0:
        weights["subgaleal"] = _subgaleal(box, bone, frame)
    return FlapFields(
        start, stop, {part: each.to(anatomy.device) for part, each in weights.items()}
    )


def _box(anatomy: Anatomy, flap: Flap) -> tuple[Corner, Corner]:
    inverse = np.linalg.inv(anatomy.affine)
    centre = inverse[:3, :3] @ np.asarray(flap.centre) + inverse[:3, 3]
    radius = (1.15 * flap.radius + flap.burr_radius + MARGIN) / anatomy.spacing
    low = np.maximum(np.floor(centre - radius), 0).astype(int)
    high = np.minimum(np.ceil(centre + radius) + 1, anatomy.tissue.shape).astype(int)
    return (
        (int(low[0]), int(low[1]), int(low[2])),
        (int(high[0]), int(high[1]), int(high[2])),
    )


def _bone(box: Anatomy) -> Tensor:
    """Mark the bone; where none is labelled, a layer outside the hull."""
    bone = box.tissue == Tissue.SKULL
    if bool(bone.any()):
        return bone
    outside = (box.depth == 0) & (box.tissue == Tissue.HEAD)
    distance = _distance(box.depth == 0, box.spacing)
    return outside & (distance > BONE[0]) & (distance < BONE[1])


def _distance(mask: Tensor, spacing: NDArray[np.float64]) -> Tensor:
    """Distance from each marked voxel to the nearest that is not, in mm."""
    distance = ndimage.distance_transform_edt(mask.numpy(), sampling=spacing)
    return torch.from_numpy(distance.astype(np.float32))


def _frame(box: Anatomy, flap: Flap, hull: Tensor, seed: int) -> _Frame:
    """Point the axis from the flap to the middle of the brain that is in the box."""
    inside = _points(box, hull[::3, ::3, ::3].nonzero() * 3)
    axis = inside.mean(axis=0) - np.asarray(flap.centre)
    axis = axis / max(float(np.linalg.norm(axis)), 1e-6)
    other = np.eye(3)[(int(np.abs(axis).argmax()) + 1) % 3]
    first = np.cross(axis, other)
    first = first / np.linalg.norm(first)
    random = np.random.RandomState(open_stream(seed, FLAP).initial_seed() % 2**32)
    waves = random.uniform(0, 2 * np.pi, 2)
    steps = (np.arange(flap.burr_holes) + random.uniform(-0.2, 0.2, flap.burr_holes)) * 2 * np.pi
    holes = random.uniform(0, 2 * np.pi) + steps / max(flap.burr_holes, 1)
    return _Frame(flap, axis, first, np.cross(axis, first), waves, holes)


def _points(box: Anatomy, indices: Tensor) -> NDArray[np.float64]:
    points: NDArray[np.float64] = indices.numpy() @ box.affine[:3, :3].T + box.affine[:3, 3]
    return points


def _spread(box: Anatomy, indices: Tensor, values: NDArray[np.float64]) -> Tensor:
    """Write values to their voxels; 0 elsewhere."""
    field_ = torch.zeros(box.tissue.shape)
    field_[tuple(indices.T)] = torch.from_numpy(values).float()
    return field_


def _cut(box: Anatomy, bone: Tensor, frame: _Frame) -> Tensor:
    """Mark the saw cut and the burr holes on it, through the whole bone."""
    indices = bone.nonzero()
    depth, distance, angle = frame.locate(_points(box, indices))
    soft = float(box.spacing.mean())
    edge = frame.edge(angle)
    weight = np.clip((frame.flap.kerf / 2 - np.abs(distance - edge)) / soft + 0.5, 0, 1)
    for hole in frame.holes:
        place = frame.edge(np.asarray(hole))
        gap = np.sqrt(distance**2 + place**2 - 2 * distance * place * np.cos(angle - hole))
        weight = np.maximum(weight, np.clip((frame.flap.burr_radius - gap) / soft + 0.5, 0, 1))
    return _spread(box, indices, weight * _is_near(depth, frame.flap))


def _plates(box: Anatomy, bone: Tensor, frame: _Frame) -> Tensor:
    """Mark plates between the burr holes, on the outer half of the bone."""
    indices = bone.nonzero()
    points = _points(box, indices)
    depth, distance, angle = frame.locate(points)
    weight = np.zeros(len(points))
    for hole in frame.holes + np.pi / max(len(frame.holes), 1):
        place = frame.edge(np.asarray(hole))
        gap = np.sqrt(distance**2 + place**2 - 2 * distance * place * np.cos(angle - hole))
        beneath = gap < PLATE_RADIUS
        if not beneath.any():
            continue
        outer = depth - np.quantile(depth[beneath], 0.05)
        weight = np.maximum(weight, beneath * np.clip((2.5 - outer) / 1.0, 0, 1))
    return _spread(box, indices, weight * _is_near(depth, frame.flap))


def _is_near(depth: NDArray[np.float64], flap: Flap) -> NDArray[np.bool_]:
    """Spare the far side of the head and the skull base."""
    near: NDArray[np.bool_] = (depth > -15) & (depth < max(25.0, 0.8 * flap.radius))
    return near


def _extradural(box: Anatomy, hull: Tensor, frame: _Frame) -> Tensor:
    """Mark a lens under the flap, thickest in its middle."""
    flap = frame.flap
    layer = hull & (box.depth <= round(flap.extradural / DEPTH_STEP) + 1)
    indices = layer.nonzero()
    depth, distance, angle = frame.locate(_points(box, indices))
    inner = np.clip(1 - (distance / frame.edge(angle)) ** 2, 0, 1) ** 0.5
    below = box.depth[tuple(indices.T)].numpy() * DEPTH_STEP
    weight = np.clip((flap.extradural * inner - below) / float(box.spacing.mean()) + 0.5, 0, 1)
    return _spread(box, indices, weight * (inner > 0) * _is_near(depth, flap))


def _subgaleal(box: Anatomy, bone: Tensor, frame: _Frame) -> Tensor:
    """Mark the innermost layer of the scalp over the flap."""
    flap = frame.flap
    scalp = (box.tissue == Tissue.HEAD) & ~bone & (box.depth == 0)
    distance_to_bone = _distance(~bone, box.spacing)
    indices = (scalp & (distance_to_bone <= flap.subgaleal)).nonzero()
    points = _points(box, indices)
    depth, distance, angle = frame.locate(points)
    inner = np.clip(1.3 - distance / frame.edge(angle), 0, 1)
    gap = distance_to_bone[tuple(indices.T)].numpy()
    weight = np.clip((flap.subgaleal * np.minimum(2 * inner, 1) - gap) / 1.0 + 0.5, 0, 1)
    is_outer = _outer(depth, distance, flap)
    return _spread(box, indices, weight * (inner > 0) * is_outer * _is_near(depth, flap))


def _outer(
    depth: NDArray[np.float64], distance: NDArray[np.float64], flap: Flap
) -> NDArray[np.bool_]:
    """Tell scalp from what lies between bone and brain, by the curve of the head."""
    curve = distance**2 / (2 * max(2 * flap.radius, 70.0))
    outer: NDArray[np.bool_] = depth < curve + 3
    return outer
