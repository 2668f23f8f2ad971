"""The demo's data: the MNI152 template that comes with nilearn, cut into a front and a back.

The template is the symmetric one of 2009 (Fonov et al., https://doi.org/10.1016/j.neuroimage.2010.07.033):
its left half mirrors its right half voxel for voxel. So training and test are front and back.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from volseg.errors import VolsegError

CLASSES = ("background", "grey matter", "white matter")
FRONT_MM = -12.0
"""Everything in front of this coronal plane (MNI y, mm) is for training."""
BACK_MM = -22.0
"""Everything behind this one is for the Dice table; the brain's middle lies between the two."""


@dataclass(frozen=True)
class DemoData:
    """The files of the demo.

    Args:
        image: The template, 1 mm.
        label: Its classes on the same grid.
        front_image: The template in front of the cut.
        front_label: The classes in front of the cut.
    """

    image: Path
    label: Path
    front_image: Path
    front_label: Path

    def test_voxels(self) -> NDArray[np.bool_]:
        """Mark what no training crop has seen.

        Returns:
            `True` behind the cut, ``(X, Y, Z)``.
        """
        header = nib.load(self.image)
        return behind(header.shape, header.affine, BACK_MM)


def write_data(folder: Path) -> DemoData:
    """Write the template, its classes, and the front of both.

    Args:
        folder: Where to; created.

    Returns:
        The files.

    Raises:
        VolsegError: If nilearn is not installed.
    """
    try:
        from nilearn import datasets
    except ImportError as error:
        raise VolsegError(
            'the demo needs nilearn and its template; install them: pip install "volseg[demo]"'
        ) from error
    template = datasets.load_mni152_template(resolution=1)
    grey = datasets.load_mni152_gm_template(resolution=1).get_fdata(dtype=np.float32)
    white = datasets.load_mni152_wm_template(resolution=1).get_fdata(dtype=np.float32)
    intensities = template.get_fdata(dtype=np.float32)
    image = np.rint(255 * intensities / intensities.max()).astype(np.uint8)
    label = tissue_labels(grey, white)
    folder.mkdir(parents=True, exist_ok=True)
    names = ("mni152_t1", "mni152_tissues", "front_t1", "front_tissues")
    data = DemoData(*(folder / f"{name}.nii.gz" for name in names))
    _write(data.image, image, template.affine)
    _write(data.label, label, template.affine)
    first = first_in_front(image.shape, template.affine, FRONT_MM)
    shifted = template.affine.copy()
    shifted[:3, 3] += first * template.affine[:3, 1]
    _write(data.front_image, image[:, first:], shifted)
    _write(data.front_label, label[:, first:], shifted)
    return data


def tissue_labels(grey: NDArray[Any], white: NDArray[Any]) -> NDArray[np.uint8]:
    """Give each voxel its likeliest class.

    Args:
        grey: Probability of grey matter, ``(X, Y, Z)``.
        white: Probability of white matter, ``(X, Y, Z)``.

    Returns:
        0, background; 1, grey; 2, white, ``(X, Y, Z)``.

    Examples:
        >>> tissue_labels(np.array([0.1, 0.6, 0.3, 0.5]), np.array([0.2, 0.4, 0.5, 0.0]))
        array([0, 1, 2, 0], dtype=uint8)
    """
    likeliest: NDArray[np.intp] = np.argmax([1 - grey - white, grey, white], axis=0)
    return likeliest.astype(np.uint8)


def behind(shape: tuple[int, ...], affine: NDArray[Any], limit: float) -> NDArray[np.bool_]:
    """Mark the voxels behind a coronal plane, on a grid whose second axis runs to the front.

    Args:
        shape: Voxels along each axis.
        affine: From voxels to mm, ``(4, 4)``.
        limit: Where the plane is, mm.

    Returns:
        `True` behind, ``(X, Y, Z)``.
    """
    rows = affine[1, 1] * np.arange(shape[1]) + affine[1, 3] < limit
    return np.broadcast_to(rows[None, :, None], shape).copy()


def first_in_front(shape: tuple[int, ...], affine: NDArray[Any], limit: float) -> int:
    """Find the first row in front of a coronal plane.

    Args:
        shape: Voxels along each axis.
        affine: From voxels to mm, ``(4, 4)``; the second axis runs to the front.
        limit: Where the plane is, mm.

    Returns:
        Index along the second axis.
    """
    rows = affine[1, 1] * np.arange(shape[1]) + affine[1, 3]
    return int(np.argmax(rows >= limit))


def _write(path: Path, voxels: NDArray[np.uint8], affine: NDArray[Any]) -> None:
    image = nib.Nifti1Image(voxels, affine)
    image.header.set_xyzt_units("mm")
    image.to_filename(path)
