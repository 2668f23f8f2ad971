"""How alike two representations are: linear centred kernel alignment, without its bias.

Kornblith et al. 2019 (https://arxiv.org/abs/1905.00414) with the unbiased estimate of HSIC of Song
et al. 2012: with few samples and many features the plain one calls noise alike.
"""

from torch import Tensor

from volseg.errors import DataError


def linear_cka(first: Tensor, second: Tensor) -> float:
    """Compare what two encoders say of the same samples.

    Args:
        first: Features, ``(N, F)``, of at least four samples.
        second: Features of the same samples, ``(N, G)``.

    Returns:
        1 if one is a rotated and scaled copy of the other, near 0 if they have nothing in common;
        below 0 by chance.

    Raises:
        DataError: If the samples are fewer than four or differ in number.
    """
    if len(first) != len(second) or len(first) < 4:
        raise DataError(f"{len(first)} and {len(second)} samples; give at least 4 of the same")
    grams = [_centred_gram(each.double()) for each in (first, second)]
    first_own, second_own = ((gram * gram).sum() for gram in grams)
    return float((grams[0] * grams[1]).sum() / (first_own * second_own).sqrt())


def _centred_gram(features: Tensor) -> Tensor:
    """Centre a Gram matrix without its diagonal, so that products estimate HSIC without bias."""
    gram = features @ features.T
    gram.fill_diagonal_(0)
    size = len(gram)
    means = gram.sum(dim=0) / (size - 2)
    gram = gram - means[:, None] - means + means.sum() / (size - 1)
    gram.fill_diagonal_(0)
    return gram
