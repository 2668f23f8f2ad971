r"""Pretext tasks x cropping x augmentation: what frozen features know, and what training cost.

    python -m tests.benchmarks.representations Task04_Hippocampus --output FOLDER --steps 200

This is the comparison of Dmitrenko et al. 2022 (https://arxiv.org/abs/2203.04107) for volumes.
Every arm is a ``volseg pretrain`` of the residual encoder on the training cases of the hippocampus
bundle, and ``volseg probe`` asks all of them, and the untrained network, on the validation cases:
which part of the hippocampus a region is, or with ``--grades 3`` how large it is. It is done twice:

- with equal steps for all;
- where each arm's loss had reached its plateau, within 1 % of its best: the arm is trained again
  for so many steps, its whole schedule. The paper's factor of eleven in training time is mostly
  that.

Runs that have come to their end already are taken as they are. Seconds are those of the training
log; on a busy machine compare only within one run.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from volseg.bundle import Bundle
from volseg.presets import preset_overrides
from volseg.workflows.pretrain import pretrain
from volseg.workflows.probe import ProbeOptions, probe
from volseg.workflows.probe_labels import Labels
from volseg.workflows.training import TrainingOptions

BUNDLE = "masked_volume_pretraining"

EPOCH = 10
"""Steps of a line of the log: plateaus are found to so many."""

CONTRASTIVE = {"_target_": "volseg.pretext.contrastive.Contrastive", "encoder": "@encoder"}
AUTOENCODER = {"_target_": "volseg.pretext.autoencoder.Autoencoder", "encoder": "@encoder"}

ARMS: Mapping[str, Mapping[str, Any] | str] = {
    "autoencoder": {**AUTOENCODER, "is_augmented": False},
    "autoencoder, augmented": {**AUTOENCODER, "is_augmented": True},
    "contrastive, pair": {**CONTRASTIVE, "crops": "pair", "is_augmented": False},
    "contrastive, pair, augmented": {**CONTRASTIVE, "crops": "pair"},
    "contrastive, same, augmented": {**CONTRASTIVE, "crops": "same"},
    "contrastive, multi": {**CONTRASTIVE, "crops": "multi", "is_augmented": False},
    "contrastive, multi, augmented": {**CONTRASTIVE, "crops": "multi"},
    "self-distillation": "self_distillation",
    "masked": "masked",
}
"""Task of each arm, or the preset that is one."""

DONE = "done"
"""A file in the folder of a run that has come to its end."""

COSTS = (
    "steps", "seconds_per_step", "steps_to_plateau", "seconds_to_plateau", "training_memory_mib",
)  # fmt: skip

SCORES = ("linear balanced accuracy", "mAP", "recall@1")


def main(arguments: Sequence[str] | None = None) -> None:
    """Train what is missing, probe everything, print two tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--grades", type=int, help="probe volumes for their size instead")
    args = parser.parse_args(arguments)
    torch.set_num_threads(1)
    labels = Labels(from_segmentation=args.grades is None, grades=args.grades)
    everything = dict.fromkeys(ARMS, args.steps)
    shared = args.data, labels, args.seed, args.batch_size
    equal = compare(everything, args.output / "equal", *shared)
    show(f"{args.steps} steps each", equal)
    steps = {name: plateau(equal[name], args.steps) for name in ARMS}
    stopped = compare(steps, args.output / "plateau", *shared)
    show("to its own plateau", stopped)


def compare(
    steps: Mapping[str, int], output: Path, data: Path, labels: Labels, seed: int, batch_size: int
) -> dict[str, Mapping[str, Any]]:
    """Train each arm for its steps, and probe all of them together."""
    encoders = []
    for name, count in steps.items():
        run = output / name.replace(", ", "-")
        if not (run / DONE).exists():
            train(name, count, data, run, seed, batch_size)
            (run / DONE).touch()
        encoders.append(f"{name}={run}")
    options = ProbeOptions(only_unseen=True, device="cpu", seed=seed, progress=False)
    target = output / ("grades" if labels.grades else "regions")
    probe(encoders, data, target, labels, options, overwrite=True)
    found = json.loads((target / "results.json").read_text())
    return {each["name"]: each for each in found["encoders"]}


def train(name: str, steps: int, data: Path, run: Path, seed: int, batch_size: int) -> None:
    """Pretrain one arm."""
    arm = ARMS[name]
    bundle = Bundle.find(BUNDLE)
    overrides = preset_overrides(bundle.root, [arm]) if isinstance(arm, str) else {"task": arm}
    pretrain(
        data,
        run,
        bundle,
        overrides={
            **overrides,
            "loop::batch_size": batch_size,
            "loop::epoch_length": EPOCH,
            "train::trainer::max_epochs": max(1, steps // EPOCH),
        },
        split="hippocampus_segmentation",
        options=TrainingOptions(device="cpu", seed=seed, overwrite=True, progress=False),
    )


def plateau(found: Mapping[str, Any], most: int) -> int:
    """Read at which step an arm's loss had settled."""
    return min(int(found.get("steps_to_plateau", most)), most)


def show(title: str, found: Mapping[str, Mapping[str, Any]]) -> None:
    """Print a table of the arms."""
    columns = [*SCORES, "effective rank", "steps", "s a step", "plateau at step", "s to it", "MiB"]
    print(f"\n{title}\n\n| arm | {' | '.join(columns)} |\n|{'---|' * (len(columns) + 1)}")
    for name, each in found.items():
        cells = [score(each["scores"][key]) for key in SCORES]
        cells.append(f"{each['effective_rank']:.1f}")
        cells += [cell(each, key) for key in COSTS]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def score(interval: Mapping[str, float]) -> str:
    """Write a score with its interval."""
    return f"{interval['mean']:.3f} [{interval['low']:.3f}, {interval['high']:.3f}]"


def cell(found: Mapping[str, Any], key: str) -> str:
    """Write a figure of the training; the untrained network has none."""
    value = found.get(key)
    if isinstance(value, Mapping):  # memory, by device
        value = max(value.values())
    return "" if value is None else f"{value:g}"


if __name__ == "__main__":
    main()
