"""Does a detector find solids that were painted into real scans, in scans that it has not seen?

Bright ellipsoids with semi-axes of 10 to 20 mm are painted into the tissue of real MRI, keeping its
texture: four draws a scan, one to three solids a draw. Draws of one scan never part. The scans' own
tumours stay in them as background. Run as ``python -m tests.benchmarks.detection --data
Dataset901_SarcomaMR --output FOLDER``.
"""

import argparse
import json
from pathlib import Path

import nibabel as nib
import numpy as np

from volseg.cli.main import main

DRAWS = 4

FOLDS = 4
"""Every fourth scan validates: the first fold of `tests.benchmarks.tumour_folds`."""

SETTINGS = (
    'channels=["T1"]', "spacing=[4,4,4]", "patch_size=[32,32,32]", "flip_axes=[0,1,2]",
    'network_def::encoder={"_target_":"volseg.networks.residual.tiny","in_channels":1}',
    "network_def::anchors=[[6,6,6],[8,8,8]]", "optimisation::learning_rate=0.003",
    "train::trainer::max_epochs=4",
)  # fmt: skip


def paint(image, affine, random):
    """Paint solids into tissue, and label them."""
    tissue = image > np.percentile(image, 50)
    places = np.argwhere(tissue)
    spread = image[tissue].std()
    grid = np.moveaxis(np.indices(image.shape), 0, -1) @ affine[:3, :3].T
    painted, label = image.copy(), np.zeros(image.shape, np.uint8)
    for _ in range(random.integers(1, 4)):
        centre = affine[:3, :3] @ places[random.integers(len(places))]
        solid = (((grid - centre) / random.uniform(10, 20, 3)) ** 2).sum(-1) <= 1
        painted[solid & (label == 0)] += 3 * spread
        label[solid] = 1
    return painted, label


def write(source, folder, seed=0):
    """Write the data set and its split."""
    random, split, listed = np.random.default_rng(seed), {}, []
    for kind in ("imagesTr", "labelsTr", "references", "scans"):
        (folder / kind).mkdir(parents=True)
    found = sorted(
        path.name[: -len("_0000.nii.gz")] for path in (source / "imagesTr").glob("*_0000*")
    )
    validation = found[::FOLDS]
    parts = {
        "training": [case for case in found if case not in validation],
        "validation": validation,
    }
    for part, cases in parts.items():
        names = split.setdefault(part, [])
        for case in cases:
            scan = nib.load(source / "imagesTr" / f"{case}_0000.nii.gz")
            image = scan.get_fdata(dtype=np.float32)
            for draw in range(DRAWS):
                name = f"{case}_draw_{draw}"
                entry = {}
                values = dict(
                    zip(("image", "label"), paint(image, scan.affine, random), strict=True)
                )
                for key, kind in (("image", "imagesTr"), ("label", "labelsTr")):
                    path = folder / kind / f"{name}.nii.gz"
                    nib.save(nib.Nifti1Image(values[key], scan.affine), path)
                    entry[key] = f"./{key}sTr/{path.name}"
                    if part == "validation":
                        other = "scans" if key == "image" else "references"
                        (folder / other / path.name).symlink_to(path.resolve())
                names.append(name)
                listed.append(entry)
    labels = {"0": "background", "1": "lesion"}
    (folder / "dataset.json").write_text(json.dumps({"labels": labels, "training": listed}))
    (folder / "split.json").write_text(json.dumps(split))


def run():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    data, trained, boxes = (args.output / name for name in ("data", "run", "boxes"))
    write(args.data, data)
    changes = [word for setting in SETTINGS for word in ("--set", setting)]
    given = ["--bundle", "lesion_detection", "--data", str(data), "--device", "cpu"]
    given += ["--split", str(data / "split.json"), "--seed", str(args.seed)]
    main(["finetune", *given, *changes, "--output", str(trained)])
    main(["detect", str(data / "scans"), "--bundle", str(trained), "--output", str(boxes)])
    main(["evaluate", str(boxes / "boxes.csv"), str(data / "references"), "--lesions"])


if __name__ == "__main__":
    run()
