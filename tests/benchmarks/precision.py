"""What precision and flipped views do to the shipped hippocampus network, case by case.

    python -m tests.benchmarks.precision Task04_Hippocampus

prints, for the validation cases of the bundle, CPU seconds in relation to 32 bits, the mean Dice of
each class, and how many voxels have another label than with 32 bits.
"""

import argparse
import json
from pathlib import Path
from time import process_time

import nibabel as nib
import numpy as np

from volseg.bundle import Bundle
from volseg.inference.computation import Computation
from volseg.inference.predictor import Predictor

WAYS = {
    "float32": Computation("float32"),
    "bfloat16": Computation("bfloat16"),
    "flips of axis 0": Computation("float32", (0,)),
    "flips of axis 1": Computation("float32", (1,)),
    "flips of axis 2": Computation("float32", (2,)),
    "flips of all axes": Computation("float32", (0, 1, 2)),
}


def dice(found: np.ndarray, truth: np.ndarray, value: int) -> float:
    """Give the overlap of one class."""
    both = np.count_nonzero((found == value) & (truth == value))
    return 2 * both / (np.count_nonzero(found == value) + np.count_nonzero(truth == value))


def main() -> None:
    """Print a line for each way."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--cases", type=int, help="how many; default: all")
    args = parser.parse_args()
    bundle = Bundle.find("hippocampus_segmentation")
    split = json.loads((bundle.root / "configs" / "split.json").read_text())
    names = split["validation"][: args.cases]
    predictors = {
        way: Predictor.from_bundle(bundle, "cpu", computation=computation)
        for way, computation in WAYS.items()
    }
    seconds = dict.fromkeys(WAYS, 0.0)
    scores: dict[str, list[list[float]]] = {way: [] for way in WAYS}
    changed = dict.fromkeys(WAYS, 0)
    voxels = 0
    for name in names:
        truth = np.asarray(nib.load(args.data / "labelsTr" / f"{name}.nii.gz").dataobj)
        voxels += truth.size
        reference: np.ndarray | None = None
        for way, predictor in predictors.items():
            case = predictor.load(args.data / "imagesTr" / f"{name}.nii.gz")
            begin = process_time()
            labels = predictor.infer(case).labels
            seconds[way] += process_time() - begin
            reference = labels if reference is None else reference
            changed[way] += int(np.count_nonzero(labels != reference))
            scores[way].append([dice(labels, truth, value) for value in (1, 2)])
    for way in WAYS:
        mean = np.mean(scores[way], axis=0)
        print(
            f"{way:18} {seconds[way] / seconds['float32']:.2f} of the time, Dice"
            f" {mean[0]:.4f} and {mean[1]:.4f}, {100 * changed[way] / voxels:.3f} % other labels"
        )


if __name__ == "__main__":
    main()
