"""Figures that tell whether features have collapsed, which a loss does not show."""

import torch
from torch import Tensor

MAXIMUM_TOKENS = 1024


def feature_spread(features: Tensor) -> Tensor:
    """Measure how much the directions of feature vectors differ.

    Vectors of independent, centred entries give about 1, equal ones 0; so do vectors with a large
    common offset, which a variance before normalisation would miss.

    Args:
        features: Feature map, ``(B, C, D, H, W)``.

    Returns:
        The root of the summed variance of the unit vectors, a scalar.

    Examples:
        >>> round(feature_spread(torch.ones(2, 3, 4, 4, 4)).item(), 3)
        0.0
    """
    tokens = torch.nn.functional.normalize(as_tokens(features), dim=1)
    return tokens.var(dim=0, correction=0).sum().sqrt()


def effective_rank(features: Tensor) -> Tensor:
    """Count the directions that feature vectors use (Roy and Vetterli 2007).

    The count is the exponential of the entropy of the normalised singular values of the centred
    vectors (https://infoscience.epfl.ch/record/110188). It lies between 1 and the channels.

    Args:
        features: Feature map, ``(B, C, D, H, W)``.

    Returns:
        A scalar; 0 if every vector is the same.
    """
    tokens = as_tokens(features)
    values = torch.linalg.svdvals(tokens - tokens.mean(dim=0))
    total = values.sum()
    if total <= 1e-6 * tokens.norm():
        return torch.zeros((), device=features.device)
    shares = values / total
    return torch.exp(-(shares * (shares + 1e-12).log()).sum())


def as_tokens(features: Tensor) -> Tensor:
    """List the vectors of a feature map, thinned out evenly where there are very many.

    Args:
        features: Feature map, ``(B, C, D, H, W)``.

    Returns:
        Vectors in single precision, ``(N, C)``, detached.
    """
    tokens = features.detach().float().flatten(2).transpose(1, 2).flatten(0, 1)
    return tokens[:: max(1, len(tokens) // MAXIMUM_TOKENS)]
