"""What compression does to the shipped hippocampus network: size, speed, memory and Dice.

    python -m tests.benchmarks.compression Task04_Hippocampus --steps 20 --cases 12

Each method decomposes the trained weights at each budget and is scored before and after a
fine-tune of ``--steps`` steps on the training cases of the bundle. Beside each budget stands a
narrow dense network of equal size, trained from scratch for ``--narrow-steps`` steps (default: as
many). Scores are those of the first ``--cases`` validation cases, on their own grid. Seconds are
CPU seconds a volume, memory is what the activations of one patch hold at most while the network
runs. Rows are printed as they are done.
"""

import argparse
import copy
import json
import tempfile
import weakref
from collections import Counter
from pathlib import Path
from time import process_time

import nibabel as nib
import numpy as np
import torch
from monai.data import CacheDataset
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from tests.benchmarks.precision import dice
from volseg.bundle import Bundle
from volseg.data.pipelines import augmentation, preprocessing
from volseg.engines.loop import Loop
from volseg.engines.optimisation import Optimisation
from volseg.engines.schedules import Warmup
from volseg.engines.segment import segmentation_trainer
from volseg.inference.predictor import Predictor
from volseg.networks.config import build
from volseg.networks.narrow import count_parameters, narrow
from volseg.networks.tensorized import decompose
from volseg.workflows.bundles.compress import BUILDERS

PATCH = (40, 56, 40)
SPACING = (1.0, 1.0, 1.0)


class Held(TorchDispatchMode):
    """Adds up the bytes of the tensors that are alive, and remembers the most."""

    def __init__(self) -> None:
        """Begin with nothing."""
        super().__init__()
        self.now = self.most = 0
        self.users: Counter[int] = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        """Count what an operation makes."""
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, (list, tuple)) else [out]:
            if isinstance(tensor, torch.Tensor):
                self.hold(tensor)
        return out

    def hold(self, tensor: torch.Tensor) -> None:
        """Count a tensor's memory until nothing uses it; views use what they look at."""
        storage = tensor.untyped_storage()
        place, size = storage.data_ptr(), storage.nbytes()
        if not self.users[place]:
            self.now += size
            self.most = max(self.most, self.now)
        self.users[place] += 1
        weakref.finalize(tensor, self.drop, place, size)

    def drop(self, place: int, size: int) -> None:
        """Forget a tensor."""
        self.users[place] -= 1
        if not self.users[place]:
            self.now -= size


class Trial:
    """The bundle, its cases, and what is measured of a network."""

    def __init__(self, data: Path, cases: int, steps: int) -> None:
        """Read the split; of the training cases as many as the steps can use."""
        self.bundle = Bundle.find("hippocampus_segmentation")
        self.split = json.loads((self.bundle.root / "configs" / "split.json").read_text())
        self.data, self.names = data, self.split["validation"][:cases]
        self.steps = steps
        self.predictor = Predictor.from_bundle(self.bundle, "cpu")
        self.dense = copy.deepcopy(self.predictor.network)
        self.cases = [self.predictor.load(data / "imagesTr" / f"{n}.nii.gz") for n in self.names]
        self.training: CacheDataset | None = None

    def score(self, network: nn.Module) -> dict[str, float]:
        """Segment the validation cases and measure."""
        self.predictor.engine.network = network.eval()
        scores, seconds = [], 0.0
        for name, case in zip(self.names, self.cases, strict=True):
            truth = np.asarray(nib.load(self.data / "labelsTr" / f"{name}.nii.gz").dataobj)
            begin = process_time()
            labels = self.predictor.infer(case).labels
            seconds += process_time() - begin
            scores.append([dice(labels, truth, value) for value in (1, 2)])
        anterior, posterior = np.mean(scores, axis=0)
        patch = torch.zeros(1, 1, *PATCH)
        with torch.no_grad(), FlopCounterMode(display=False) as work:
            network(patch)
        with torch.no_grad(), Held() as held:
            network(patch)
        return {
            "parameters": count_parameters(network),
            "gflop": work.get_total_flops() / 1e9,
            "seconds": seconds / len(self.names),
            "mib": held.most / 2**20,
            "anterior": float(anterior),
            "posterior": float(posterior),
        }

    def train(self, network: nn.Module, steps: int, rate: float) -> None:
        """Train for some steps, the same cases in the same order for every network."""
        if self.training is None:
            self.training = CacheDataset(
                [
                    {
                        "image": str(self.data / "imagesTr" / f"{name}.nii.gz"),
                        "label": str(self.data / "labelsTr" / f"{name}.nii.gz"),
                    }
                    for name in self.split["training"][: 2 * self.steps]
                ],
                preprocessing(("image", "label"), SPACING),
                progress=False,
            )
        with tempfile.TemporaryDirectory() as folder:
            segmentation_trainer(
                network.train(),
                self.training,
                augmentation(PATCH),
                1,
                Optimisation(rate, 0.03, Warmup(), clip_norm=1.0, precision="fp32"),
                Loop(folder, "cpu", batch_size=2, epoch_length=steps, seed=0, progress=False),
            ).run()


def main() -> None:
    """Print a row for each network."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--narrow-steps", type=int, help="default: as many as --steps")
    parser.add_argument("--cases", type=int, help="how many; default: all")
    parser.add_argument("--budgets", type=float, nargs="+", default=[0.3, 0.1])
    parser.add_argument("--methods", nargs="*", choices=list(BUILDERS), default=list(BUILDERS))
    parser.add_argument("--learning-rate", type=float, default=1e-3, help="of the fine-tune")
    args = parser.parse_args()
    torch.manual_seed(0)
    narrow_steps = args.steps if args.narrow_steps is None else args.narrow_steps
    trial = Trial(args.data, args.cases, max(args.steps, narrow_steps))
    show("dense", trial.score(trial.dense))
    config = trial.bundle.raw_config("train")["network_def"]
    for budget in args.budgets:
        for method in args.methods:
            network = copy.deepcopy(trial.dense)
            begin = process_time()
            decompose(network, BUILDERS[method][1](), budget)
            print(f"  decomposed in {process_time() - begin:.0f} CPU seconds", flush=True)
            show(f"{method} {budget:g}", trial.score(network))
            if args.steps:
                trial.train(network, args.steps, args.learning_rate)
                show(f"{method} {budget:g} after {args.steps} steps", trial.score(network))
        thin = build(narrow(config, int(budget * count_parameters(trial.dense))))
        if narrow_steps:
            trial.train(thin, narrow_steps, 4e-3)
        show(f"narrow {budget:g}, {narrow_steps} steps from scratch", trial.score(thin))


def show(name: str, row: dict[str, float]) -> None:
    """Print a row of the table."""
    print(
        f"{name:38} {row['parameters']:8d} parameters {row['gflop']:6.2f} GFLOP"
        f" {row['seconds']:5.2f} s {row['mib']:5.0f} MiB Dice {row['anterior']:.3f} and"
        f" {row['posterior']:.3f}",
        flush=True,
    )


if __name__ == "__main__":
    main()
