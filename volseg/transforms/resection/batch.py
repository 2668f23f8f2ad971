"""Resect a batch: every head has its own cavity, maps and contrasts, and all share one tensor."""

from collections.abc import Sequence

import torch
from torch import Tensor

from volseg.errors import DataError
from volseg.transforms.anatomy.maps import Anatomy
from volseg.transforms.resection.cavity import Cavity
from volseg.transforms.resection.resect import resect
from volseg.transforms.resection.statistics import TissueStatistics


def resect_batch(
    images: Tensor,
    anatomies: Sequence[Anatomy],
    cavities: Sequence[Cavity],
    contrasts: Sequence[Sequence[str]],
    statistics: Sequence[Sequence[TissueStatistics]] | None = None,
    *,
    in_place: bool = False,
) -> tuple[Tensor, Tensor]:
    """Simulate one resection on each head of a batch, on the device where the images are.

    The heads are operated one after the other, each in its own box, since boxes differ in size;
    the result is that of `resect` on each of them.

    Args:
        images: ``(B, C, D, H, W)``, of a floating type.
        anatomies: The maps of each head, on any device.
        cavities: What was drawn for each head.
        contrasts: One of `CONTRASTS` for each channel of each head.
        statistics: Of each channel of each head; `None`: they are measured.
        in_place: Paint into ``images`` itself.

    Returns:
        The resected heads, ``(B, C, D, H, W)``, and their cavities, ``(B, 1, D, H, W)``, uint8.

    Raises:
        DataError: If images, maps, cavities, contrasts and statistics are not equally many.
    """
    given = (
        [anatomies, cavities, contrasts]
        if statistics is None
        else [anatomies, cavities, contrasts, statistics]
    )
    counts = [len(each) for each in given]
    if images.ndim != 5 or any(count != len(images) for count in counts):
        raise DataError(
            f"images have the shape {tuple(images.shape)}, and there are {counts} maps, cavities,"
            " contrasts and statistics; use (B, C, D, H, W) and B of each"
        )
    result = images if in_place else images.clone()
    masks = torch.zeros(
        (len(images), 1, *images.shape[2:]), dtype=torch.uint8, device=images.device
    )
    for index, (image, anatomy, cavity) in enumerate(zip(result, anatomies, cavities, strict=True)):
        scales = None if statistics is None else statistics[index]
        done = resect(image, anatomy, cavity, contrasts[index], scales, in_place=True)
        masks[index] = done.mask
    return result, masks
