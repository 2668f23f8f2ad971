"""List the heads that the cavity bundle is trained on, from the real volumes beside the checkout.

Usage: ``python -m tests.benchmarks.cavity_data --output FOLDER [--data SHARED]``; it needs nilearn,
whose package carries the MNI152 template. What it writes:

- ``cases.csv`` and ``split.json`` for ``volseg finetune``: label maps 01 to 11 and healthy scans
  train, label map 12 validates;
- ``test.csv``: what is never trained on, label maps 13 to 15 and the scans of other people.

"""

import argparse
import csv
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"

COLUMNS = ("name", "image", "label", "anatomy", "brain", "contrast", "group")

TUMOUR = "brain_mri/TCGA-DU-7294/TCGA-DU-7294"

Row = dict[str, str]


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the lists."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--data", type=Path, default=SHARED)
    args = parser.parse_args(arguments)
    args.output.mkdir(parents=True, exist_ok=True)
    maps = [label_map(args.data, number) for number in range(1, 16)]
    training = [*maps[:11], *healthy_scans(args.data), template(args.output)]
    write(args.output / "cases.csv", [*training, maps[11]])
    split = {
        "training": [row["name"] for row in training],
        "validation": [maps[11]["name"]],
    }
    (args.output / "split.json").write_text(json.dumps(split, indent=4) + "\n")
    write(args.output / "test.csv", maps[12:])


def label_map(data: Path, number: int) -> Row:
    """List a label map, of which images are synthesised."""
    path = data / "brain_labelmaps" / f"training_seg_{number:02d}.nii.gz"
    return {"name": f"labelmap_{number:02d}", "anatomy": str(path), "group": f"labelmap {number}"}


def healthy_scans(data: Path) -> list[Row]:
    """List scans that were never operated on; the glioma of one is a lesion that is no cavity."""
    rows = [
        {
            "name": "MR_Gd",
            "image": str(data / "brain_mri" / "MR_Gd.nii.gz"),
            "contrast": "T1c",
            "group": "MR_Gd",
        }
    ]
    for sequence, contrast in {"t1": "T1", "t1c": "T1c", "t2": "T2", "flair": "FLAIR"}.items():
        rows.append(
            {
                "name": f"TCGA-DU-7294_{sequence}",
                "image": str(data / f"{TUMOUR}_{sequence}.nii.gz"),
                "contrast": contrast,
                "group": "TCGA-DU-7294",
            }
        )
    return rows


def template(folder: Path) -> Row:
    """Write the MNI152 template that nilearn's package carries, with its brain mask."""
    from nilearn import datasets

    image = datasets.load_mni152_template(resolution=1)
    mask = datasets.load_mni152_brain_mask(resolution=1)
    nib.save(image, folder / "mni152_t1.nii.gz")
    brain = nib.Nifti1Image(np.asarray(mask.dataobj, dtype=np.uint8), mask.affine)
    nib.save(brain, folder / "mni152_brain.nii.gz")
    return {
        "name": "mni152_t1",
        "image": "mni152_t1.nii.gz",
        "brain": "mni152_brain.nii.gz",
        "contrast": "T1",
        "group": "mni152",
    }


def write(path: Path, rows: Sequence[Row]) -> None:
    """Write a list of cases; paths become relative to it."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, restval="")
        writer.writeheader()
        for row in rows:
            writer.writerow({key: relative(value, path.parent) for key, value in row.items()})


def relative(value: str, folder: Path) -> Any:
    """Give a path relative to a folder, and anything else as it is."""
    return os.path.relpath(value, folder) if Path(value).is_absolute() else value


if __name__ == "__main__":
    main()
