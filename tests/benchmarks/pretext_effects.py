r"""What each pretext task does for few labels, in experiments that a laptop can do.

Hippocampus volumes at half resolution, 16 x 24 x 16 voxels, and small encoders: a residual network
of three levels (``cnn``), a transformer (``vit``) and one of shifted windows (``swin``). Every arm
pretrains on the same unlabelled cases for the same steps, and hands over its encoder, and its
decoder if it trained one of the same kind. Then the same labelled cases, drawn by the seed, teach
it for the same steps as an arm from scratch, and the last weights are scored on cases of other
people. The autoencoder is the control: what it gains comes from pretraining as such. ``longer`` is
the scratch arm with the steps of both stages. A task that does not take an encoder says so in the
table. Finished runs are kept in the output file and skipped.

    python -m tests.benchmarks.pretext_effects --output effects.jsonl \
        --tasks scratch autoencoder pseudo_mask --encoders cnn swin --labelled 4 16 --seeds 0 1 2 3

An effect is shown if the interval of the paired differences to scratch, over seeds and cases,
lies above 0, from four seeds on, and reversed if it lies below; the table says "not shown" else.

Experiments of single tasks go by these names, and make all their arms in one run:

- ``phantoms``: component trees and thresholds, where size and nesting tell what intensity does not;
- ``severity`` and ``rotation_split``: the halves of the rotation task's features;
- ``pairs``: two architectures against contrast, BYOL and none, and what a step costs;
- ``anomaly``: features against pixels, and one kind of partner against the other;
- ``contrast``: what a change of contrast costs with and without pretraining.

    python -m tests.benchmarks.pretext_effects --output severity.jsonl --tasks severity

Their claims are judged by `tests.benchmarks.effect_verdicts`, printed, and written beside the runs,
as ``severity.verdicts.json``.
"""

import argparse
import json
import sys
import time
from itertools import product
from pathlib import Path

import numpy as np
import torch

from tests.benchmarks import effect_anomaly as anomaly
from tests.benchmarks import effect_contrast as contrast
from tests.benchmarks import effect_pairs as pairs
from tests.benchmarks import effect_phantoms as phantoms
from tests.benchmarks import effect_rotation as rotation
from tests.benchmarks.cavity_data import SHARED
from tests.benchmarks.effect_training import ENCODERS, TASKS, load, transfer
from tests.benchmarks.effect_verdicts import HEAD, judge, plain, row
from tests.benchmarks.label_efficiency import interval

EXPERIMENTS = {
    "phantoms": (phantoms.segment_phantoms, phantoms.CLAIMS),
    "severity": (rotation.read_severity, rotation.SEVERITY),
    "rotation_split": (rotation.split_rotation, rotation.SPLIT),
    "pairs": (pairs.compare_pairs, pairs.CLAIMS),
    "anomaly": (anomaly.find_anomalies, anomaly.CLAIMS),
    "contrast": (contrast.measure_drops, contrast.CLAIMS),
}
"""What each experiment runs, and what its paper claims."""

STEPS, FEWER = 400, {"anomaly": 100}
"""Steps of pretraining unless told otherwise; attention at full resolution is slow."""

TUNING, LONGER = 200, {"phantoms": 600}
"""Steps of fine-tuning; after 200 even scratch has not learned yet what a decoy is."""


def main() -> None:
    """Do the runs that are missing, then print the table."""
    options = parse()
    torch.set_num_threads(options.threads)
    done = {identify(run) for run in read_runs(options.output)}
    data = None
    for seed, kind, name in product(options.seeds, options.encoders, options.tasks):
        budgets = [None] if name in EXPERIMENTS else options.labelled
        missing = [each for each in budgets if (name, kind, seed, each) not in done]
        if not missing:
            continue
        data = data or load(options.data)
        started = time.process_time()
        asked = argparse.Namespace(**vars(options))
        asked.pretraining_steps = options.pretraining_steps or FEWER.get(name, STEPS)
        asked.steps = options.steps or LONGER.get(name, TUNING)
        if name in EXPERIMENTS:
            runs = [EXPERIMENTS[name][0](kind, seed, data, asked)]
        else:
            runs = transfer(name, kind, seed, data, asked, missing)
        seconds = round(time.process_time() - started, 1)
        for budget, figures in zip(missing, runs, strict=True):
            run = {"task": name, "encoder": kind, "seed": seed, "labelled": budget, **figures}
            run |= {"steps": [asked.pretraining_steps, asked.steps], "cpu_seconds": seconds}
            with options.output.open("a", encoding="utf-8") as file:
                file.write(json.dumps(run) + "\n")
            said = {key: value for key, value in run.items() if key != "dice"}
            print(said, file=sys.stderr, flush=True)
    runs = read_runs(options.output)
    print(table(runs))
    judged = judge_all(runs)
    print("\n".join(["", HEAD, *map(row, judged)]) if judged else "")
    options.output.with_suffix(".verdicts.json").write_text(
        json.dumps(plain(judged), indent=4) + "\n"
    )


def identify(run: dict) -> tuple:
    """Tell which run it is."""
    return tuple(run[key] for key in ("task", "encoder", "seed", "labelled"))


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data", type=Path, default=SHARED / "Task04_Hippocampus")
    parser.add_argument("--output", type=Path, required=True)
    known = ["scratch", "longer", *TASKS]
    parser.add_argument("--tasks", nargs="+", choices=[*known, *EXPERIMENTS], default=known)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3])
    parser.add_argument("--encoders", nargs="+", choices=ENCODERS, default=["cnn"])
    parser.add_argument("--labelled", type=int, nargs="+", default=[4])
    parser.add_argument("--pretraining-steps", type=int, help="by default 400, or 100 of anomaly")
    parser.add_argument(
        "--steps", type=int, help="of fine-tuning, by default 200, or 600 of phantoms"
    )
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


def read_runs(path: Path) -> list[dict]:
    """Read the finished runs."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def table(runs: list[dict]) -> str:
    """Lay out the Dice of each arm with the paired differences to scratch and to the control."""
    lines = []
    heads = sorted({(run["encoder"], run["labelled"]) for run in runs if run["labelled"]})
    for kind, budget in heads:
        lines += ["", f"{kind}, {budget} labelled cases", ""]
        own = [run for run in runs if (run["encoder"], run["labelled"]) == (kind, budget)]
        lines += rows(own)
    return "\n".join(lines)


def judge_all(runs: list[dict]) -> list[dict]:
    """Judge every claim of the experiments that were run, encoder by encoder."""
    judged = []
    for (name, (_, claims)), kind in product(EXPERIMENTS.items(), ENCODERS):
        own = [run for run in runs if (run["task"], run["encoder"]) == (name, kind)]
        if own:
            judged += [{"task": name, "encoder": kind, **judge(claim, own)} for claim in claims]
    return judged


def rows(runs: list[dict]) -> list[str]:
    """Lay out the arms of one encoder and one budget."""
    lines = ["| task | seeds | Dice ± SD of seeds | to scratch [95 %] | to autoencoder [95 %] |"]
    lines.append("|---|---|---|---|---|")
    arms: dict[str, dict[int, np.ndarray]] = {}
    for run in runs:
        if "dice" in run:
            arms.setdefault(run["task"], {})[run["seed"]] = np.array(run["dice"])
    for name, scores in arms.items():
        means = [float(score.mean()) for score in scores.values()]
        spread = np.std(means, ddof=1) if len(means) > 1 else float("nan")
        cells = [difference(scores, arms.get(other, {})) for other in ("scratch", "autoencoder")]
        lines.append(
            f"| {name} | {len(means)} | {np.mean(means):.3f} ± {spread:.3f} |"
            f" {cells[0]} | {cells[1]} |"
        )
    refused = {run["task"]: run["refused"] for run in runs if "refused" in run}
    return [*lines, *(f"| {name} | {reason} | | | |" for name, reason in refused.items())]


def difference(own: dict[int, np.ndarray], other: dict[int, np.ndarray]) -> str:
    """Write the mean paired difference, its interval, and whether it shows anything."""
    seeds = sorted(set(own) & set(other))
    if not seeds or own is other:
        return ""
    paired = np.array([own[seed] - other[seed] for seed in seeds])
    low, high = interval(paired)
    said = "not shown"
    if len(seeds) >= 4 and (low > 0 or high < 0):
        said = "shown" if low > 0 else "reversed"
    return f"{paired.mean():+.3f} [{low:+.3f}, {high:+.3f}], {said}"


if __name__ == "__main__":
    main()
