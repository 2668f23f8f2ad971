"""Channels by name: those that an image has go to their places, the others are filled with zeros.

Zeros are put in after the intensities were normalised, where 0 is the mean of the tissue, so that a
network can be trained to read them as "not scanned".
"""

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

from monai.transforms import MapTransform
from monai.utils import convert_to_dst_type, convert_to_tensor
from torch import Tensor

from volseg.data.case import stem
from volseg.data.listing.sequences import canonical, split_sequence
from volseg.errors import DataError

CHANNELS = "channels"
"""Key of a case, and of an image's metadata, under which the names of its channels stand."""


MISSING = "missing_channels"
"""Key of an image's metadata under which the names of those that it lacks stand."""


MIRRORED = " mirrored"
"""Ends the name of a channel that no file holds: the mirror image of another, see
`volseg.transforms.mirror.AppendMirrord`."""


def scanned(channels: Sequence[str]) -> list[str]:
    """Tell which of a network's channels the files of a case hold.

    Args:
        channels: Names of what the network takes.

    Returns:
        Those that no preprocessing makes of others.

    Examples:
        >>> scanned(["T1", "T2", "T1 mirrored", "T2 mirrored"])
        ['T1', 'T2']
    """
    return [name for name in channels if not name.endswith(MIRRORED)]


class PlaceChannelsd(MapTransform):
    """Brings the channels of an image into a network's order and fills those that it lacks.

    What the channels show is what the case says under ``channels``, or the image's metadata; else
    an image of as many channels as the network has them in its order, and one of a single channel
    shows what its file's name ends in, such as ``_flair``.

    Args:
        keys: Keys of the images, ``(K, D, H, W)`` each, with K from 1.
        channels: What the network takes, in its order.
    """

    def __init__(self, keys: Sequence[Hashable] | Hashable, channels: Sequence[str]) -> None:
        super().__init__(keys)
        self.channels = tuple(channels)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Place the channels of one case.

        Args:
            data: The case.

        Returns:
            The case, its images ``(C, D, H, W)``, without ``channels``. The metadata of each says
            under ``channels`` which are its own, and under ``missing_channels`` which are not.
        """
        result = dict(data)
        given = result.pop(CHANNELS, None)
        for key in self.key_iterator(result):
            image = convert_to_tensor(result[key], track_meta=True)
            names = self._names(image, given)
            values = image.as_subclass(Tensor)
            placed = values.new_zeros((len(self.channels), *values.shape[1:]))
            places = [self.channels.index(name) for name in names]
            placed[places] = values
            result[key] = convert_to_dst_type(placed, image, dtype=placed.dtype)[0]
            result[key].meta[CHANNELS] = [name for name in self.channels if name in names]
            result[key].meta[MISSING] = [name for name in self.channels if name not in names]
        return result

    def _names(self, image: Any, given: Sequence[str] | None) -> list[str]:
        """Say what the channels of an image show, in the network's words."""
        file = str(image.meta.get("filename_or_obj", "image"))
        names = given or image.meta.get(CHANNELS) or self._guess(image, file)
        if len(names) != len(image):
            raise DataError(
                f"{file}: has {len(image)} channels and {len(names)} names"
                f" ({', '.join(names)}); give each channel one"
            )
        known = {canonical(name): name for name in self.channels}
        found = [known.get(canonical(name)) for name in names]
        if strange := [name for name, own in zip(names, found, strict=True) if own is None]:
            raise DataError(
                f"{file}: shows {strange[0]}, and the network takes {', '.join(self.channels)};"
                " leave it out"
            )
        own_names = [name for name in found if name is not None]
        if len(set(own_names)) < len(own_names):
            raise DataError(f"{file}: its channels {', '.join(names)} name one twice; keep one")
        return own_names

    def _guess(self, image: Tensor, file: str) -> Sequence[str]:
        """Take as many channels as there are to be in their order, and one by its file's name."""
        if len(image) == len(self.channels):
            return self.channels
        sequence = split_sequence(stem(Path(file).name))[1]
        if len(image) > 1 or sequence is None:
            raise DataError(
                f"{file}: its name does not say which of {', '.join(self.channels)} it shows;"
                " rename it or give a channel map"
            )
        return [sequence]
