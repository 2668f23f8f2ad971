r"""What helps where a tumour is rare: which crops are drawn, and which loss is minimised.

Every variant trains from scratch on the same cases with the same schedule and seeds, and differs
from the bundle's own configuration in one thing or two. The last weights are scored, case by case,
on each case's own grid; nothing is selected. Case number k of the sorted names validates in fold k
modulo the number of folds. Finished runs are kept and skipped when the command is run again.

    python -m tests.benchmarks.imbalance --data Dataset901_SarcomaMR --output results \
        --seeds 0 1 --set train::trainer::max_epochs=10

``variants.json`` in the output folder holds Dice, sensitivity and precision of each case, and
``variants.md`` their means with the paired differences to the bundle's own.
"""

import argparse
import json
import sys
import time
from itertools import product
from typing import Any

import numpy as np
import torch

from tests.benchmarks.tumour_folds import Study, add_study
from volseg.bundle import Bundle
from volseg.data.cases import Case
from volseg.data.reading import source_of
from volseg.data.splits import write_split
from volseg.evaluation.intervals import Interval, mean_intervals
from volseg.evaluation.pairs import read_labels
from volseg.inference.predictor import Predictor
from volseg.presets import preset_overrides
from volseg.workflows.finetune import finetune
from volseg.workflows.training import TrainingOptions

OWN = "own"

EPOCHS = "train::trainer::max_epochs"

LOSS, CROPS = "optimisation::loss", "train::augmentation::class_weights"

ENTROPY = {
    "_target_": "monai.losses.DiceCELoss", "lambda_dice": 0.0, "to_onehot_y": True, "softmax": True,
}  # fmt: skip
"""Every voxel counts alike."""

FIGURES = ("dice", "sensitivity", "precision")


def variants() -> dict[str, dict[str, Any]]:
    """List what differs from the bundle's configuration, by name.

    The losses are the presets of the bundle for CT. The bundle's own crops lie around the tumour
    twice out of three times.
    """
    root = Bundle.find("ct_tumor_segmentation").root
    plain, anywhere = {LOSS: ENTROPY}, {CROPS: [1, 0]}
    return {
        OWN: {},
        "dice and focal": preset_overrides(root, ["dice_focal"]),
        "tversky": preset_overrides(root, ["tversky"]),
        "cross-entropy": plain,
        "crops around background": anywhere,
        "cross-entropy, crops around background": {**plain, **anywhere},
    }


def main(arguments: list[str] | None = None) -> None:
    """Do the runs that are missing, then write the table."""
    options = parse(arguments)
    torch.set_num_threads(options.threads)
    study, runs = Study.of(options), []
    for seed, number, name in product(options.seeds, range(options.folds), options.variants):
        runs.append(run(study, number, seed, name))
        content = {"cases": len(study.cases), "overrides": study.values, "runs": runs}
        (options.output / "variants.json").write_text(json.dumps(content, indent=1) + "\n")
        (options.output / "variants.md").write_text(table(runs))
    print((options.output / "variants.md").read_text())


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    add_study(parser)
    parser.add_argument("--variants", nargs="+", choices=variants(), default=list(variants()))
    return parser.parse_args(arguments)


def run(study: Study, number: int, seed: int, name: str) -> dict[str, Any]:
    """Train one variant on one fold and score it, unless that was done already."""
    folder = study.options.output / f"fold{number}-seed{seed}"
    trained = folder / name.replace(", ", "_").replace(" ", "_")
    done = trained.with_suffix(".json")
    if done.is_file():
        return json.loads(done.read_text())
    parts, split = study.fold(number), folder / "split.json"
    write_split(split, parts)
    epochs = study.values.get(EPOCHS, study.config["train"]["trainer"]["max_epochs"])
    used = time.process_time()
    finetune(
        study.options.data,
        trained,
        study.bundle.root,
        overrides={"val_interval": epochs, **study.values, **variants()[name]},
        split=split,
        options=TrainingOptions(study.options.device, seed, overwrite=True, progress=False),
    )
    predictor = Predictor.from_bundle(Bundle(trained), study.options.device)
    scores = {case.name: score(predictor, case) for case in parts["validation"]}
    seconds = round(time.process_time() - used)
    result = {"variant": name, "fold": number, "seed": seed, "cases": scores, "seconds": seconds}
    done.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result), file=sys.stderr)
    return result


def score(predictor: Predictor, case: Case) -> dict[str, float]:
    """Count the voxels of the tumour, all classes but background, on the case's own grid."""
    found = predictor.predict([source_of(path) for path in case.images]).labels > 0
    truth = read_labels(case.label)[0] > 0
    both = int((found & truth).sum())
    return {
        "dice": 2 * both / int(found.sum() + truth.sum()),
        "sensitivity": both / int(truth.sum()),
        "precision": both / max(1, int(found.sum())),
        "share": float(truth.mean()),
    }


def table(runs: list[dict[str, Any]]) -> str:
    """Lay out means over cases, each the mean of its seeds, and differences to the bundle's own."""
    lines = [
        f"| variant | runs | {' | '.join(FIGURES)} | Dice, difference to own |",
        f"|{'---|' * (len(FIGURES) + 3)}",
    ]
    own = by_case(runs, OWN, "dice")
    for name in dict.fromkeys(each["variant"] for each in runs):
        cells = [interval(by_case(runs, name, figure)).text() for figure in FIGURES]
        dice = by_case(runs, name, "dice")
        gains = {case: dice[case] - own[case] for case in dice if case in own}
        cells.append("-" if name == OWN or not gains else interval(gains).text(signed=True))
        count = sum(each["variant"] == name for each in runs)
        lines.append(f"| {name} | {count} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def by_case(runs: list[dict[str, Any]], name: str, figure: str) -> dict[str, float]:
    """Give the mean over seeds of a figure, by case."""
    found: dict[str, list[float]] = {}
    for each in runs:
        for case, scores in each["cases"].items() if each["variant"] == name else ():
            found.setdefault(case, []).append(scores[figure])
    return {case: float(np.mean(values)) for case, values in found.items()}


def interval(values: dict[str, float]) -> Interval:
    """Give the mean over cases with its 95 % interval."""
    return mean_intervals(np.array(list(values.values()))[:, None])[0]


if __name__ == "__main__":
    main()
