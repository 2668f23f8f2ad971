r"""How much pretraining helps with few labels: fine-tuned against the same schedule from scratch.

Every arm sees the same labelled cases, the same steps and the same seeds. The last weights are
scored on the validation cases, case by case, on the preprocessed grid, which for this data set is
each case's own (1 mm, RAS); nothing is selected. Finished
runs are kept in ``runs.jsonl`` and skipped when the command is run again, so that a long comparison
may be done in parts, or by several processes.

    python tests/benchmarks/label_efficiency.py --data Task04_Hippocampus \
        --encoder encoder.safetensors --output results --budgets 4 16 0 --steps 600 --seeds 0 1 2

A budget of 0 means every training case.
"""

import argparse
import json
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from monai.data import CacheDataset

from volseg.data.pipelines import augmentation, preprocessing
from volseg.engines.loop import Loop
from volseg.engines.optimisation import Optimisation
from volseg.engines.schedules import Warmup
from volseg.engines.segment import KEY_METRIC, segmentation_evaluator, segmentation_trainer
from volseg.inference.sliding_window import SlidingWindow
from volseg.networks import residual
from volseg.networks.segmenter import Segmenter
from volseg.networks.weights import load_encoder

SPLIT = Path(__file__).parents[2] / "bundles/hippocampus_segmentation/configs/split.json"
PATCH = (40, 56, 40)
SPACING = (1.0, 1.0, 1.0)
NUM_CLASSES = 3


@dataclass(frozen=True)
class Arm:
    """One run: how many labelled cases, which seed, from which weights."""

    budget: int
    seed: int
    encoder: Path | None
    steps: int
    learning_rate: float

    @property
    def name(self) -> str:
        """Name the run, so that it is not done twice."""
        start = "pretrained" if self.encoder else "scratch"
        return f"{start}-n{self.budget}-s{self.seed}-{self.steps}-{self.learning_rate:g}"


def main() -> None:
    """Do the runs that are missing, then print the table."""
    options = parse()
    options.output.mkdir(parents=True, exist_ok=True)
    log = options.output / "runs.jsonl"
    torch.set_num_threads(options.threads)
    data = None
    for arm in list_arms(options):
        if arm.name in {run["name"] for run in read_runs(log)}:
            continue
        data = data or Data(options.data)
        run = do_run(arm, data)
        with log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(run) + "\n")
        print(json.dumps({k: v for k, v in run.items() if k != "dice"}), file=sys.stderr)
    print(table(read_runs(log)))


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--encoder", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--arms", nargs="+", default=["scratch", "pretrained"])
    parser.add_argument("--budgets", type=int, nargs="+", default=[4, 16, 0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--learning-rate", type=float, default=4e-3)
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


def list_arms(options: argparse.Namespace) -> list[Arm]:
    """Pair every budget and seed with every start."""
    return [
        Arm(budget, seed, encoder, options.steps, options.learning_rate)
        for budget in options.budgets
        for seed in options.seeds
        for encoder in [{"scratch": None, "pretrained": options.encoder}[a] for a in options.arms]
    ]


class Data:
    """The cases of the bundle's split, preprocessed once."""

    def __init__(self, source: Path) -> None:
        """Read the split and cache the training cases."""
        split = json.loads(SPLIT.read_text(encoding="utf-8"))
        self.names = split["validation"]
        self.training, self.validation = (
            CacheDataset(
                [
                    {
                        "image": str(source / "imagesTr" / f"{name}.nii.gz"),
                        "label": str(source / "labelsTr" / f"{name}.nii.gz"),
                    }
                    for name in split[part]
                ],
                preprocessing(("image", "label"), SPACING),
                progress=False,
            )
            for part in ("training", "validation")
        )


def do_run(arm: Arm, data: Data) -> dict:
    """Fine-tune on a subset and score the last weights."""
    started = time.perf_counter()
    torch.manual_seed(arm.seed)
    network = Segmenter(residual.small(1), NUM_CLASSES)
    if arm.encoder:
        load_encoder(network, arm.encoder)
    order = np.random.default_rng(arm.seed).permutation(len(data.training))
    chosen = [data.training[int(i)] for i in order[: arm.budget or None]]
    with tempfile.TemporaryDirectory() as folder:
        segmentation_trainer(
            network,
            chosen,
            augmentation(PATCH),
            1,
            Optimisation(arm.learning_rate, 0.03, Warmup(), clip_norm=1.0, precision="bf16"),
            Loop(
                folder, "cpu", batch_size=2, epoch_length=arm.steps, seed=arm.seed, progress=False
            ),
        ).run()
    scores = score(network, data)
    return {
        "name": arm.name,
        "arm": "pretrained" if arm.encoder else "scratch",
        "budget": len(chosen),
        "seed": arm.seed,
        "steps": arm.steps,
        "learning_rate": arm.learning_rate,
        "seconds": round(time.perf_counter() - started),
        "mean": np.mean(list(scores.values()), axis=0).round(4).tolist(),
        "dice": scores,
    }


def score(network: Segmenter, data: Data) -> dict[str, list[float]]:
    """Give the Dice of each class, case by case."""
    evaluator = segmentation_evaluator(
        network, data.validation, SlidingWindow(PATCH), NUM_CLASSES, "cpu", "bf16"
    )
    evaluator.run()
    details = evaluator.state.metric_details[KEY_METRIC].tolist()
    return dict(zip(data.names, details, strict=True))


def read_runs(log: Path) -> list[dict]:
    """Read the finished runs."""
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def table(runs: list[dict]) -> str:
    """Lay out the mean over seeds of each arm, and the paired difference with its interval."""
    lines = ["cases  steps  class      scratch          pretrained       difference [95 %]"]
    for budget, steps in sorted({(run["budget"], run["steps"]) for run in runs}):
        here = [run for run in runs if (run["budget"], run["steps"]) == (budget, steps)]
        for index, name in enumerate(("anterior", "posterior")):
            arms = {arm: by_seed(here, arm, index) for arm in ("scratch", "pretrained")}
            seeds = sorted(set(arms["scratch"]) & set(arms["pretrained"]))
            if not seeds:
                continue
            cells = [spread([arms[a][s] for s in seeds]) for a in ("scratch", "pretrained")]
            difference = np.array([arms["pretrained"][s] - arms["scratch"][s] for s in seeds])
            low, high = interval(difference)
            lines.append(
                f"{budget:5d}  {steps:5d}  {name:9s}  {cells[0]:15s}  {cells[1]:15s}"
                f"  {difference.mean():+.4f} [{low:+.4f}, {high:+.4f}]  {len(seeds)} seeds"
            )
    return "\n".join(lines)


def by_seed(runs: list[dict], arm: str, index: int) -> dict[int, np.ndarray]:
    """Give the Dice of one class, case by case, of each seed."""
    return {
        run["seed"]: np.array([run["dice"][case][index] for case in sorted(run["dice"])])
        for run in runs
        if run["arm"] == arm
    }


def spread(scores: list[np.ndarray]) -> str:
    """Write the mean over seeds and their standard deviation."""
    means = [float(score.mean()) for score in scores]
    deviation = np.std(means, ddof=1) if len(means) > 1 else float("nan")
    return f"{np.mean(means):.4f} ± {deviation:.4f}"


def interval(difference: np.ndarray, draws: int = 4000) -> tuple[float, float]:
    """Resample seeds, then cases within them: the hierarchical bootstrap."""
    generator = np.random.default_rng(0)
    num_seeds, num_cases = difference.shape
    seeds = generator.integers(num_seeds, size=(draws, num_seeds))
    cases = generator.integers(num_cases, size=(draws, num_cases))
    means = [difference[np.ix_(s, c)].mean() for s, c in zip(seeds, cases, strict=True)]
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


if __name__ == "__main__":
    main()
