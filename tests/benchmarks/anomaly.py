"""Do anomaly models find simulated resections and real tumours, and does it take a model?

Normal brains are synthesised from the label maps of SynthSeg (people 1 to 10), without their skull,
as FLAIR images; simulated resections are made of people 11 to 15, and the gliomas are those of
``Dataset902_GliomaBraTS2013`` (FLAIR, any label is lesion). Nothing of the lesions is used in
training. `prepare` writes the volumes; the verbs of volseg do the rest:

    python -m tests.benchmarks.anomaly DATA FOLDER
    volseg anomaly train --data FOLDER/normal --output FOLDER/hybrid
    volseg anomaly evaluate --data FOLDER/resected/cases.csv --model FOLDER/hybrid --output OUT
"""

import argparse
import os
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from monai.data import MetaTensor
from numpy.random import RandomState

from volseg.data.volumes import read_volume
from volseg.transforms.anatomy.from_labels import anatomy_from_labels
from volseg.transforms.resection.rand import RandResectiond
from volseg.transforms.synthesis import synthesize
from volseg.transforms.synthesis_draw import sample_synthesis

STEP = 3
"""Every third voxel of the label maps: 3 mm."""

TRAINED = 10
"""People whose brains are normal; the others are resected."""

OUTSIDE = 165
"""Label values from here on lie outside the brain."""

LEAST = 1e-3
"""Of a brain of about 1: brighter than the background, which is 0."""


def read_brain(path: Path) -> tuple[torch.Tensor, np.ndarray]:
    """Read a label map coarsely, cut to the brain."""
    values, affine, _ = read_volume(path)
    labels = np.rint(values)[::STEP, ::STEP, ::STEP].astype(np.int16)
    affine = affine.copy()
    affine[:3, :3] *= STEP
    labels[labels >= OUTSIDE] = 0
    inside = np.argwhere(labels)
    low, high = inside.min(axis=0), inside.max(axis=0) + 1
    affine[:3, 3] += affine[:3, :3] @ low
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    return torch.from_numpy(labels[box].copy()), affine


def make_image(labels: torch.Tensor, random: RandomState) -> torch.Tensor:
    """Synthesise a FLAIR image whose background is exactly its minimum."""
    drawn = sample_synthesis(torch.unique(labels).tolist(), random, {"FLAIR": 1.0}, lesion_share=0)
    image = synthesize(labels.float(), drawn, (STEP, STEP, STEP))[0]
    inside = image[labels > 0]
    floor = 0.05 * (inside.max() - inside.min())
    return torch.where(labels > 0, image - inside.min() + floor, 0.0)


def resect(labels: torch.Tensor, image: torch.Tensor, affine: np.ndarray, seed: int) -> tuple:
    """Resect a brain; give image and cavity."""
    anatomy = anatomy_from_labels(labels, affine, "synthseg")
    place = torch.from_numpy(affine)
    case = {
        "image": MetaTensor(image[None], affine=place),
        "anatomy": MetaTensor(anatomy.stack(), affine=place),
    }
    transform = RandResectiond("image", {"image": ["FLAIR"]})
    for attempt in range(9):
        transform.set_random_state(seed=100 * seed + attempt)
        done = transform(dict(case))
        if done["cavity"].any():
            break
    return tuple(np.asarray(done[key][0].as_subclass(torch.Tensor)) for key in ("image", "cavity"))


def save(path: Path, values: np.ndarray, affine: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(values, affine), path)


def prepare(data: Path, folder: Path) -> None:
    """Write normal brains, resected ones beside themselves, and the list of gliomas."""
    rows = ["image,label,name,group"]
    for path in sorted((data / "brain_labelmaps").glob("training_seg_*.nii.gz")):
        person = int(path.name.split("_")[2].split(".")[0])
        labels, affine = read_brain(path)
        image = make_image(labels, RandomState(person))
        if person <= TRAINED:
            save(folder / "normal" / f"p{person:02}.nii.gz", image.numpy(), affine)
            continue
        cut, cavity = resect(labels, image, affine, person)
        # the noise of the operation reaches the air, which tells the foreground by being one value
        cut = np.where(labels.numpy() > 0, np.maximum(cut, LEAST), 0)
        for kind, scan, truth in (
            ("well", image.numpy(), np.zeros(image.shape, np.uint8)),
            ("ill", cut.astype(np.float32), cavity.astype(np.uint8)),
        ):
            name = f"p{person:02}_{kind}"
            save(folder / "resected" / f"{name}.nii.gz", scan, affine)
            save(folder / "resected" / f"{name}_label.nii.gz", truth, affine)
            rows.append(f"{name}.nii.gz,{name}_label.nii.gz,{name},p{person:02}")
    (folder / "resected" / "cases.csv").write_text("\n".join(rows))
    gliomas = data / "Dataset902_GliomaBraTS2013"
    rows = ["image,label,name"]
    for label in sorted((gliomas / "labelsTr").glob("*.nii.gz")):
        name = label.name.removesuffix(".nii.gz")
        image = gliomas / "imagesTr" / f"{name}_0001.nii.gz"
        rows.append(",".join([*(os.path.relpath(each, folder) for each in (image, label)), name]))
    (folder / "gliomas.csv").write_text("\n".join(rows))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("folder", type=Path)
    args = parser.parse_args()
    prepare(args.data, args.folder)
