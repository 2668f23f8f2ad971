"""Cross simulators: how a network segments its own cavities, resector's, and none at all.

``prepare FOLDER`` writes healthy heads that were never trained on: label maps 13 to 15 in four
contrasts, some of them stripped of their skulls, and the same label maps renumbered for resector.
Then ``peer_resector.py FOLDER --draws 2`` makes cases in resector's own environment: of each head
one with fluid alone, and one with its clot and white-matter lesion. ``own FOLDER`` makes cases with
volseg and lists them in ``own.csv``, and ``measure FOLDER --bundle BUNDLE`` segments all of them:

- Dice on volseg's own cavities, on both kinds of resector's, and on these after a blur of 0.7 mm,
  contrast by contrast and by size;
- millilitres of cavity found in the healthy heads, in real scans of healthy people, and in scans of
  gliomas that nobody has operated on.

The twin learns from resector instead: ``prepare FOLDER2 --maps 1 2 3 4 5 6 7 8 9 10 11`` and
``peer_resector.py FOLDER2 --draws 10`` make its cases, ``twin FOLDER2`` lists them as real ones for
``volseg finetune --data FOLDER2/cases.csv --split FOLDER2/split.json``, and then it is measured as
above. Its negatives are none, as in resector's own recipe.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import nibabel as nib
import numpy as np
import torch
from scipy.ndimage import gaussian_filter

from tests.benchmarks.cavity_data import write
from volseg.data.volumes import read_volume
from volseg.inference.computation import VIEWS
from volseg.inference.results import FINISHED
from volseg.transforms.anatomy.from_labels import anatomy_from_labels
from volseg.transforms.resection.prior import Prior
from volseg.transforms.resection.resect import resect
from volseg.transforms.resection.sample import sample_cavity
from volseg.transforms.synthesis import synthesize
from volseg.transforms.synthesis_draw import sample_synthesis
from volseg.workflows.segment import Batch, segment

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"

NUMBERS = (13, 14, 15)

CONTRASTS = ("T1", "T2", "FLAIR", "unknown")

SIZES = {"below 3 mL": (0.0, 3.0), "3 to 15 mL": (3.0, 15.0), "above 15 mL": (15.0, 1e6)}
"""Cavities to be told apart, in mL: the median of EPISURG is about 15 mL."""

BLUR = 0.7
"""In mm: the standard deviation that takes away the white noise of resector's texture."""

FREESURFER_TO_GIF = {
    2: 46, 41: 45, 3: 44, 42: 43, 4: 53, 43: 52, 5: 51, 44: 50, 7: 42, 46: 41, 8: 40, 47: 39,
    10: 61, 49: 60, 11: 38, 50: 37, 12: 59, 51: 58, 13: 57, 52: 56, 14: 5, 15: 12, 16: 36,
    17: 49, 53: 48, 18: 33, 54: 32, 24: 1, 25: 55, 57: 54, 26: 31, 58: 24, 28: 63, 60: 62,
    30: 65, 62: 64, 72: 16, 85: 70,
}  # fmt: skip
"""Numbers of the same structures; what lies outside the brain is 0 for resector."""

HEALTHY = ("brain_mri/chris_t1.nii.gz", "brain_mri/chris_PD.nii.gz", "dicom/torchio_head")
"""Real scans of healthy people, never trained on."""

GLIOMAS = tuple(
    f"Dataset902_GliomaBraTS2013/imagesTr/brats_2013_pat000{number}_1_000{channel}.nii.gz"
    for number in (4, 5, 6)
    for channel in range(2)
)
"""Real gliomas before surgery, T1 with contrast and FLAIR: they are no cavities either."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Do one of the steps."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("step", choices=("prepare", "own", "measure", "twin"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--bundle", default="resection_cavity_segmentation")
    parser.add_argument("--data", type=Path, default=SHARED)
    parser.add_argument("--maps", nargs="+", type=int, default=NUMBERS, help="label maps to take")
    parser.add_argument("--tta", choices=VIEWS, default="none", help="when measuring")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(arguments)
    torch.set_num_threads(1)
    if args.step == "prepare":
        prepare(args.folder, args.data, args.seed, args.maps)
    elif args.step == "twin":
        list_twin(args.folder)
    elif args.step == "own":
        operate(args.folder, args.data, args.seed, args.maps)
    else:
        report(args.folder, args.data, args.bundle, Batch(tta=args.tta))


def prepare(folder: Path, data: Path, seed: int, numbers: Sequence[int]) -> None:
    """Write healthy heads and their numbers for resector, one grid, RAS."""
    (folder / "heads").mkdir(parents=True, exist_ok=True)
    for number in numbers:
        labels, affine = read_labels(data, number)
        gif = np.zeros(600, dtype=np.uint8)
        for ours, theirs in FREESURFER_TO_GIF.items():
            gif[ours] = theirs
        for index, contrast in enumerate(CONTRASTS):
            random = np.random.RandomState(seed + 10 * number + index)
            present = [int(each) for each in np.unique(labels)]
            drawn = sample_synthesis(present, random, {contrast: 1.0}, lesion_share=0.0)
            image = synthesize(torch.from_numpy(labels), drawn, (1.0, 1.0, 1.0))[0].numpy()
            name = f"labelmap{number}_{contrast}"
            save(folder / "heads" / f"{name}_image.nii.gz", image.astype(np.float32), affine)
            save(folder / "heads" / f"{name}_gif.nii.gz", gif[labels], affine)


def operate(folder: Path, data: Path, seed: int, numbers: Sequence[int]) -> None:
    """Make own cases of the same heads; every one has a cavity."""
    modes = {name: w for name, w in Prior().modes.items() if name not in ("none", "flap_only")}
    for kind in ("own_images", "own_masks"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    for number in numbers:
        labels, affine = read_labels(data, number)
        anatomy = anatomy_from_labels(torch.from_numpy(labels), affine)
        for index, contrast in enumerate(CONTRASTS):
            name = f"labelmap{number}_{contrast}"
            head = nib.load(folder / "heads" / f"{name}_image.nii.gz")
            image = torch.from_numpy(head.get_fdata(dtype=np.float32))[None]
            random = np.random.RandomState(seed + 100 + 10 * number + index)
            for draw in range(2):
                cavity = sample_cavity(anatomy, random, Prior(modes=modes))
                done = resect(image, anatomy, cavity, [contrast])
                case = f"{name}-{draw}.nii.gz"
                save(folder / "own_images" / case, done.image[0].numpy(), affine)
                save(folder / "own_masks" / case, done.mask[0].numpy(), affine)
    write(folder / "own.csv", list_cases(folder, "own_"))


def list_twin(folder: Path) -> None:
    """List resector's cases as real cavities; those of the last label map validate."""
    rows = list_cases(folder)
    last = max((row["group"] for row in rows), key=lambda name: int(name[len("labelmap") :]))
    held_out = [row["name"] for row in rows if row["group"] == last]
    parts = {
        "training": [row["name"] for row in rows if row["group"] != last],
        "validation": held_out[: len(held_out) // 4],
    }
    listed = {name for names in parts.values() for name in names}
    write(folder / "cases.csv", [row for row in rows if row["name"] in listed])
    (folder / "split.json").write_text(json.dumps(parts, indent=4) + "\n")


def list_cases(folder: Path, prefix: str = "") -> list[dict[str, str]]:
    """List cases with their masks; a group is a label map, and so a person."""
    names = [path.name for path in sorted((folder / f"{prefix}masks").glob("*.nii.gz"))]
    return [
        {
            "name": name.removesuffix(".nii.gz"),
            "image": str((folder / f"{prefix}images" / name).resolve()),
            "label": str((folder / f"{prefix}masks" / name).resolve()),
            "group": name.split("_")[0],
        }
        for name in names
    ]


def read_labels(data: Path, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Read a label map in RAS, cut to the head."""
    path = data / "brain_labelmaps" / f"training_seg_{number:02d}.nii.gz"
    volume = nib.as_closest_canonical(nib.load(path))
    labels = np.rint(np.asarray(volume.dataobj)).astype(np.int16)
    inside = np.argwhere(labels > 0)
    first, last = np.maximum(inside.min(0) - 8, 0), inside.max(0) + 9
    box = tuple(slice(a, b) for a, b in zip(first, last, strict=True))
    affine = volume.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ first
    return np.ascontiguousarray(labels[box]), affine


def report(folder: Path, data: Path, bundle: str, how: Batch) -> None:
    """Segment everything and write ``crossing.json``."""
    blurred = folder / "blurred_images"
    blurred.mkdir(exist_ok=True)
    for path in sorted((folder / "images").glob("*.nii.gz")):
        scan = nib.load(path)
        save(blurred / path.name, gaussian_filter(scan.get_fdata(), BLUR), scan.affine)
    cases = json.loads((folder / "cases.json").read_text())
    kinds = {f"{each['name']}.nii.gz": each.get("is_rich", False) for each in cases}
    peer = cavities(folder / "images", folder / "masks", bundle, how)
    soft = cavities(blurred, folder / "masks", bundle, how)
    own = cavities(folder / "own_images", folder / "own_masks", bundle, how)
    result = {"own": describe(own)}
    for kind, scores in (("", peer), (", blurred", soft)):
        for content, is_rich in (("fluid", False), ("clot", True)):
            chosen = {name: score for name, score in scores.items() if kinds[name] == is_rich}
            result[f"resector, {content}{kind}"] = describe(chosen)
    heads = sorted((folder / "heads").glob("*_image.nii.gz"))
    result["healthy, synthetic"] = found(heads, bundle, how)
    for what, names in (("healthy, real", HEALTHY), ("gliomas, real", GLIOMAS)):
        result[what] = found([data / name for name in names], bundle, how)
    (folder / "crossing.json").write_text(json.dumps(result, indent=2) + "\n")
    for name, scores in result.items():
        print(name, scores["summary"])


def cavities(images: Path, masks: Path, bundle: str, how: Batch) -> dict[str, tuple[float, float]]:
    """Score the cavities of a folder: Dice and true size in mL of each."""
    output = images.with_name(f"{images.name}_found")
    segment([images], bundle, output, batch=how, overwrite=True)
    scores = {}
    for path in sorted(masks.glob("*.nii.gz")):
        values, affine, _ = read_volume(path)
        truth, guess = values > 0, read_volume(output / path.name)[0] > 0
        dice = 2 * int((truth & guess).sum()) / max(1, int(truth.sum() + guess.sum()))
        scores[path.name] = dice, int(truth.sum()) * abs(np.linalg.det(affine[:3, :3])) / 1000
    return scores


def describe(scores: Mapping[str, tuple[float, float]]) -> dict[str, object]:
    """Sum up, all contrasts together and each alone, and by size."""
    parts = {"all": [dice for dice, _ in scores.values()]}
    for contrast in CONTRASTS:
        parts[contrast] = [dice for name, (dice, _) in scores.items() if f"_{contrast}-" in name]
    for size, (low, high) in SIZES.items():
        parts[size] = [dice for dice, ml in scores.values() if low <= ml < high]
    texts = [
        f"{name} {median(values):.3f} [{min(values):.3f}, {max(values):.3f}] ({len(values)})"
        for name, values in parts.items()
        if values
    ]
    return {
        "summary": f"Dice median [range] (cases): {', '.join(texts)}",
        "dice": {name: dice for name, (dice, _) in scores.items()},
        "ml": {name: ml for name, (_, ml) in scores.items()},
    }


def found(images: Sequence[Path], bundle: str, how: Batch) -> dict[str, object]:
    """Measure what is found where there is nothing."""
    with TemporaryDirectory() as output:
        summary = segment(images, bundle, output, batch=how)
    volumes = {
        Path(case.source).name: sum(case.volumes_ml.values())
        for case in summary.cases
        if case.status in FINISHED
    }
    clean = sum(volume <= 1 for volume in volumes.values())
    text = f"{clean} of {len(volumes)} within 1 mL, most {max(volumes.values()):.2f} mL"
    return {"summary": text, "ml": volumes}


def save(path: Path, values: np.ndarray, affine: np.ndarray) -> None:
    """Write a volume."""
    nib.save(nib.Nifti1Image(values, affine), path)


if __name__ == "__main__":
    main()
