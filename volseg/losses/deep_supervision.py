"""Deep supervision: one loss over several outputs of equal size.

The weights 1, 0.5 and 0.25 are UNetFormer's (Hatamizadeh et al. 2022,
https://arxiv.org/abs/2204.00631). MONAI's ``DeepSupervisionLoss`` shrinks the label to the coarser
outputs, which erases small lesions; here the outputs were enlarged, and the label stays whole.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from volseg.errors import GeometryError


class DeepSupervisionLoss(nn.Module):
    """The weighted mean of a loss over several outputs, in single precision.

    Args:
        loss: Compares logits, ``(B, K, D, H, W)``, with a label, ``(B, 1, D, H, W)``.
        weights: Weight of each output, finest first; outputs beyond them are not used.

    Raises:
        GeometryError: If a weight is negative or all are zero.
    """

    def __init__(self, loss: nn.Module, weights: Sequence[float] = (1.0, 0.5, 0.25)) -> None:
        super().__init__()
        if min(weights, default=-1.0) < 0 or sum(weights) == 0:
            raise GeometryError(
                f"deep supervision weights are {tuple(weights)}; use numbers from 0, not all 0"
            )
        self.loss = loss
        self.weights = tuple(weights)

    def forward(self, outputs: Sequence[Tensor], label: Tensor) -> Tensor:
        """Compute the loss.

        Args:
            outputs: Logits of full size, finest first, ``(B, K, D, H, W)`` each.
            label: Class of each voxel, ``(B, 1, D, H, W)``.

        Returns:
            A scalar.
        """
        used = [pair for pair in zip(self.weights, outputs, strict=False) if pair[0] > 0]
        losses = torch.stack([weight * self.loss(output.float(), label) for weight, output in used])
        return losses.sum() / sum(weight for weight, _ in used)
