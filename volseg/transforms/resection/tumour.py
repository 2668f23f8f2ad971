"""Tumours: put one into the maps of a head, and tell what an operation has left of it."""

from dataclasses import replace

from torch import Tensor

from volseg.errors import GeometryError
from volseg.transforms.anatomy.maps import Anatomy, Tissue


def mark_tumour(anatomy: Anatomy, tumour: Tensor) -> Anatomy:
    """Put a tumour into the maps of a head, as a lesion; other lesions are no longer marked.

    Args:
        anatomy: The maps of the head.
        tumour: Its mask, ``(D, H, W)``; only what lies in the brain's hull counts.

    Returns:
        The maps with the tumour.

    Raises:
        GeometryError: If the mask has another shape.
    """
    if tumour.shape != anatomy.tissue.shape:
        raise GeometryError(
            f"tumour has the shape {tuple(tumour.shape)} and the anatomy"
            f" {tuple(anatomy.tissue.shape)}; use one grid"
        )
    tissue = anatomy.tissue.clone()
    tissue[tissue == Tissue.LESION] = Tissue.WHITE
    tissue[(tumour > 0) & (anatomy.depth > 0)] = Tissue.LESION
    return replace(anatomy, tissue=tissue)


def residual(anatomy: Anatomy, mask: Tensor) -> Tensor:
    """Mark what is left of a tumour.

    Args:
        anatomy: The maps with the tumour as a lesion.
        mask: What was taken out, ``(D, H, W)``, bool.

    Returns:
        Boolean mask, ``(D, H, W)``.
    """
    return (anatomy.tissue == Tissue.LESION) & ~mask
