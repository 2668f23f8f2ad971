"""List the heads in which tumours are simulated, from the label maps beside the checkout.

``python -m tests.benchmarks.tumour_data --output FOLDER [--data SHARED]`` writes ``heads.csv`` and
``split.json`` for ``volseg finetune --bundle brain_tumor_segmentation --preset simulated``: label
maps 01 to 14 train, 15 validates. No real scan is among them, so that the gliomas beside the
checkout can be tested on: ``gliomas.csv`` lists those four with their labels, in the numbers of
``--preset brats2013``. Three are of BraTS 2013, with the labels of experts; the label of
TCGA-DU-7294 was fused from what algorithms found.
"""

import argparse
import csv
import json
from collections.abc import Sequence
from pathlib import Path

from tests.benchmarks.cavity_data import SHARED, TUMOUR, label_map, relative

COLUMNS = ("name", "t1", "t1c", "t2", "flair", "anatomy", "brain", "label", "group")

MAPS = range(1, 16)


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the lists."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--data", type=Path, default=SHARED)
    args = parser.parse_args(arguments)
    args.output.mkdir(parents=True, exist_ok=True)
    rows = [label_map(args.data.resolve(), number) for number in MAPS]
    with (args.output / "heads.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, restval="")
        writer.writeheader()
        for row in rows:
            writer.writerow({key: relative(value, args.output) for key, value in row.items()})
    names = [row["name"] for row in rows]
    write_gliomas(args.data.resolve(), args.output)
    split = {"training": names[:-1], "validation": names[-1:]}
    (args.output / "split.json").write_text(json.dumps(split, indent=4) + "\n")


def write_gliomas(data: Path, folder: Path) -> None:
    """List the patients whose tumours are labelled."""
    brats = data / "Dataset902_GliomaBraTS2013"
    rows = []
    for label in sorted((brats / "labelsTr").glob("*.nii.gz")):
        name = label.name.removesuffix(".nii.gz")
        images = [brats / "imagesTr" / f"{name}_{number:04d}.nii.gz" for number in range(2)]
        rows.append({"name": name, "t1c": images[0], "flair": images[1], "label": label})
    tcga = {key: data / f"{TUMOUR}_{key}.nii.gz" for key in ("t1", "t1c", "t2", "flair")}
    tcga["label"] = data / f"{TUMOUR}_seg_fused_simple.nii.gz"
    rows.append({"name": Path(TUMOUR).name, **tcga})
    with (folder / "gliomas.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ("name", "t1", "t1c", "t2", "flair", "label"), restval="")
        writer.writeheader()
        for row in rows:
            writer.writerow({key: relative(str(value), folder) for key, value in row.items()})


if __name__ == "__main__":
    main()
