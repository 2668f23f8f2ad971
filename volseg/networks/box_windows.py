"""From a whole volume to boxes, window by window.

What the heads say is averaged over the windows that see a place, weighed by how central it lies in
each, and only then turned into boxes, so that a lesion at the rim of a window is found once.
"""

from collections.abc import Callable, Sequence
from math import ceil
from typing import Any

import torch
from monai.inferers import Inferer, SlidingWindowInferer
from torch import Tensor
from torch.nn import functional

from volseg.errors import GeometryError
from volseg.networks.anchored_boxes import AnchoredBoxes
from volseg.networks.detector import Detector
from volseg.types import Size


class BoxWindows(Inferer):
    """Applies a detector to a volume of any size.

    Args:
        roi_size: Voxels of a window along each axis, multiples of the encoder's divisor.
        overlap: Share of a window that the next one sees again.
        least_score: Boxes of a lower score are dropped.
        nms: Of two boxes of a class whose intersection over union is larger, the one of the lower
            score is dropped.
        most: Boxes that are kept of a volume.

    Raises:
        GeometryError: If the overlap is no share below 1.
    """

    def __init__(
        self,
        roi_size: Sequence[int],
        overlap: float = 0.5,
        least_score: float = 0.05,
        nms: float = 0.25,
        most: int = 100,
    ) -> None:
        super().__init__()
        depth, height, width = roi_size
        self.roi_size: Size = (depth, height, width)
        if not 0 <= overlap < 1:
            raise GeometryError(f"overlap is {overlap}; use a share from 0 to below 1")
        self.overlap = overlap
        self.least_score = least_score
        self.nms = nms
        self.most = most

    @torch.no_grad()
    def __call__(
        self,
        inputs: Tensor,
        network: Callable[..., Any],
        *args: Any,  # noqa: ARG002 - part of MONAI's interface
        **kwargs: Any,  # noqa: ARG002
    ) -> Tensor:
        """Find the boxes of a volume.

        Args:
            inputs: One volume, ``(1, C, D, H, W)``.
            network: The detector.
            *args: Not used.
            **kwargs: Not used.

        Returns:
            ``(1, N, 8)``: six edges in voxels, score, and class from 0, the best box first.

        Raises:
            GeometryError: If there are several volumes, or the network is no detector.
        """
        if not isinstance(network, Detector):
            raise GeometryError(f"{type(network).__name__} gives no boxes; use a Detector")
        if len(inputs) != 1:
            raise GeometryError(
                f"{len(inputs)} volumes at once; give one, for each has other boxes"
            )
        network.encoder.require_divisible(self.roi_size)
        divisor = network.encoder.spec.divisor
        volume = inputs.as_subclass(Tensor)
        size, depth, height, width = volume.shape[2:], *volume.shape[2:]
        room = [
            max(roi, step * ceil(length / step))
            for length, roi, step in zip(size, self.roi_size, divisor, strict=True)
        ]
        pads = [full - length for full, length in zip(room, size, strict=True)]
        padded = functional.pad(volume, (0, pads[2], 0, pads[1], 0, pads[0]), mode="replicate")
        windows = SlidingWindowInferer(self.roi_size, 1, self._overlaps(divisor), mode="gaussian")
        maps = windows(padded, lambda window: tuple(network.maps(window)))
        boxes = AnchoredBoxes(network, self.least_score, self.nms, self.most)
        output = network.flatten([level.float() for level in maps])
        (found,) = boxes.select(output, (room[0], room[1], room[2]), (depth, height, width))
        scores, labels = found["labels_scores"][:, None], found["labels"][:, None]
        return torch.cat([found["boxes"], scores, labels.to(scores)], dim=1)[None]

    def _overlaps(self, divisor: Size) -> list[float]:
        """Give overlaps that let windows begin at multiples of the divisor, where maps join."""
        overlaps = []
        for roi, step in zip(self.roi_size, divisor, strict=True):
            interval = max(step, step * round(roi * (1 - self.overlap) / step))
            overlaps.append(max(0.0, 1 - (interval + 0.5) / roi))
        return overlaps
