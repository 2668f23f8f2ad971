"""Random views of a volume for tasks that compare: how they are cropped, and how they are changed.

The ways of cropping and the changes are those whose worth Dmitrenko et al. 2022
(https://arxiv.org/abs/2203.04107) compare for cells: one crop, or one full crop and four smaller
ones; with and without changes. We measure fractions of a crop by volume, and add a pair of
neighbouring crops, which is common for volumes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from monai.transforms import (
    Compose,
    RandAdjustContrast,
    RandGaussianNoise,
    RandGaussianSmooth,
    Randomizable,
    RandScaleIntensity,
    RandShiftIntensity,
)
from torch import Tensor
from torch.nn import functional

from volseg.errors import GeometryError
from volseg.pretext.crops import crop_padded, draw_near, draw_start, read_volume
from volseg.types import Size

CROPS: dict[str, tuple[tuple[float, float], ...]] = {
    "one": (),
    "same": (),
    "pair": (),
    "multi": ((0.5, 0.75), (0.5, 0.75), (0.25, 0.5), (0.25, 0.5)),
}
"""Ways of cropping, with the range of each smaller crop's share of the full one's volume."""

PAIR_SHIFT = 5
"""The second crop of a pair is shifted by a fifth of an edge at most, and shares half with it."""

BLUR = (0.5, 1.5)
"""Range of the standard deviation of the blur, in voxels."""

MINIMUM_VALID_FRACTION = 0.25
MAXIMUM_TRIES = 10


@dataclass(frozen=True)
class ViewDraw:
    """What is random about a view.

    Args:
        start: First voxel along each axis; negative where the volume is padded.
        size: Voxels of the box along each axis; it is resized to the patch.
        flips: Axes to flip, 0 to 2.
        seed: Seed of the changes of intensity.
    """

    start: Size
    size: Size
    flips: tuple[int, ...]
    seed: int


class RandomViews(Randomizable):
    """Crop several views of a volume and change the intensities of each.

    Args:
        patch_size: Voxels of a view along each axis; a smaller volume is padded with zeros.
        crops: ``one`` view; the ``same`` crop twice; a ``pair`` of crops that share at least half
            their volume; or ``multi``, a full crop and four smaller ones inside it, two of 50 to 75
            percent of its volume and two of 25 to 50, enlarged to the patch.
        flip_axes: Axes to flip, each with probability one half, view by view.
        is_augmented: Whether intensities are blurred, scaled, shifted, bent and made noisy.

    Raises:
        GeometryError: If the way of cropping is unknown.
    """

    def __init__(
        self,
        patch_size: Size,
        crops: str = "pair",
        flip_axes: tuple[int, ...] = (),
        *,
        is_augmented: bool = True,
    ) -> None:
        if crops not in CROPS:
            raise GeometryError(f"crops are {crops!r}; use one of {list(CROPS)}")
        self.patch_size = patch_size
        self.crops = crops
        self.flip_axes = flip_axes
        self.is_augmented = is_augmented
        self.change = Compose(
            [
                RandGaussianSmooth(BLUR, BLUR, BLUR, prob=0.2),
                RandAdjustContrast(prob=0.5, gamma=(0.7, 1.5)),
                RandScaleIntensity(0.3, prob=0.8),
                RandShiftIntensity(0.3, prob=0.8),
                RandGaussianNoise(prob=0.5, std=0.2),
            ]
        )

    def __call__(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """Make the views of one case.

        Args:
            data: The case: ``image``, ``(C, X, Y, Z)``; other keys are left out.

        Returns:
            ``image``, the views, ``(V, C, D, H, W)``.
        """
        image, valid = read_volume(data)
        return {"image": torch.stack([self.render(image, draw) for draw in self.sample(valid)])}

    def sample(self, valid: Tensor) -> list[ViewDraw]:
        """Draw the views of a volume.

        Args:
            valid: Voxels that hold signal, ``(1, X, Y, Z)``; ten places are tried at most for a
                crop of which a quarter does.

        Returns:
            One draw a view; the first is a full crop.
        """
        size: Size = (valid.shape[1], valid.shape[2], valid.shape[3])
        for _ in range(MAXIMUM_TRIES):
            start = draw_start(self.R, size, self.patch_size)
            share = crop_padded(valid, self.patch_size, start).float().mean()
            if share >= MINIMUM_VALID_FRACTION:
                break
        boxes = [(start, self.patch_size)]
        if self.crops == "same":
            boxes *= 2
        elif self.crops == "pair":
            near = draw_near(self.R, size, self.patch_size, start, PAIR_SHIFT)
            boxes.append((near, self.patch_size))
        boxes += [self._draw_inside(start, share) for share in CROPS[self.crops]]
        return [self._draw_changes(*box) for box in boxes]

    def render(self, image: Tensor, draw: ViewDraw) -> Tensor:
        """Cut a view out of a volume: a function of its arguments alone.

        Args:
            image: Volume, ``(C, X, Y, Z)``.
            draw: What is random about the view.

        Returns:
            The view, ``(C, D, H, W)``.
        """
        view = crop_padded(image, draw.size, draw.start)
        if draw.size != self.patch_size:
            view = functional.interpolate(view[None], self.patch_size, mode="trilinear")[0]
        view = view.flip([axis + 1 for axis in draw.flips])
        if self.is_augmented:
            self.change.set_random_state(seed=draw.seed)
            view = torch.as_tensor(self.change(view)).as_subclass(Tensor)
        return view.contiguous()

    def _draw_inside(self, start: Size, shares: tuple[float, float]) -> tuple[Size, Size]:
        """Draw a smaller box inside a full crop, of the same proportions."""
        scale = self.R.uniform(*shares) ** (1 / 3)
        edges = [max(1, round(scale * edge)) for edge in self.patch_size]
        pairs = zip(start, self.patch_size, edges, strict=True)
        first = [begin + int(self.R.randint(full - edge + 1)) for begin, full, edge in pairs]
        return (first[0], first[1], first[2]), (edges[0], edges[1], edges[2])

    def _draw_changes(self, start: Size, size: Size) -> ViewDraw:
        flips = tuple(axis for axis in self.flip_axes if self.R.random_sample() < 0.5)
        return ViewDraw(start, size, flips, int(self.R.randint(2**31)))
