"""EPISURG: how a bundle segments real resection cavities, which nobody here has seen.

Usage: ``python -m tests.benchmarks.episurg EPISURG OUTPUT [--bundle BUNDLE]``, where EPISURG holds
``subjects/sub-*/postop`` and ``preop`` (Perez-Garcia et al. 2020, doi 10.5522/04/9996158).

- Every scan from after surgery that a rater has labelled is segmented, and compared with each of
  its raters; beside it, how the second rater agrees with the first.
- Every scan from before surgery is segmented as if nobody knew: what is found there is false.

Prints both, and writes ``OUTPUT/episurg.json`` with the score of every case; interrupted, it goes
on where it was. A case without a mask counts as missed. It was tried on a made-up tree of this
layout only: there is no figure of ours.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from volseg.evaluation.pairs import Pair
from volseg.evaluation.report import evaluate_pairs
from volseg.inference.results import FINISHED
from volseg.workflows.segment import Batch, segment

BUNDLE = "resection_cavity_segmentation"

CLASSES = {1: "cavity"}


def main(arguments: Sequence[str] | None = None) -> None:
    """Segment, compare and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--bundle", default=BUNDLE)
    parser.add_argument("--device", default="auto")
    args = parser.parse_args(arguments)
    raters = find_raters(args.folder)
    before = sorted(args.folder.glob("subjects/sub-*/preop/*_preop-t1mri-*.nii.gz"))
    if not raters:
        raise SystemExit(
            f"{args.folder} holds no subjects/sub-*/postop/*-seg-*.nii.gz; give EPISURG's folder"
        )
    scans = {name: scan_of(labels[0]) for name, labels in raters.items()}
    result = {"agreement": agreement(raters)}
    after = args.output / "postop"
    again = Batch(resume=True)
    segment(list(scans.values()), args.bundle, after, device=args.device, batch=again)
    masks = {name: after / scan.name for name, scan in scans.items()}
    most = max(len(labels) for labels in raters.values())
    for rater in range(most):
        chosen = {name: labels[rater] for name, labels in raters.items() if len(labels) > rater}
        result[f"rater {rater + 1}"] = compare({name: masks[name] for name in chosen}, chosen)
    if before:
        healthy = args.output / "preop"
        found = segment(before, args.bundle, healthy, device=args.device, batch=again)
        result["before surgery, mL"] = {
            Path(case.source).name: sum(case.volumes_ml.values())
            for case in found.cases
            if case.status in FINISHED
        }
    args.output.mkdir(parents=True, exist_ok=True)
    (args.output / "episurg.json").write_text(json.dumps(result, indent=2) + "\n")
    for what, values in result.items():
        print(what, summarise(list(values.values())))


def find_raters(folder: Path) -> dict[str, list[Path]]:
    """List the labels of each scan, the first rater's first."""
    raters: dict[str, list[Path]] = {}
    for label in sorted(folder.glob("subjects/sub-*/postop/*_postop-seg-*.nii.gz")):
        raters.setdefault(label.name.split("-seg-")[0], []).append(label)
    return raters


def scan_of(label: Path) -> Path:
    """Give the scan that a label was drawn on."""
    return label.with_name(f"{label.name.split('-seg-')[0]}-t1mri-1.nii.gz")


def agreement(raters: dict[str, list[Path]]) -> dict[str, float]:
    """Compare the second rater with the first, where there are two."""
    twice = {name: labels for name, labels in raters.items() if len(labels) > 1}
    if not twice:
        return {}
    return compare(
        {name: labels[1] for name, labels in twice.items()},
        {name: labels[0] for name, labels in twice.items()},
    )


def compare(masks: dict[str, Path], labels: dict[str, Path]) -> dict[str, float]:
    """Give the Dice of every case; 0 where there is no mask."""
    pairs = [
        Pair(name, masks[name] if masks[name].exists() else None, label)
        for name, label in labels.items()
    ]
    return {
        case.name: case.scores["cavity"].dice
        for case in evaluate_pairs(pairs, CLASSES).cases
        if case.status != "failed"
    }


def summarise(values: Sequence[float]) -> str:
    """Give number, median and quartiles."""
    if not values:
        return "no case"
    low, middle, high = np.percentile(values, [25, 50, 75])
    return f"{len(values)} cases, median {middle:.3f} [{low:.3f}, {high:.3f}]"


if __name__ == "__main__":
    main()
