"""Simulate the cavities of the docs gallery: six, in heads on which no weights were trained.

The label maps 13 to 15 of SynthSeg, on every second voxel, become a T1 and a FLAIR each, after
another resection. Beside the images stand their cavities, and two tables:

    python -m tests.benchmarks.gallery_cavities DATA/brain_labelmaps FOLDER
    volseg robustness resection_cavity_segmentation --data FOLDER/cases.csv --output robustness
    volseg segment FOLDER/images --bundle resection_cavity_segmentation --maps probabilities \
        --output masks
    volseg calibrate masks FOLDER/labels --groups FOLDER/groups.csv --output calibration
"""

import argparse
import csv
from pathlib import Path

import nibabel as nib

from volseg.workflows.resect import ResectOptions, resect

PEOPLE = (13, 14, 15)

STEP = 2
"""Every second voxel: 2 mm, the grid of the network."""

CONTRASTS = ("T1", "FLAIR")


def prepare(maps: Path, folder: Path) -> None:
    """Write images, cavities and tables."""
    coarse = folder / "maps"
    coarse.mkdir(parents=True, exist_ok=True)
    for person in PEOPLE:
        whole = nib.load(maps / f"training_seg_{person}.nii.gz")
        nib.save(whole.slicer[::STEP, ::STEP, ::STEP], coarse / f"p{person}.nii.gz")
    cases = []
    for seed, contrast in enumerate(CONTRASTS):
        options = ResectOptions(
            seed=seed, contrasts=[contrast], mode="lesionectomy", stage="chronic", is_synthetic=True
        )
        output = folder / "simulated" / contrast
        print(resect([coarse], output, options=options, overwrite=True))
        cases += [_sort_out(folder, output, person, contrast) for person in PEOPLE]
    for name, columns in (("cases", ("name", "image", "label", "group")), ("groups", None)):
        with (folder / f"{name}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(columns or ("case", "group"))
            writer.writerows(case if columns else (case[0], case[3]) for case in cases)


def _sort_out(folder: Path, output: Path, person: int, contrast: str) -> tuple[str, ...]:
    """Give image and cavity one name, in two folders."""
    name = f"p{person}_{contrast}"
    for kind, part in (("resected", "images"), ("cavity", "labels")):
        (folder / part).mkdir(exist_ok=True)
        found = output / f"p{person}_{kind}-0001.nii.gz"
        (folder / part / f"{name}.nii.gz").write_bytes(found.read_bytes())
    return name, f"images/{name}.nii.gz", f"labels/{name}.nii.gz", f"p{person}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("maps", type=Path)
    parser.add_argument("folder", type=Path)
    args = parser.parse_args()
    prepare(args.maps, args.folder)
