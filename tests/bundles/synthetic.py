"""A data set of a few tiny cases in the layout of the Medical Segmentation Decathlon."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np

SIZES = ((18, 21, 17), (20, 16, 19), (17, 18, 22))


def write_dataset(folder: Path, num_classes: int = 3, sequence: str = "") -> list[str]:
    """Write three cases, the last one turned, oblique and anisotropic; give their names.

    If a sequence is given, the files' names end in it.
    """
    names = [f"case_{index}{sequence and '_'}{sequence}" for index in range(len(SIZES))]
    rng = np.random.default_rng(0)
    training = []
    for kind in ("imagesTr", "labelsTr"):
        (folder / kind).mkdir(parents=True)
    for index, size in enumerate(SIZES):
        label = np.zeros(size, np.uint8)
        for value in range(1, num_classes):
            label[4:12, 4 * value : 4 * value + 4, 4:12] = value
        image = (100 * label + rng.normal(300, 10, size)).astype(np.float32)
        affine = oblique_affine() if index == len(SIZES) - 1 else np.diag([1.0, 1, 1, 1])
        entry = {}
        for kind, key, values in (("imagesTr", "image", image), ("labelsTr", "label", label)):
            path = folder / kind / f"{names[index]}.nii.gz"
            nib.save(nib.Nifti1Image(values, affine), path)
            entry[key] = f"./{kind}/{path.name}"
        training.append(entry)
    labels = {str(value): f"class {value}" for value in range(num_classes)}
    content = {"name": "tiny", "licence": "CC0", "labels": labels, "training": training}
    (folder / "dataset.json").write_text(json.dumps(content))
    return names


def oblique_affine() -> np.ndarray:
    """Turn by 10 degrees about the vertical axis, with swapped and flipped axes, 1 x 1.5 x 1 mm."""
    angle = np.deg2rad(10)
    turn = np.array(
        [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]
    )
    order = np.array([[0, -1.5, 0], [0, 0, -1], [1, 0, 0]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ order
    affine[:3, 3] = (-20, 13, 7.5)
    return affine


def write_split(path: Path, names: list[str]) -> None:
    """Write a split of which the last case validates."""
    path.write_text(json.dumps({"training": names[:-1], "validation": names[-1:]}))
