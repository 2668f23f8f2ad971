"""The random view of tasks whose target is computed from the volume: a crop of both, alike.

The target is that of the whole volume, so that it means the same in every crop, and of the volume
as it is; intensities are changed afterwards, and only those of what the network sees.
"""

from collections.abc import Callable, Mapping
from typing import Any

from monai.transforms import Randomizable
from numpy.random import RandomState
from torch import Tensor

from volseg.pretext.crops import crop_padded, read_volume
from volseg.pretext.views import RandomViews
from volseg.types import Size

Target = Callable[[Tensor, Tensor], Tensor]
"""From a volume, ``(C, X, Y, Z)``, and its valid voxels, ``(1, X, Y, Z)``, to a map on its grid."""


def clean_image(image: Tensor, valid: Tensor) -> Tensor:  # noqa: ARG001 - a `Target`
    """Give the volume as it is: the target of tasks that restore.

    Args:
        image: Volume, ``(C, X, Y, Z)``.
        valid: Not read.

    Returns:
        The volume.
    """
    return image


class TargetCrop(Randomizable):
    """Crop a volume and maps of it at one place.

    Args:
        patch_size: Voxels of the crop along each axis; a smaller volume is padded with zeros.
        targets: What computes each map, by name.
        flip_axes: Axes to flip, each with probability one half.
        is_augmented: Whether the intensities of the image, not of the maps, are changed.
    """

    def __init__(
        self,
        patch_size: Size,
        targets: Mapping[str, Target],
        flip_axes: tuple[int, ...] = (),
        *,
        is_augmented: bool = True,
    ) -> None:
        self.targets = dict(targets)
        self.views = RandomViews(patch_size, "one", flip_axes, is_augmented=is_augmented)

    def set_random_state(
        self, seed: int | None = None, state: RandomState | None = None
    ) -> "TargetCrop":
        """Seed the draws.

        Args:
            seed: The seed.
            state: A generator, instead.

        Returns:
            The view.
        """
        self.views.set_random_state(seed, state)
        return self

    def __call__(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """Make the view of one case.

        Args:
            data: The case: ``image``, ``(C, X, Y, Z)``; other keys are left out.

        Returns:
            ``image`` ``(C, D, H, W)``, ``valid`` ``(1, D, H, W)``, and the crop of each map.
        """
        image, valid = read_volume(data)
        draw = self.views.sample(valid)[0]
        maps = {name: target(image, valid) for name, target in self.targets.items()}
        crops = {
            name: crop_padded(volume, draw.size, draw.start)
            .flip([axis + 1 for axis in draw.flips])
            .contiguous()
            for name, volume in {"valid": valid, **maps}.items()
        }
        return {"image": self.views.render(image, draw), **crops}

    def signature(self) -> tuple[Any, ...]:
        """Give what decides the image: views of equal signature and seed show the same."""
        return self.views.patch_size, self.views.flip_axes, self.views.is_augmented
