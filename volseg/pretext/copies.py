"""How much features change among turned copies of a volume."""

from torch import Tensor
from torch.nn import functional

VARIANCE_FLOOR = 1e-6


def share_within(rows: Tensor) -> Tensor:
    """Measure how much of the spread of features comes from the rotation.

    Args:
        rows: Features of the copies of each volume, ``(B, K, C)``.

    Returns:
        Variance among the copies of a volume as a share of that among all copies, averaged over
        features, a scalar: 0 if the copies of a volume are equal, 1 if volumes do not differ, as in
        a batch of one.

    Examples:
        >>> import torch
        >>> share_within(torch.tensor([[[1.0], [3.0]], [[5.0], [7.0]]]))
        tensor(0.2000)
    """
    within = (rows - rows.mean(dim=1, keepdim=True)).square().mean(dim=(0, 1))
    overall = (rows - rows.mean(dim=(0, 1))).square().mean(dim=(0, 1))
    return (within / (overall + VARIANCE_FLOOR)).mean()


def cosine_of_copies(rows: Tensor) -> Tensor:
    """Average the cosine of the copies of a volume, centred over the batch.

    Args:
        rows: Features of the copies of each volume, ``(B, K, C)``.

    Returns:
        A scalar: 1 if the copies are equal, about 0 if they are as unlike as those of others.

    Examples:
        >>> import torch
        >>> cosine_of_copies(torch.tensor([[[1.0], [3.0]], [[5.0], [7.0]]]))
        tensor(1.)
    """
    directions = functional.normalize(rows - rows.mean(dim=(0, 1)), dim=2)
    copies = rows.shape[1]
    total = directions.sum(dim=1).square().sum(dim=1)
    return ((total - copies) / (copies * (copies - 1))).mean()
