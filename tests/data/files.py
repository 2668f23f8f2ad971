"""Small NIfTI files with known content."""

import json

import nibabel as nib
import numpy as np


def save(path, values, affine=None):
    """Write a volume; give its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(values, np.eye(4) if affine is None else affine), path)
    return path


def image(shape=(6, 7, 8), seed=0):
    """Give a volume of noise."""
    return np.random.default_rng(seed).normal(100, 20, shape).astype(np.float32)


def label(shape=(6, 7, 8)):
    """Give a label map of the values 0, 1 and 2."""
    values = np.zeros(shape, np.uint8)
    values[1:3, 2:4, 2:6] = 1
    values[3:5, 2:4, 2:6] = 2
    return values


def save_dataset(root, names=("a", "b", "c"), groups=None):
    """Write a data set in the Decathlon's layout; give its folder."""
    for seed, name in enumerate(names):
        save(root / "imagesTr" / f"{name}.nii.gz", image(seed=seed))
        save(root / "labelsTr" / f"{name}.nii.gz", label())
    training = [
        {"image": f"./imagesTr/{name}.nii.gz", "label": f"./labelsTr/{name}.nii.gz"}
        for name in names
    ]
    labels = {"0": "background", "1": "front", "2": "back"}
    (root / "dataset.json").write_text(json.dumps({"labels": labels, "training": training}))
    if groups is not None:
        rows = [f"{name},{group}" for name, group in zip(names, groups, strict=True)]
        (root / "cases.csv").write_text("\n".join(["case,subject group", *rows]))
    return root
