"""Random loss of channels, so that a network learns to do without some of them.

In a clinic not every sequence is scanned. A network that saw all subsets of them in training can
segment what there is, as HeMIS does (Havaei et al. 2016, https://arxiv.org/abs/1607.05194). We
depart from it in that one network takes all channels at once, with zeros for those that are not
there.
"""

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.transforms import MapTransform, RandomizableTransform
from torch import Tensor

from volseg.errors import DataError

KEPT = "kept"
"""Key under which a case holds which channels are left, ``(C,)``, until `blank_channels`."""


class RandDropChannelsd(RandomizableTransform, MapTransform):
    """Sets some channels to zero, never all of those that show anything.

    Every set of channels that is not empty is as likely as any other. Noise and brightness that are
    drawn afterwards would fill the zeros again: `blank_channels` at the end takes them out.

    Args:
        key: Key of the image, ``(C, D, H, W)``; a channel that is zero everywhere is not there.
        prob: Probability that a set is drawn; otherwise all channels stay.

    Raises:
        DataError: If the probability is none.
    """

    def __init__(self, key: Hashable = "image", prob: float = 0.5) -> None:
        if not 0 <= prob <= 1:
            raise DataError(f"probability of losing channels is {prob}; use 0 to 1")
        MapTransform.__init__(self, [key])
        RandomizableTransform.__init__(self, prob)
        self.key = key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Drop channels of one case.

        Args:
            data: The case.

        Returns:
            The case; ``kept`` says which channels are left.
        """
        result = dict(data)
        image = result[self.key]
        kept = self.sample(image.flatten(1).ne(0).any(1))
        result[self.key] = _times(image, kept)
        result[KEPT] = kept
        return result

    def sample(self, present: Tensor) -> Tensor:
        """Draw which channels are left.

        Args:
            present: Which channels show anything, ``(C,)``.

        Returns:
            Boolean, ``(C,)``; `True` for at least one of them, if there is one.
        """
        is_drawn, places = self.R.random_sample() < self.prob, present.nonzero().flatten().tolist()
        if not is_drawn or not places:
            return present
        code = int(self.R.randint(1, 2 ** len(places)))
        kept = torch.zeros_like(present)
        kept[[place for bit, place in enumerate(places) if code >> bit & 1]] = True
        return kept


def blank_channels(data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
    """Set the channels that were dropped, or never there, to zero again.

    Args:
        data: A case, with ``kept`` from `RandDropChannelsd`.

    Returns:
        The case without ``kept``.
    """
    result = dict(data)
    result["image"] = _times(result["image"], result.pop(KEPT))
    return result


def _times(image: Tensor, kept: Tensor) -> Tensor:
    return image * kept.to(image.dtype).view(-1, 1, 1, 1)
