"""From what a detector says of its anchors to boxes, and from boxes to what it should have said.

MONAI's `RetinaNetDetector` does both, but asks torchvision for a type in between, and PyPI's
torchvision does not load beside every build of torch. The step that asks is replaced here, so that
anchors are matched by ATSS alone (Zhang et al. 2020, https://arxiv.org/abs/1912.02424). ATSS takes
those candidates whose overlap with a lesion is a spread above their mean; if the better half of
them overlap alike, that is none. Here such a lesion has the anchors that overlap it most. Losses
are those of nnDetection: cross-entropy over hard negatives, and smooth L1 of the offsets.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from monai.apps.detection.networks.retinanet_detector import RetinaNetDetector
from monai.apps.detection.utils.anchor_utils import AnchorGeneratorWithAnchorShape
from torch import Tensor

from volseg.networks.detector import LOGITS, OFFSETS, Detector
from volseg.types import Size


class AnchoredBoxes(RetinaNetDetector):
    """MONAI's detector around a network of ours, without torchvision.

    Args:
        network: The network; it stays the owner of its parameters.
        least_score: Boxes of a lower score are dropped.
        overlap: Of two boxes of a class whose intersection over union is larger, the one of the
            lower score is dropped.
        most: Boxes that are kept of a volume.
    """

    def __init__(
        self,
        network: Detector,
        least_score: float = 0.05,
        overlap: float = 0.25,
        most: int = 100,
    ) -> None:
        super().__init__(
            network,
            _PyramidAnchors(network),
            spatial_dims=3,
            size_divisible=network.encoder.spec.divisor,
            cls_key=LOGITS,
            box_reg_key=OFFSETS,
        )
        self.num_classes = network.num_classes - 1  # MONAI's do not include the background
        self.set_box_selector_parameters(
            score_thresh=least_score, nms_thresh=overlap, detections_per_img=most
        )

    def prepare_training(self) -> None:
        """Set what matches anchors with lesions, and what chooses among those without one.

        Without hard negatives scores stay near 0, since nearly all anchors hold nothing. The
        numbers are those of MONAI's detection of lung nodules.
        """
        self.set_atss_matcher(num_candidates=4, center_in_gt=False)
        self.set_hard_negative_sampler(64, positive_fraction=0.3, min_neg=16, pool_size=20)

    def losses(
        self, output: Tensor, size: Size, targets: Sequence[Mapping[str, Tensor]]
    ) -> dict[str, Tensor]:
        """Compare what the network says with the lesions; call `prepare_training` first.

        Args:
            output: What the network gives, ``(B, K - 1 + 6, N)``.
            size: Voxels of the volumes along each axis.
            targets: ``boxes``, ``(M, 6)``, and ``labels``, classes from 0, ``(M,)``, of each.

        Returns:
            The losses of classes and offsets.
        """
        said = self._split(output)
        counts, anchors = self._anchors(size, output.device)
        found: dict[str, Tensor] = self.compute_loss(
            said, [dict(one) for one in targets], [anchors] * len(output), counts
        )
        return found

    def select(self, output: Tensor, size: Size, inside: Size) -> list[dict[str, Tensor]]:
        """Turn what the network says into boxes.

        Args:
            output: What the network gives, ``(B, K - 1 + 6, N)``.
            size: Voxels of the volumes along each axis.
            inside: Voxels to which boxes are cut, from the same corner.

        Returns:
            ``boxes``, ``(M, 6)``, ``labels`` and ``labels_scores``, ``(M,)``, of each volume, the
            best first.
        """
        counts, anchors = self._anchors(size, output.device)
        found: list[dict[str, Tensor]] = self.postprocess_detections(
            self._split(output), [anchors] * len(output), [list(inside)] * len(output), counts
        )
        return found

    def compute_anchor_matched_idxs(
        self,
        anchors: list[Tensor],
        targets: list[dict[str, Tensor]],
        num_anchor_locs_per_level: Sequence[int],
    ) -> list[Tensor]:
        """Match anchors with lesions by ATSS, and no lesion with none.

        Args:
            anchors: Anchors of each volume, ``(N, 6)``.
            targets: Lesions of each volume.
            num_anchor_locs_per_level: Voxels of each level.

        Returns:
            Number of each anchor's lesion, or below 0, ``(N,)``, for each volume.
        """
        matcher: Any = self.proposal_matcher
        matched = []
        for own, target in zip(anchors, targets, strict=True):
            boxes = target[self.target_box_key].to(own)
            numbers = torch.full((len(own),), -1, device=own.device)
            if len(boxes):
                overlaps, numbers = matcher(
                    boxes, own, num_anchor_locs_per_level, self.num_anchors_per_loc
                )
                numbers = _with_best(numbers, overlaps)
            matched.append(numbers)
        return matched

    def _split(self, output: Tensor) -> dict[str, Tensor]:
        # boxes of half precision would be off by voxels
        rows = output.float().transpose(1, 2)
        return {LOGITS: rows[..., : self.num_classes], OFFSETS: rows[..., self.num_classes :]}

    def _anchors(self, size: Size, device: torch.device) -> tuple[list[int], Tensor]:
        """Give the voxels of each level, and all anchors, ``(N, 6)``."""
        network: Any = self.network
        grids = [[n // s for n, s in zip(size, stride, strict=True)] for stride in network.strides]
        steps = [[torch.tensor(s, device=device) for s in stride] for stride in network.strides]
        self.anchor_generator.set_cell_anchors(torch.float32, device)
        anchors = torch.cat(self.anchor_generator.grid_anchors(grids, steps))
        return [grid[0] * grid[1] * grid[2] for grid in grids], anchors


def _with_best(numbers: Tensor, overlaps: Tensor) -> Tensor:
    """Give each lesion without an anchor the free ones that overlap it most, ties included."""
    numbers = numbers.clone()
    for index, own in enumerate(overlaps):
        if not (numbers == index).any():
            free = own.masked_fill(numbers >= 0, -1)
            best = free.max()
            numbers[(free >= best - 1e-6) & (best > 0)] = index
    return numbers


class _PyramidAnchors(AnchorGeneratorWithAnchorShape):
    """Makes anchors that grow with the strides, axis by axis; MONAI's grow by one factor."""

    def __init__(self, network: Detector) -> None:
        super().__init__((1,), network.anchors)
        shapes = torch.tensor(network.anchors, dtype=torch.float32)
        strides = torch.tensor(network.strides, dtype=torch.float32)
        grown = [shapes * stride / strides[0] for stride in strides]
        self.cell_anchors[:] = [self.generate_anchors_using_shape(each) for each in grown]
