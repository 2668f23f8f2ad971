"""Simulate masses beside the real tumours of the sarcomas, to train with.

``python -m tests.benchmarks.mass_data --data Dataset901_SarcomaMR --output FOLDER --draws 6``
writes for each labelled case so many copies, ``NAME_mass0`` and so on, and lists all in
``cases.csv``. In each grows one mass (`RandTumord`, kind ``mass``, T1) in what is as bright as
muscle and no tumour; the label holds that mass and the real tumour.
``tests.benchmarks.tumour_folds --simulated FOLDER/cases.csv`` adds the copies of its training
cases, and never those of the cases that validate.
"""

import argparse
import csv
from collections.abc import Sequence
from pathlib import Path
from zlib import crc32

import nibabel as nib
import numpy as np
import torch
from monai.data import MetaTensor
from scipy import ndimage

from tests.benchmarks.cavity_data import relative
from volseg import RandTumord
from volseg.data.cases import find_cases
from volseg.transforms.thresholds import otsu_thresholds
from volseg.transforms.tumour.body import estimate_body

FOLDERS = ("images", "labels")

MARK = "_mass"
"""Between the name of a case and the number of its copy."""

MARGIN = 6.0
"""So far from the real tumour, in mm, the simulated one begins."""

PRIOR = {"kinds": {"mass": 1.0}, "min_ml": 3.0, "max_ml": 250.0}


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the copies."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--draws", type=int, default=6)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(arguments)
    rows = []
    for case in find_cases(args.data):
        if case.label is None:
            continue
        image, label = case.images[0].resolve(), case.label.resolve()
        rows.append(row(case.name, image, label, case.name, args.output))
        for draw in range(args.draws):
            key = [args.seed, crc32(case.name.encode()), draw]
            name = f"{case.name}{MARK}{draw}"
            paths = [args.output.resolve() / kind / f"{name}.nii.gz" for kind in FOLDERS]
            for path, values in zip(paths, simulate(image, label, key), strict=True):
                path.parent.mkdir(parents=True, exist_ok=True)
                nib.save(values, path)
            rows.append(row(name, *paths, case.name, args.output))
    if not rows:
        parser.error(f"{args.data} holds no labelled case; give one with real tumours")
    with (args.output / "cases.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def row(name: str, image: Path, label: Path, group: str, folder: Path) -> dict[str, str]:
    """List a case; paths become relative to the list."""
    files = {"image": relative(str(image), folder), "label": relative(str(label), folder)}
    return {"name": name, **files, "group": group}


def simulate(
    image: Path, label: Path, key: Sequence[int]
) -> tuple[nib.Nifti1Image, nib.Nifti1Image]:
    """Give a copy of a case with one more mass: its image and its label."""
    volume = nib.load(image)
    values = np.asarray(volume.dataobj, dtype=np.float32)
    real = np.asarray(nib.load(label).dataobj) > 0
    growing = RandTumord("t1", contrasts="T1", prior=PRIOR, out_key="mass")
    growing.set_random_state(int(np.random.SeedSequence(list(key)).generate_state(1)[0]))
    affine = torch.as_tensor(volume.affine)
    region = healthy_muscle(values, real, volume.affine)
    grown = growing(
        {
            "t1": MetaTensor(torch.from_numpy(values)[None], affine=affine),
            "region": MetaTensor(torch.from_numpy(region)[None].float(), affine=affine),
        }
    )
    mass = np.asarray(grown["mass"][0]) > 0
    both = (real | mass).astype(np.uint8)
    return (
        nib.Nifti1Image(np.asarray(grown["t1"][0]), volume.affine),
        nib.Nifti1Image(both, volume.affine),
    )


def healthy_muscle(values: np.ndarray, real: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Find what is darker than fat, of the body, and away from the tumour."""
    body = estimate_body(torch.from_numpy(values), affine).numpy()
    edges = np.linalg.norm(affine[:3, :3], axis=0)
    away = ndimage.distance_transform_edt(~real, sampling=edges) > MARGIN
    smooth = ndimage.gaussian_filter(values, 2.0 / edges)
    fat = float(otsu_thresholds(torch.from_numpy(smooth[body])))
    return body & away & (smooth < fat)


if __name__ == "__main__":
    main()
