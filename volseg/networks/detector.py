"""An encoder, a feature pyramid and RetinaNet's heads: the network that puts boxes around lesions.

RetinaNet is that of Lin et al. (2017, https://arxiv.org/abs/1708.02002) in three dimensions, as
nnDetection has it (Baumgartner et al. 2021, https://arxiv.org/abs/2106.00817), with MONAI's pyramid
and heads. There is no level beyond the encoder's own.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from monai.apps.detection.networks.retinanet_network import (
    RetinaNetClassificationHead,
    RetinaNetRegressionHead,
)
from monai.networks.blocks.feature_pyramid_network import FeaturePyramidNetwork
from torch import Tensor, nn

from volseg.errors import GeometryError
from volseg.networks.encoder import Encoder
from volseg.types import Size

GROUPS = 8
"""Groups of the normalisation in MONAI's heads."""

LOGITS, OFFSETS = "classification", "box_regression"
"""What MONAI calls the maps of the two heads."""


class Detector(nn.Module):
    """A detector of lesions over any encoder whose levels shrink the grid.

    At each voxel of each level stand anchors, boxes of fixed shapes. For each anchor the network
    says whether it holds a lesion of each class, and how to move its faces.

    Args:
        encoder: The network to the feature pyramid.
        num_classes: Classes, background included.
        anchors: Shapes of the anchors at the finest level, in voxels, even numbers; at coarser
            levels they grow as the strides do.
        finest: The finest level of the encoder that counts, from 0.
        width: Channels of the pyramid, a multiple of 8.

    Raises:
        GeometryError: If a number makes no sense, or the encoder gives no pyramid.
    """

    def __init__(
        self,
        encoder: Encoder,
        num_classes: int = 2,
        anchors: Sequence[Sequence[int]] = ((6, 6, 6), (10, 10, 10)),
        finest: int = 1,
        width: int = 32,
    ) -> None:
        super().__init__()
        strides, channels = encoder.spec.strides[finest:], encoder.spec.channels[finest:]
        _require_pyramid(strides, encoder.spec.strides, finest)
        if num_classes < 2 or width < GROUPS or width % GROUPS:
            raise GeometryError(
                f"{num_classes} classes and a width of {width} make no detector; use at least 2"
                f" classes, background included, and a multiple of {GROUPS}"
            )
        if not anchors or any(not _covers(shape, strides[0]) for shape in anchors):
            raise GeometryError(
                f"anchors are {[list(shape) for shape in anchors]}; give shapes of three edges that"
                f" are no smaller than the stride of the finest level, {strides[0]}: a lesion in a"
                " gap could not be learned"
            )
        self.encoder = encoder
        self.decoder = FeaturePyramidNetwork(3, list(channels), width)
        lesions, count = num_classes - 1, len(anchors)
        self.heads = nn.ModuleDict(
            {
                LOGITS: RetinaNetClassificationHead(width, count, lesions, 3),
                OFFSETS: RetinaNetRegressionHead(width, count, 3),
            }
        )
        self.num_classes = num_classes
        self.finest = finest
        self.strides = strides
        self.anchors = tuple((int(a[0]), int(a[1]), int(a[2])) for a in anchors)

    def maps(self, x: Tensor) -> list[Tensor]:
        """Compute the heads' maps.

        Args:
            x: Volumes, ``(B, C, D, H, W)``; each size a multiple of the encoder's divisor.

        Returns:
            The logits of each level, finest first, ``(B, A (K - 1), D_i, H_i, W_i)``, and then the
            offsets of each level, ``(B, A 6, D_i, H_i, W_i)``, where A is the number of anchors.

        Raises:
            GeometryError: If the volumes have other channels than the encoder.
        """
        wanted = self.encoder.spec.in_channels
        if x.shape[1] != wanted:
            raise GeometryError(
                f"volumes have {x.shape[1]} channels and the detector takes {wanted}; give it the"
                " channels it was made for"
            )
        features = self.encoder(x)[self.finest :]
        levels = list(self.decoder(dict(enumerate(features))).values())
        return [*self.heads[LOGITS](levels), *self.heads[OFFSETS](levels)]

    def forward(self, x: Tensor) -> Tensor:
        """Compute what is said of each anchor.

        Args:
            x: Volumes, ``(B, C, D, H, W)``; each size a multiple of the encoder's divisor.

        Returns:
            Logits of each class and six offsets, ``(B, K - 1 + 6, N)``, for the anchors of all
            levels, finest first, in MONAI's order.
        """
        return self.flatten(self.maps(x))

    def flatten(self, maps: Sequence[Tensor]) -> Tensor:
        """Line up what the maps say of each anchor.

        Args:
            maps: From `maps`, perhaps of a larger volume.

        Returns:
            As `forward`.
        """
        half, count = len(maps) // 2, len(self.anchors)
        logits, offsets = (
            torch.cat([_by_anchor(level, count) for level in part], dim=2)
            for part in (maps[:half], maps[half:])
        )
        return torch.cat([logits, offsets], dim=1)

    def layer_groups(self) -> list[list[nn.Parameter]]:
        """List every parameter once: the encoder's groups, then the pyramid with the heads.

        Levels of the encoder above the finest one feed the others; all of them learn.
        """
        top = [*self.decoder.parameters(), *self.heads.parameters()]
        return [*self.encoder.layer_groups(), top]


def _by_anchor(level: Tensor, count: int) -> Tensor:
    """Turn ``(B, A F, D, H, W)`` into ``(B, F, D H W A)``, anchors running fastest."""
    batch, _, *size = level.shape
    return level.reshape(batch, count, -1, *size).permute(0, 2, 3, 4, 5, 1).flatten(2)


def _covers(shape: Sequence[int], stride: Size) -> bool:
    return len(shape) == 3 and all(a >= max(2, s) for a, s in zip(shape, stride, strict=True))


def _require_pyramid(strides: Sequence[Size], given: Sequence[Size], finest: int) -> None:
    grows = all(
        coarse != fine and all(c % f == 0 for f, c in zip(fine, coarse, strict=True))
        for fine, coarse in pairwise(strides)
    )
    if finest < 0 or not strides or not grows:
        raise GeometryError(
            f"the encoder's strides are {list(given)} and the finest level is {finest}; a detector"
            " takes levels that shrink the grid more and more, such as a residual or Swin"
            " encoder's"
        )
