"""A decoder that works on a coarse grid and gives full resolution as channels.

The last step is the sub-pixel convolution of Shi et al. 2016 (https://arxiv.org/abs/1609.05158),
MONAI's ``SubpixelUpsample``: what the voxels of one coarse voxel differ in is computed as channels
of that voxel, and laid out at the end. Without convolutions at full resolution a network takes a
third of the time or less.
"""

from monai.networks.blocks import SubpixelUpsample
from torch import Tensor, nn

from volseg.errors import GeometryError
from volseg.networks.decoder import ConvolutionalDecoder, Decoder
from volseg.networks.encoder import FeatureSpec


class SubpixelDecoder(Decoder):
    """A convolutional decoder up to the encoder's finest map, and one sub-pixel step.

    Args:
        spec: What the encoder gives; its finest map has the same stride along each axis.
        width: Channels at full resolution.

    Raises:
        GeometryError: If that stride differs from axis to axis, or is one.
    """

    def __init__(self, spec: FeatureSpec, width: int = 4) -> None:
        super().__init__()
        stride = spec.strides[0]
        if len(set(stride)) > 1 or stride[0] == 1:
            raise GeometryError(
                f"the encoder's finest map has stride {stride}, and a sub-pixel step enlarges all"
                " axes alike by 2 or more; use ConvolutionalDecoder, or an encoder with patches"
            )
        self.pyramid = ConvolutionalDecoder(_at_full_resolution(spec))
        self.enlarge = SubpixelUpsample(
            3, spec.channels[0], width, scale_factor=stride[0], apply_pad_pool=False
        )
        self.norm = nn.Sequential(nn.GroupNorm(width, width), nn.LeakyReLU(0.01))
        self.channels = (width, *spec.channels)
        self.strides = ((1, 1, 1), *spec.strides)

    def forward(self, image: Tensor, features: list[Tensor]) -> list[Tensor]:
        """Decode a batch.

        Args:
            image: Volumes, ``(B, C, D, H, W)``.
            features: The encoder's maps of these volumes, finest first.

        Returns:
            Maps, finest first, ``(B, channels[i], D / s_i, H / s_i, W / s_i)``.
        """
        maps = self.pyramid(image, features)
        return [self.norm(self.enlarge(maps[0])), *maps]


def _at_full_resolution(spec: FeatureSpec) -> FeatureSpec:
    """Describe the same maps by voxels of the finest of them."""
    unit = spec.strides[0][0]
    strides = tuple((a // unit, b // unit, c // unit) for a, b, c in spec.strides)
    return FeatureSpec(spec.in_channels, spec.channels, strides, spec.mask_mode, strides[-1])
