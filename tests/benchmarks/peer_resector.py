"""Run resector, the published simulator, on heads that `resection_crossing` has prepared.

It runs in an environment of its own, since it needs VTK and TorchIO:
``pip install resector==0.2.10``, then ``python peer_resector.py FOLDER [--seconds]``. For each
``HEAD_image.nii.gz`` with its ``HEAD_gif.nii.gz`` in FOLDER/heads it writes ``NAME.nii.gz`` into
FOLDER/images and FOLDER/masks, and ``cases.json``, the parameters it drew. Every second case has
the white-matter lesion and the clot, the others neither. ``--seconds`` measures instead: CPU
seconds of one draw, without preparation.
"""

import argparse
import json
import logging
from pathlib import Path
from statistics import median
from time import process_time, time

import nibabel as nib
import numpy as np
import torch
import torchio
from resector import RandomResection, parcellation

VOLUMES = (844, 83_757)
"""In mm3: the first and 99th percentile of the labelled cavities of EPISURG, as its paper draws."""

SIDES = ("left", "right")

logger = logging.getLogger(__name__)


def main() -> None:
    """Make the cases, or measure the time that they take."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--draws", type=int, default=1, help="cases of each head")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", action="store_true", help="measure and write no case")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(1)
    records = []
    for number, image in enumerate(sorted((args.folder / "heads").glob("*_image.nii.gz"))):
        parts, seconds = prepare(image)
        if args.seconds:
            records.append({"head": image.name, "prepare": seconds, **measure(parts, args.draws)})
            continue
        for draw in range(args.draws):
            torch.manual_seed(args.seed + 1000 * number + draw)
            records.append(make(parts, image, number + draw, args.folder))
    name = "seconds.json" if args.seconds else "cases.json"
    (args.folder / name).write_text(json.dumps(records, indent=2, default=str) + "\n")


def prepare(image: Path) -> tuple[dict[str, Path], float]:
    """Do what resector wants done once for each head."""
    began = process_time()
    gif = image.with_name(image.name.replace("_image", "_gif"))
    parts = {"image": image}
    for side in SIDES:
        for kind, make_mask in (
            ("gray_matter", parcellation.get_gray_matter_mask),
            ("resectable", parcellation.get_resectable_hemisphere_mask),
        ):
            path = image.with_name(f".{image.name.split('_')[0]}_{kind}_{side}.nii.gz")
            parts[f"resection_{kind}_{side}"] = path
            if not path.exists():  # the contrasts of one head share them
                parcellation.write(make_mask(gif, side), path)
    parts["resection_noise"] = image.with_name(f".{image.name.split('_')[0]}_noise.nii.gz")
    parcellation.make_noise_image(image, gif, parts["resection_noise"])
    return parts, process_time() - began


def make_subject(parts: dict[str, Path]) -> torchio.Subject:
    """Read a head as resector takes it."""
    images = {
        name: (torchio.ScalarImage if name in ("image", "resection_noise") else torchio.LabelMap)(p)
        for name, p in parts.items()
    }
    subject = torchio.Subject(images)
    subject.load()
    return subject


def make(parts: dict[str, Path], image: Path, draw: int, folder: Path) -> dict[str, object]:
    """Make one case; resector fails on some draws, which are repeated."""
    is_rich = draw % 2
    transform = RandomResection(volumes_range=VOLUMES, wm_lesion_p=is_rich, clot_p=is_rich)
    name = f"{image.name.removesuffix('_image.nii.gz')}-{draw}"
    for attempt in range(10):
        try:
            subject = transform(make_subject(parts))
            break
        except RuntimeError as error:
            logger.info("%s: attempt %d: %s", name, attempt, str(error).splitlines()[-1])
    else:
        return {"name": name, "failed": True}
    grid = nib.load(image)
    for kind, key, dtype in (("images", "image", np.float32), ("masks", "label", np.uint8)):
        (folder / kind).mkdir(exist_ok=True)
        values = subject[key].data[0].numpy().astype(dtype)
        nib.save(nib.Nifti1Image(values, grid.affine), folder / kind / f"{name}.nii.gz")
    return {"name": name, "is_rich": bool(is_rich), **subject["random_resection"]}


def measure(parts: dict[str, Path], draws: int) -> dict[str, object]:
    """Measure draws, basic and with white-matter lesion and clot."""
    result: dict[str, object] = {}
    for name, is_rich in (("basic", 0), ("rich", 1)):
        transform = RandomResection(volumes_range=VOLUMES, wm_lesion_p=is_rich, clot_p=is_rich)
        cpu, wall = [], []
        for draw in range(draws):
            subject = make_subject(parts)
            torch.manual_seed(draw)
            began, started = process_time(), time()
            try:
                transform(subject)
            except RuntimeError:
                continue
            cpu.append(process_time() - began)
            wall.append(time() - started)
        result[name] = {"cpu": median(cpu), "wall": median(wall), "draws": len(cpu)}
    return result


if __name__ == "__main__":
    main()
