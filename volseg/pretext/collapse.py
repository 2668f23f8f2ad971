"""Figures that tell whether an encoder's features have collapsed, which a loss does not show.

`feature_spread` is the figure of SimSiam (Chen and He 2021, https://arxiv.org/abs/2011.10566),
`effective_rank` that of Roy and Vetterli (2007, https://infoscience.epfl.ch/record/110188), which
RankMe (Garrido et al. 2023, https://arxiv.org/abs/2210.02885) relates to how useful features are.
We subtract the mean first, so that equal features have rank zero and not one.
"""

import torch
from torch import Tensor
from torch.nn import functional

MAXIMUM_VECTORS = 256
"""The rank is computed on so many evenly spaced vectors at most, and cannot exceed their number."""


def feature_spread(vectors: Tensor) -> Tensor:
    """Measure how much the directions of feature vectors differ.

    Vectors of independent, centred entries give about 1, equal ones 0; vectors with a large common
    offset nearly 0, which a variance before normalisation would miss.

    Args:
        vectors: One feature vector a row, ``(N, C)``.

    Returns:
        The root of the summed variance of the unit vectors, a scalar; not a number if a value is
        not finite or there is no vector.

    Examples:
        >>> feature_spread(torch.tensor([[1.0, 0.0], [-2.0, 0.0], [0.0, 3.0], [0.0, -4.0]]))
        tensor(1.)
    """
    directions = functional.normalize(vectors.detach().float(), dim=1)
    mean = directions.mean(dim=0)
    return (directions - mean).square().mean(dim=0).sum().sqrt()


def effective_rank(vectors: Tensor) -> Tensor:
    """Count the directions in which feature vectors vary, weighted by how much they do.

    The count is the exponential of the entropy of the normalised singular values of the centred
    vectors: k if they vary equally along k axes and along no other.

    Args:
        vectors: One feature vector a row, ``(N, C)``; of more than 256, 256 are used.

    Returns:
        A scalar; 0 if all vectors are equal up to rounding, not a number if a value is not finite
        or there is no vector.

    Examples:
        >>> effective_rank(torch.tensor([[1.0, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0]]))
        tensor(2.)
    """
    rows = vectors.detach().float()
    if len(rows) > MAXIMUM_VECTORS:
        places = torch.arange(MAXIMUM_VECTORS, device=rows.device) * len(rows) // MAXIMUM_VECTORS
        rows = rows[places]
    if len(rows) == 0 or not bool(rows.isfinite().all()):
        return rows.new_tensor(float("nan"))
    values = torch.linalg.svdvals(rows - rows.mean(dim=0))
    rounding = torch.finfo(rows.dtype).eps * max(rows.shape) * torch.linalg.vector_norm(rows)
    values = torch.where(values > rounding, values, 0)
    total: Tensor = values.sum()
    if not bool(total > 0):
        return total
    entropy: Tensor = torch.special.entr(values / total).sum()
    return entropy.exp()
