"""Studies to serve: one image in several guises, each of which has broken a segmentation before."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from volseg.bundle import Bundle
from volseg.cli.main import main


@dataclass(frozen=True)
class Volume:
    """Voxels and where they lie.

    Args:
        values: Voxels, ``(X, Y, Z)``.
        affine: From voxel indices to RAS mm, ``(4, 4)``.
    """

    values: NDArray[Any]
    affine: NDArray[np.float64]

    @classmethod
    def read(cls, path: Path) -> "Volume":
        image = nib.load(path)
        return cls(np.asanyarray(image.dataobj), image.affine)

    def save(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        nib.save(nib.Nifti1Image(self.values, self.affine), path)


def in_guises(plain: Volume) -> dict[str, Volume]:
    """Give a volume as it is and as others would have stored it.

    Args:
        plain: The volume.

    Returns:
        Volumes by the name of their case; one of the names has a space.
    """
    return {
        "plain": plain,
        "with a space": plain,
        "float64": Volume(plain.values.astype(np.float64), plain.affine),
        "skewed": thin_slices_out(turn(reverse(plain))),
    }


def reverse(plain: Volume) -> Volume:
    """Store the axes in the order Z X Y, the first one backwards; the head stays where it is.

    A cyclic order keeps the handedness and one reversed axis changes it.
    """
    values = np.ascontiguousarray(plain.values.transpose(2, 0, 1)[::-1])
    to_plain = np.array([[0, 1, 0, 0], [0, 0, 1, 0], [-1, 0, 0, len(values) - 1], [0, 0, 0, 1]])
    return Volume(values, plain.affine @ to_plain)


def turn(plain: Volume, degrees: float = 12.0) -> Volume:
    """Say that the scanner's axes stood obliquely; the voxels stay as they are."""
    angle = np.deg2rad(degrees)
    turning = np.eye(4)
    turning[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    return Volume(plain.values, turning @ plain.affine)


def thin_slices_out(plain: Volume) -> Volume:
    """Keep every second plane of the first axis: voxels twice as long as wide."""
    return Volume(plain.values[::2], plain.affine @ np.diag([2, 1, 1, 1]))


def example(bundle: Bundle, data: Path, folder: Path) -> Volume:
    """Give an image in which a bundle finds something; for one without weights a made-up one."""
    if bundle.name == "hippocampus_segmentation":
        return Volume.read(data / "Task04_Hippocampus" / "imagesTr" / "hippocampus_014.nii.gz")
    if bundle.name == "resection_cavity_segmentation":
        return every_second_voxel(resected_head(data / "brain_mri" / "chris_t1.nii.gz", folder))
    return ball()


def resected_head(head: Path, folder: Path) -> Volume:
    """Simulate a resection of 9.6 mL in a healthy head."""
    options = ["--output", str(folder / "resected"), "--stage", "chronic", "--seed", "0"]
    assert main(["resect", str(head), *options, "--quiet"]) == 0
    (image,) = (folder / "resected").glob("*_resected-*.nii.gz")
    return Volume.read(image)


def every_second_voxel(fine: Volume) -> Volume:
    values = np.ascontiguousarray(fine.values[::2, ::2, ::2])
    return Volume(values, fine.affine @ np.diag([2, 2, 2, 1]))


def ball() -> Volume:
    """Make a bright ball in the dark."""
    grid = np.indices((48, 52, 44)) - np.array([24, 26, 22])[:, None, None, None]
    inside = (grid**2).sum(0) < 18**2
    image = inside * (300 + np.random.default_rng(0).normal(0, 10, inside.shape))
    return Volume(image.astype(np.float32), np.diag([1.0, 1, 1, 1]))


def mark_classes(image: Volume, num_classes: int) -> Volume:
    """Draw a slice of a block for each class into the middle of an image."""
    label = np.zeros(image.values.shape, np.uint8)
    middle = [size // 2 for size in label.shape]
    block = tuple(slice(centre - 6, centre + 6) for centre in middle)
    label[block] = 1 + np.arange(12)[:, None, None] * (num_classes - 1) // 12
    return Volume(label, image.affine)
