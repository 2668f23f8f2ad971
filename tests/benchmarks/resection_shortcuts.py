"""Shortcuts by which a network could tell a simulated cavity: ours and resector's beside the scan.

Usage: ``python -m tests.benchmarks.resection_shortcuts FOLDER``, after ``resection_crossing prepare
FOLDER`` and ``peer_resector.py FOLDER --draws 6``. Of every head with a case of resector that holds
fluid alone it prints

- the correlation between neighbouring voxels of the fluid, deep within it, mean over the axes;
- the width of the wall towards white matter, from 10 to 90 % of the way, in mm;
- the correlation between the same voxels of two cavities of one head, where two overlap;

for the ventricles of the head, for resector's cavities, and for ours. Nothing is drawn but by seed.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from scipy import ndimage

from tests.benchmarks.resection_crossing import SHARED, read_labels
from volseg.transforms.anatomy.from_labels import anatomy_from_labels
from volseg.transforms.anatomy.maps import Anatomy, Tissue
from volseg.transforms.resection.cavity import Content, Shift
from volseg.transforms.resection.prior import Prior
from volseg.transforms.resection.resect import resect
from volseg.transforms.resection.sample import sample_cavity
from volseg.transforms.resection.statistics import (
    TissueStatistics,
    measure_statistics,
    neighbour_correlation,
)

DEEP = 6.0
"""Fluid so far from the wall in mm is not mixed with it."""

REACH = 4.0
"""Profiles across a wall reach so far to both sides, in mm."""

PLATEAU = 2.75
"""Beyond this distance they are taken to be level, in mm."""

STEP = 0.25
"""They are sampled so densely, in mm."""

RAYS = 4000
"""As many are looked at; those that end in fluid and in white matter count."""

CLEAR = 0.35
"""Ends lie so close to the levels of both, as a share of the way between them."""

FEWEST = 200
"""Fewer voxels or rays say nothing."""

BASIC = Prior(modes={"lesionectomy": 1.0}, min_ml=15, max_ml=60)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--data", type=Path, default=SHARED)
    args = parser.parse_args(arguments)
    torch.set_num_threads(1)
    print("| head | | lag 1 | wall, mm | same voxels |")
    print("|---|---|---|---|---|")
    cases: dict[str, list[str]] = {}
    for case in json.loads((args.folder / "cases.json").read_text()):
        if not case.get("failed") and not case["is_rich"]:
            cases.setdefault(case["name"].rsplit("-", 1)[0], []).append(case["name"])
    for head, names in cases.items():
        report(head, names, args.folder, args.data)


def report(head: str, names: Sequence[str], folder: Path, data: Path) -> None:
    """Print the rows of one head."""
    number = int(head.split("_", maxsplit=1)[0].removeprefix("labelmap"))
    labels, affine = read_labels(data, number)
    anatomy = anatomy_from_labels(torch.from_numpy(labels), affine)
    image = read(folder / "heads" / f"{head}_image.nii.gz")
    scale = measure_statistics(image, anatomy)
    wall = edge_width(image, anatomy.tissue == Tissue.VENTRICLE, anatomy.spacing, scale)
    print_row([head, "ventricles"], [float(np.mean(scale.lag1)), wall, None])
    theirs = [
        (read(folder / "images" / f"{name}.nii.gz"), read(folder / "masks" / f"{name}.nii.gz") > 0)
        for name in names
    ]
    contrast = head.split("_")[1]
    ours = [simulate(image, anatomy, contrast, scale, seed) for seed in range(len(names))]
    for name, draws in (("resector", theirs), ("volseg", ours)):
        print_row(["", name], measure(draws, anatomy, scale))


def simulate(
    image: torch.Tensor, anatomy: Anatomy, contrast: str, scale: TissueStatistics, seed: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Fill a drawn cavity with fluid alone, as resector does; give the image and the mask."""
    cavity = sample_cavity(anatomy, np.random.RandomState(seed), BASIC)
    cavity = replace(
        cavity, content=Content(blur=cavity.content.blur), shift=Shift(), flap=None, stage="chronic"
    )
    done = resect(image[None], anatomy, cavity, [contrast], [scale])
    return done.image[0], done.mask[0] > 0


def measure(
    draws: Sequence[tuple[torch.Tensor, torch.Tensor]], anatomy: Anatomy, scale: TissueStatistics
) -> list[float | None]:
    """Measure cavities of one head: correlation of neighbours, width of the wall, noise in common.

    The last is that of the two cavities that overlap most.
    """
    cores = [deep_within(mask, anatomy.spacing) for _, mask in draws]
    lags = [mean_lag(image, core) for (image, _), core in zip(draws, cores, strict=True)]
    walls = [edge_width(image, mask, anatomy.spacing, scale) for image, mask in draws]
    pairs = combinations(range(len(draws)), 2)
    shared = {pair: int((cores[pair[0]] & cores[pair[1]]).sum()) for pair in pairs}
    best = max(shared, key=shared.__getitem__, default=None)
    common = None
    if best is not None and shared[best] >= FEWEST:
        a, b = best
        common = in_common(draws[a][0], draws[b][0], cores[a] & cores[b])
    return [middle(lags), middle(walls), common]


def deep_within(mask: torch.Tensor, spacing: np.ndarray, depth: float = DEEP) -> torch.Tensor:
    """Mark what lies at least so deep within a mask, in mm."""
    padded = np.pad(mask.numpy(), 1)
    distance = ndimage.distance_transform_edt(padded, sampling=spacing)
    return torch.from_numpy(distance[1:-1, 1:-1, 1:-1] >= depth)


def mean_lag(image: torch.Tensor, core: torch.Tensor) -> float | None:
    """Correlate neighbours, mean over the axes; `None` if there are too few voxels."""
    if int(core.sum()) < FEWEST:
        return None
    return float(np.mean([neighbour_correlation(image, core, axis) for axis in range(3)]))


def edge_width(
    image: torch.Tensor, mask: torch.Tensor, spacing: np.ndarray, scale: TissueStatistics
) -> float | None:
    """Measure the wall of a cavity or of the ventricles where it borders on white matter.

    Profiles along the normal are moved so that their middles lie upon each other, which their area
    tells whatever their noise, and averaged.

    Returns:
        From 10 to 90 % of the way, in mm; `None` if too few profiles reach from fluid to white.
    """
    profiles = normal_profiles(image.numpy(), mask.numpy(), spacing)
    fluid, white = scale.fluid[0], scale.white[0]
    profiles = (profiles - fluid) / (white - fluid)
    places = np.arange(-REACH, REACH + STEP / 2, STEP)
    inner, outer = places <= -PLATEAU, places >= PLATEAU
    is_clear = np.abs(profiles[:, inner].mean(axis=1)) < CLEAR
    is_clear &= np.abs(profiles[:, outer].mean(axis=1) - 1) < CLEAR
    if is_clear.sum() < FEWEST:
        return None
    moved = []
    for profile in profiles[is_clear]:
        low, high = profile[inner].mean(), profile[outer].mean()
        level = (profile - low) / (high - low)
        middle_place = REACH - STEP * level.sum()
        moved.append(np.interp(places, places - middle_place, level))
    mean = np.maximum.accumulate(np.mean(moved, axis=0))
    first, last = np.interp([0.1, 0.9], mean, places)
    return float(last - first)


def normal_profiles(image: np.ndarray, mask: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """Sample an image along the outward normals of a mask's border, ``(rays, samples)``."""
    found = np.argwhere(mask)
    pad = np.ceil((REACH + 2) / spacing).astype(int)
    low = np.maximum(found.min(axis=0) - pad, 0)
    window = tuple(slice(a, b) for a, b in zip(low, found.max(axis=0) + pad + 1, strict=True))
    image, mask = image[window], mask[window]
    smooth = ndimage.gaussian_filter(mask.astype(np.float32), 1.5 / spacing)
    border = np.argwhere(mask & ~ndimage.binary_erosion(mask))
    border = border[np.random.RandomState(0).permutation(len(border))[:RAYS]]
    slope = [np.gradient(smooth, edge, axis=axis) for axis, edge in enumerate(spacing)]
    normal = -np.stack([each[tuple(border.T)] for each in slope], axis=1)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True) + 1e-6
    places = np.arange(-REACH, REACH + STEP / 2, STEP)
    points = border[:, :, None] + (normal / spacing)[:, :, None] * places
    return ndimage.map_coordinates(image, points.transpose(1, 0, 2), order=1, mode="nearest")


def in_common(first: torch.Tensor, second: torch.Tensor, core: torch.Tensor) -> float:
    """Correlate the same voxels of two images."""
    return float(torch.corrcoef(torch.stack([first[core], second[core]]))[0, 1])


def middle(values: Sequence[float | None]) -> float | None:
    """Give the mean of the values that there are."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def read(path: Path) -> torch.Tensor:
    """Read a volume."""
    return torch.from_numpy(nib.load(path).get_fdata(dtype=np.float32))


def print_row(names: Sequence[str], values: Sequence[float | None]) -> None:
    """Print one row of the table."""
    print("|", " | ".join([*names, *("" if v is None else f"{v:.2f}" for v in values)]), "|")


if __name__ == "__main__":
    main()
