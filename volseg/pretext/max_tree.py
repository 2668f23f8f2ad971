"""Component trees as the target: predict how regions of like intensity lie within each other.

The task is that of Tang, Du & Xu 2022 (IJCNN): a network predicts for each pixel an attribute of
the max-tree's component that it lies in. The paper's details could not be read; as its public
re-implementation does, we take a component's size over that of the component around it. We depart
from it in that trees are those of whole 3D volumes; in that there is a min-tree beside the
max-tree, without which dark structures would not be seen; and in that intensities are smoothed and
sorted into a few levels first, without which components are mostly noise.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from volseg.errors import GeometryError
from volseg.networks.decoder import ConvolutionalDecoder, Decoder
from volseg.networks.encoder import Encoder, FeatureSpec
from volseg.pretext.cached import CachedTarget
from volseg.pretext.reconstruction import as_size, masked_error
from volseg.pretext.targets import TargetCrop
from volseg.pretext.task import PretextResult, PretextTask
from volseg.pretext.voxels import VoxelHead, deepest_figures
from volseg.transforms.component_tree import ATTRIBUTES, TREES, component_map, quantize
from volseg.types import Size


@dataclass(frozen=True)
class TreeMaps:
    """Attributes of the components of a volume.

    Args:
        trees: ``max`` (bright components), ``min`` (dark ones), or both.
        attribute: ``area_ratio`` or ``log_area``, see `volseg.transforms.component_tree`.
        levels: Levels of intensity, 2 to 256.
        sigma: Standard deviation of the smoothing before, in voxels.
        channel: The channel whose components are meant.

    Raises:
        GeometryError: If there is no tree, or one of them, the attribute, or the levels are not
            among the possible ones.
    """

    trees: tuple[str, ...] = TREES
    attribute: str = "area_ratio"
    levels: int = 16
    sigma: float = 1.0
    channel: int = 0

    def __post_init__(self) -> None:
        """Refuse what makes no map."""
        is_known = set(self.trees) <= set(TREES) and self.attribute in ATTRIBUTES
        if not (self.trees and is_known and 2 <= self.levels <= 256 and self.sigma >= 0):
            raise GeometryError(
                f"{self} is no map; use trees of {list(TREES)}, an attribute of"
                f" {list(ATTRIBUTES)}, 2 to 256 levels, and a sigma of 0 or more"
            )

    def __call__(self, image: Tensor, valid: Tensor) -> Tensor:
        """Compute the maps of a volume.

        Args:
            image: Volume, ``(C, X, Y, Z)``.
            valid: Voxels that count, ``(1, X, Y, Z)``; the others belong to the whole volume alone.

        Returns:
            One map a tree, ``(T, X, Y, Z)``, from 0 to 1.
        """
        inside = valid[0].numpy()
        level = quantize(image[self.channel].numpy(), inside, self.levels, self.sigma)
        # what is not valid belongs to no component but the whole volume, in either tree
        outside = {"max": 0, "min": self.levels - 1}
        maps = [
            component_map(np.where(inside, level, np.uint8(outside[tree])), tree, self.attribute)
            for tree in self.trees
        ]
        return torch.from_numpy(np.stack(maps))


class ComponentTreeRegression(PretextTask):
    """Predict attributes of the components that each voxel lies in.

    Args:
        encoder: The network to train.
        target: What is predicted; `None`: share of the surrounding component, of both trees.
        decoder: Makes the pyramid decoder, which is trained along and kept.
        cache_dir: Folder for computed maps; `None`: they are kept in memory, as far as it goes.
        flip_axes: Axes that may be flipped.
        is_augmented: Whether intensities are changed after the maps are computed.

    Raises:
        GeometryError: If the channel is not there.
    """

    def __init__(
        self,
        encoder: Encoder,
        target: TreeMaps | None = None,
        decoder: Callable[[FeatureSpec], Decoder] = ConvolutionalDecoder,
        cache_dir: str | Path | None = None,
        flip_axes: Sequence[int] = (),
        *,
        is_augmented: bool = True,
    ) -> None:
        super().__init__(encoder)
        target = target or TreeMaps()
        if not 0 <= target.channel < encoder.spec.in_channels:
            raise GeometryError(
                f"channel {target.channel} is not there; use one from 0 to"
                f" {encoder.spec.in_channels - 1}"
            )
        self.names = tuple(target.trees)
        self.target = CachedTarget(target, None if cache_dir is None else Path(cache_dir))
        self.flip_axes = tuple(flip_axes)
        self.is_augmented = is_augmented
        self.head = VoxelHead(encoder.spec, decoder, len(self.names))

    def views(self, patch_size: Size) -> TargetCrop:
        """Make the transform that crops a case and its maps.

        Args:
            patch_size: Voxels of a crop along each axis, multiples of the encoder's stride.

        Returns:
            A transform of ``{"image": (C, X, Y, Z)}`` to ``image``, ``valid`` and ``trees``.
        """
        patch_size = as_size(patch_size)
        self.encoder.require_divisible(patch_size)
        targets = {"trees": self.target}
        return TargetCrop(patch_size, targets, self.flip_axes, is_augmented=self.is_augmented)

    def forward(self, batch: Mapping[str, Tensor], *, panels: bool = False) -> PretextResult:
        """Compute the squared error over valid voxels.

        Args:
            batch: ``image`` ``(B, C, D, H, W)``; ``trees`` ``(B, T, D, H, W)``; ``valid``
                ``(B, 1, D, H, W)``.
            panels: Whether to return the image, the first map and its prediction.

        Returns:
            The sum over trees, in single precision; as parts the error of each; as monitors spread
            and rank of the deepest features.
        """
        image, valid = batch["image"], batch["valid"]
        features = self.encoder(image)
        said = self.head(image, features)
        with torch.autocast(image.device.type, enabled=False):
            said, wanted = said.float(), batch["trees"].float()
            errors = {
                f"{name}_tree": masked_error(said[:, i : i + 1], wanted[:, i : i + 1], valid, "l2")
                for i, name in enumerate(self.names)
            }
            monitors = deepest_figures(features)
        pictures = {}
        if panels:
            first = self.names[0]
            pictures = {
                "image": image[:, :1],
                f"{first}_tree": wanted[:, :1],
                "predicted": said[:, :1].detach(),
            }
        parts = {name: error.detach() for name, error in errors.items()}
        return PretextResult(torch.stack(list(errors.values())).sum(), parts, monitors, pictures)

    def trained(self) -> dict[str, nn.Module]:
        """Name the encoder and the decoder."""
        return super().trained() | {"decoder": self.head.decoder}
