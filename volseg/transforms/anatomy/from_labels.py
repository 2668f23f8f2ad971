"""The maps of a head from a label map of any known scheme."""

import logging
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from volseg.errors import DataError
from volseg.transforms.anatomy.hull import Box, find_box, hull_depth, size_of
from volseg.transforms.anatomy.lobes import Frame, frame_of_tissues, lobes_on_grid, side_of
from volseg.transforms.anatomy.maps import DEPTH_STEP, Anatomy, Lobe, Side, Tissue
from volseg.transforms.anatomy.meaning import Meaning
from volseg.transforms.anatomy.schemes import find_scheme

logger = logging.getLogger(__name__)

ROUNDING = 1e-3
"""How far a label stored as a float may lie from a whole number."""

HIGHEST_LABEL = 1_000_000
"""Labels beyond this are refused; FreeSurfer's highest is 14 175."""

CALLOSUM_WIDTH = 5.0
"""White matter this near to the symmetry plane joins the hemispheres, in mm."""

UNKNOWN_DEPTH = 4.0
"""A label without a meaning is taken for white matter deeper than this below the hull, in mm."""

_BRAIN = frozenset(Tissue) - {Tissue.AIR, Tissue.HEAD, Tissue.SKULL, Tissue.FLUID}
_UNKNOWN = 255


def tissue_of_labels(
    labels: Tensor, scheme: str | Mapping[int, Tissue] = "auto"
) -> tuple[Tensor, Tensor]:
    """Look up what each voxel of a label map is made of.

    Labels that the scheme does not know are named in one warning and taken for tissue outside the
    brain.

    Args:
        labels: Whole numbers of any type, ``(D, H, W)``.
        scheme: ``freesurfer``, ``synthseg``, ``gif``, ``auto`` to guess it, or the `Tissue` of each
            label.

    Returns:
        `Tissue` and `Side` of each voxel, ``(D, H, W)``, uint8; the side is `Side.NONE` where the
        label does not tell it.

    Examples:
        >>> tissue, side = tissue_of_labels(torch.tensor([[[0, 2, 2035]]]), "freesurfer")
        >>> tissue.tolist(), side.tolist()
        ([[[0, 6, 5]]], [[[0, 1, 2]]])
    """
    tissue, side, _ = _look_up(labels, scheme)
    return torch.where(tissue == _UNKNOWN, int(Tissue.HEAD), tissue), side


def anatomy_from_labels(
    labels: Tensor, affine: NDArray[np.float64], scheme: str | Mapping[int, Tissue] = "auto"
) -> Anatomy:
    """Make the maps of a head from a label map.

    Where the labels tell no side or lobe, the place in the brain does. What is not labelled within
    the brain's hull is taken for fluid, and white matter at the symmetry plane for the corpus
    callosum.

    Args:
        labels: Whole numbers of any type, ``(D, H, W)``.
        affine: From voxel indices to RAS mm, ``(4, 4)``.
        scheme: As of `tissue_of_labels`.

    Returns:
        The maps, on the grid of the labels.

    Raises:
        DataError: If no voxel belongs to a brain.
    """
    tissue, side, lobe = _look_up(labels, scheme)
    brain = _is_among(tissue, _BRAIN)
    box = find_box(brain)
    if box is None:
        raise DataError("no voxel of the label map belongs to a brain; check the scheme")
    affine = np.asarray(affine, dtype=np.float64)
    whole = Anatomy(tissue, side, lobe, torch.zeros_like(tissue), affine)
    part = whole.crop(*box)
    depth = hull_depth(brain[box.window], whole.spacing)
    frame = frame_of_tissues(part.tissue, part.side, part.affine, brain[box.window])
    return _assemble(whole, part, depth, box, frame)


def _assemble(whole: Anatomy, part: Anatomy, depth: Tensor, box: Box, frame: Frame) -> Anatomy:
    """Complete the maps of the brain's box, and put them back into the whole."""
    inside = depth > 0
    across = frame.coordinate(0, part.affine, size_of(depth))
    side = torch.where(part.side == int(Side.NONE), side_of(across), part.side)
    tissue = _complete(part.tissue, depth, across)
    lobe = _place(part.lobe, tissue, part.affine, frame)
    none = torch.zeros_like(tissue)
    whole.tissue[box.window] = tissue
    whole.side[:] = 0
    whole.side[box.window] = torch.where(inside, side, none)
    whole.lobe[:] = 0
    whole.lobe[box.window] = torch.where(inside, lobe, none)
    whole.depth[box.window] = depth
    whole.tissue[whole.tissue == _UNKNOWN] = int(Tissue.HEAD)
    return whole


def _complete(tissue: Tensor, depth: Tensor, across: Tensor) -> Tensor:
    """Give a tissue to what has none within the hull, and find the corpus callosum."""
    tissue = tissue.clone()
    tissue[(tissue == int(Tissue.AIR)) & (depth > 0)] = int(Tissue.FLUID)
    tissue[(tissue == _UNKNOWN) & (depth > UNKNOWN_DEPTH / DEPTH_STEP)] = int(Tissue.WHITE)
    if not bool((tissue == int(Tissue.CALLOSUM)).any()):
        is_middle = across.abs() < CALLOSUM_WIDTH
        tissue[(tissue == int(Tissue.WHITE)) & is_middle] = int(Tissue.CALLOSUM)
    return tissue


def _place(lobe: Tensor, tissue: Tensor, affine: NDArray[np.float64], frame: Frame) -> Tensor:
    """Fill in the lobes that the labels do not tell."""
    known = lobe.clone()
    known[_is_among(tissue, {Tissue.LIMBIC})] = int(Lobe.TEMPORAL)
    below = {Tissue.CEREBELLUM_CORTEX, Tissue.CEREBELLUM_WHITE, Tissue.BRAINSTEM}
    known[_is_among(tissue, below)] = int(Lobe.INFRATENTORIAL)
    guessed = lobes_on_grid(frame, affine, size_of(tissue))
    return torch.where(known == int(Lobe.NONE), guessed, known)


def _look_up(labels: Tensor, scheme: str | Mapping[int, Tissue]) -> tuple[Tensor, Tensor, Tensor]:
    numbers = _whole_numbers(labels)
    counts = np.bincount(numbers.ravel())
    present = np.flatnonzero(counts)
    meanings = find_scheme(scheme, present.tolist())
    unknown = [int(number) for number in present if int(number) not in meanings]
    if unknown:
        logger.warning(
            "labels %s are not in the scheme; they are taken for tissue outside the brain, or for"
            " white matter deep within it",
            ", ".join(str(number) for number in unknown),
        )
    table = np.zeros((3, len(counts)), dtype=np.uint8)
    for number in present.tolist():
        table[:, number] = meanings.get(number, Meaning(Tissue.AIR))
    table[0, unknown] = _UNKNOWN
    tissue, side, lobe = (torch.from_numpy(row[numbers]) for row in table)
    return tissue, side, lobe


def _whole_numbers(labels: Tensor) -> NDArray[np.int32]:
    """Give the labels as integers of 32 bits, checked."""
    if labels.ndim != 3:
        raise DataError(f"labels have the shape {tuple(labels.shape)}; use (D, H, W)")
    values = labels.detach().cpu()
    if values.is_floating_point():
        whole = values.round()
        if not bool(((values - whole).abs() <= ROUNDING).all()):
            raise DataError("labels are not whole numbers; was a label map interpolated?")
        values = whole
    lowest, highest = (int(each) for each in values.aminmax())
    if lowest < 0 or highest > HIGHEST_LABEL:
        raise DataError(
            f"labels run from {lowest} to {highest}; a label map has 0 to {HIGHEST_LABEL}"
        )
    numbers: NDArray[np.int32] = values.to(torch.int32).numpy()
    return numbers


def _is_among(values: Tensor, wanted: set[Tissue] | frozenset[Tissue]) -> Tensor:
    table = torch.zeros(256, dtype=torch.bool)
    table[[int(each) for each in wanted]] = True
    return torch.from_numpy(table.numpy()[values.numpy()])
