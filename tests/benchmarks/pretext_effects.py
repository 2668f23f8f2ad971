r"""What each pretext task does for few labels, in an experiment that a laptop can do.

Hippocampus volumes at half resolution, 16 x 24 x 16 voxels, and a residual network of three levels.
Every arm pretrains on the same unlabelled cases for the same steps, and hands over its encoder, and
its decoder if it trained one. Then the same labelled cases, drawn by the seed, teach it for the
same steps as an arm from scratch, and the last weights are scored on cases of other people. The
autoencoder is the control: what it gains comes from pretraining as such. ``longer`` is the scratch
arm with the steps of both stages. Finished runs are kept in the output file and skipped.

    python tests/benchmarks/pretext_effects.py --data Task04_Hippocampus --output effects.jsonl \
        --tasks scratch autoencoder pseudo_mask --seeds 0 1 2 3

An effect is shown if the interval of the paired differences to scratch, over seeds and cases,
excludes 0, from four seeds on; the table says "not shown" otherwise.

``--tasks anomaly`` and ``--tasks rotation_split`` do the experiments of the autoencoder with a
partner and of the rotation task, which are not about segmentation.
"""

import argparse
import csv
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import default_collate

from tests.benchmarks.label_efficiency import interval
from volseg.networks.decoder import ConvolutionalDecoder
from volseg.networks.residual import ResidualEncoder
from volseg.networks.segmenter import Segmenter
from volseg.networks.vit import ViTEncoder
from volseg.pretext.autoencoder import Autoencoder
from volseg.pretext.combined import Combined
from volseg.pretext.contrastive import Contrastive
from volseg.pretext.cross_architecture import CrossArchitecture
from volseg.pretext.masked import MaskedReconstruction
from volseg.pretext.max_tree import ComponentTreeRegression
from volseg.pretext.partners import ConvolutionalPartner, TransformerPartner
from volseg.pretext.pseudo_mask import PseudoMaskSegmentation
from volseg.pretext.restoration import Restoration
from volseg.pretext.rotation import RotationDecoupling, turn_copies
from volseg.pretext.self_distillation import SelfDistillation
from volseg.pretext.task import PretextTask
from volseg.pretext.volume_fusion import VolumeFusion
from volseg.pretext.voxels import balanced_losses
from volseg.transforms.intensity import normalize_foreground

PARTNERS = {
    "pixels": None,
    "convolutional": ConvolutionalPartner,
    "transformer": TransformerPartner,
}
SIZE = (16, 24, 16)
CUBE = (16, 16, 16)
TESTED, BATCH = 60, 8
RATE = 2e-3


def vit() -> ViTEncoder:
    """Build a small transformer for these crops."""
    return ViTEncoder(1, SIZE, 4, 48, 4, 4)


def combine(encoder: ResidualEncoder) -> Combined:
    """Combine the two tasks whose targets are computed."""
    tasks = {"masks": PseudoMaskSegmentation(encoder), "trees": ComponentTreeRegression(encoder)}
    return Combined(encoder, tasks)


TASKS: dict[str, Callable[[ResidualEncoder], PretextTask]] = {
    "autoencoder": Autoencoder,
    "masked": lambda e: MaskedReconstruction(e, 4, 0.6, ConvolutionalDecoder),
    "restoration": Restoration,
    "volume_fusion": VolumeFusion,
    "pseudo_mask": PseudoMaskSegmentation,
    "pseudo_mask_2": lambda e: PseudoMaskSegmentation(e, 2),
    "max_tree": ComponentTreeRegression,
    "combined": combine,
    "self_distillation": lambda e: SelfDistillation(e, 4, 0.6, prototypes=64, momentum=0.97),
    "contrastive": Contrastive,
    "cross_architecture": lambda e: CrossArchitecture(e, vit()),
    "rotation": RotationDecoupling,
}


def main() -> None:
    """Do the runs that are missing, then print the table."""
    options = parse()
    torch.set_num_threads(options.threads)
    done = read_runs(options.output)
    data = None
    for seed in options.seeds:
        for name in options.tasks:
            if (name, seed) in {(run["task"], run["seed"]) for run in done}:
                continue
            data = data or load(options.data)
            started = time.process_time()
            figures = EXPERIMENTS.get(name, transfer)(name, seed, data, options)
            run = {"task": name, "seed": seed, **figures}
            run["cpu_seconds"] = round(time.process_time() - started, 1)
            with options.output.open("a", encoding="utf-8") as file:
                file.write(json.dumps(run) + "\n")
            print({k: v for k, v in run.items() if k != "dice"}, file=sys.stderr, flush=True)
    print(table(read_runs(options.output)))


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--tasks", nargs="+", default=["scratch", "longer", *TASKS])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3])
    parser.add_argument("--labelled", type=int, default=4)
    parser.add_argument("--pretraining-steps", type=int, default=400)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--widths", type=int, nargs="+", default=[8, 16, 32])
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


def load(source: Path) -> tuple[Tensor, Tensor]:
    """Read all cases at half resolution; the last sixty are those of people of their own."""
    rows = list(csv.DictReader((source / "cases.csv").open(encoding="utf-8")))
    groups = sorted({row["subject group"] for row in rows})
    order = {g: i for i, g in enumerate(np.random.default_rng(0).permutation(groups).tolist())}
    names = [row["case"] for row in sorted(rows, key=lambda row: order[row["subject group"]])]
    images, labels = [], []
    for name in names:
        volume = nib.load(source / "imagesTr" / f"{name}.nii.gz").get_fdata(dtype=np.float32)
        label = nib.load(source / "labelsTr" / f"{name}.nii.gz").get_fdata().round().astype(int)
        image = normalize_foreground(torch.from_numpy(volume.copy()), 0.5, 99.5)[None, None]
        shares = functional.one_hot(torch.from_numpy(label), 3).movedim(-1, 0)[None].float()
        images.append(centre(functional.avg_pool3d(image, 2, ceil_mode=True)[0]))
        halved = functional.avg_pool3d(shares, 2, ceil_mode=True).argmax(dim=1)
        labels.append(centre(halved))
    return torch.stack(images), torch.stack(labels)


def centre(volume: Tensor) -> Tensor:
    """Crop or pad ``(C, X, Y, Z)`` to the size of this experiment, around the middle."""
    pads = []
    for length, wanted in zip(reversed(volume.shape[1:]), reversed(SIZE), strict=True):
        before = (wanted - length) // 2
        pads += [before, wanted - length - before]
    return functional.pad(volume, pads, value=float(volume.min()))


def pretrain(task: PretextTask, images: Tensor, seed: int, steps: int, size: tuple) -> PretextTask:
    """Train a task with AdamW on a cosine."""
    view = task.views(size)
    generator = np.random.default_rng(seed)
    optimizer = torch.optim.AdamW(task.parameters(), RATE)
    for step in range(steps):
        for options in optimizer.param_groups:
            options["lr"] = RATE * (1 + np.cos(np.pi * step / steps)) / 2
        chosen = generator.integers(len(images), size=BATCH)
        views = []
        for index in chosen:
            view.set_random_state(int(generator.integers(2**31)))
            views.append(view({"image": images[index]}))
        optimizer.zero_grad()
        task(default_collate(views)).loss.backward()
        nn.utils.clip_grad_norm_(task.parameters(), 1.0)
        optimizer.step()
        task.after_step(step + 1, steps)
    return task


def transfer(
    name: str, seed: int, data: tuple[Tensor, Tensor], options: argparse.Namespace
) -> dict:
    """Pretrain, fine-tune on a few cases, and score."""
    images, labels = data
    torch.manual_seed(seed)
    network = Segmenter(ResidualEncoder(1, tuple(options.widths)), 3, num_heads=1)
    steps = options.steps
    if name in TASKS:
        task = TASKS[name](network.encoder)
        size = CUBE if name == "rotation" else SIZE
        kept = pretrain(task, images[:-TESTED], seed, options.pretraining_steps, size).trained()
        if "decoder" in kept:
            network.decoder.load_state_dict(kept["decoder"].state_dict())
    elif name == "longer":
        steps += 2 * options.pretraining_steps  # batches of pretraining are twice as large
    order = np.random.default_rng(100 + seed).permutation(len(images) - TESTED)
    few = torch.from_numpy(order[: options.labelled].copy())
    finetune(network, images[few], labels[few], seed, steps)
    return {"dice": score(network, images[-TESTED:], labels[-TESTED:])}


def finetune(network: Segmenter, images: Tensor, labels: Tensor, seed: int, steps: int) -> None:
    """Train a segmenter with scaled and shifted intensities, without flips."""
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(network.parameters(), RATE)
    for step in range(steps):
        for options in optimizer.param_groups:
            options["lr"] = RATE * min(1, step / 20) * (1 + np.cos(np.pi * step / steps)) / 2
        chosen = torch.randint(len(images), (4,), generator=generator)
        change = 0.2 * torch.randn(2, 4, 1, 1, 1, 1, generator=generator)
        optimizer.zero_grad()
        logits = network(images[chosen] * (1 + change[0]) + change[1])
        target = labels[chosen]
        losses = balanced_losses(logits, target, target >= 0)
        (losses["dice"] + functional.cross_entropy(logits, target[:, 0])).backward()
        optimizer.step()


@torch.no_grad()
def score(network: Segmenter, images: Tensor, labels: Tensor) -> list[float]:
    """Give the mean Dice of both classes, case by case."""
    network.eval()
    said = network(images).argmax(dim=1)
    classes = []
    for value in (1, 2):
        own, true = said == value, labels[:, 0] == value
        overlap = 2 * (own & true).sum((1, 2, 3)) / (own.sum((1, 2, 3)) + true.sum((1, 2, 3)))
        classes.append(overlap)
    return torch.stack(classes).mean(dim=0).round(decimals=4).tolist()


def find_anomalies(
    name: str, seed: int, data: tuple[Tensor, Tensor], options: argparse.Namespace
) -> dict:
    """Compare pixels with features, and one kind of partner with the other, on inserted balls."""
    images = data[0]
    balls, truth = insert_balls(images[-TESTED:], seed)
    figures = {}
    for kind, partner in PARTNERS.items():
        torch.manual_seed(seed)
        task = Autoencoder(ResidualEncoder(1, tuple(options.widths)), partner=partner)
        pretrain(task, images[:-TESTED], seed, options.pretraining_steps, SIZE)
        found, normal = task.eval().anomaly(balls), task.anomaly(images[-TESTED:])
        figures[f"{kind}_voxel_ap"] = precision(found.flatten(), truth.flatten())
        tops = [top(maps) for maps in (normal, found)]
        wins = (tops[1][:, None] > tops[0]).float().mean()
        figures[f"{kind}_case_auroc"] = round(wins.item(), 3)
    return figures


def insert_balls(images: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """Put a bright ball of 2.5 voxels' radius into each volume, one deviation above it."""
    generator = np.random.default_rng(seed)
    grid = torch.stack(torch.meshgrid(*map(torch.arange, SIZE), indexing="ij"))
    truth = torch.zeros(images.shape, dtype=torch.bool)
    for case in range(len(images)):
        middle = torch.tensor([generator.integers(4, n - 4) for n in SIZE]).view(3, 1, 1, 1)
        truth[case, 0] = ((grid - middle) ** 2).sum(0) <= 2.5**2
    return torch.where(truth, images + 1.0, images), truth


def top(maps: Tensor) -> Tensor:
    """Average the highest hundredth of each map."""
    flat = maps.flatten(1)
    return flat.topk(max(1, flat.shape[1] // 100), dim=1).values.mean(dim=1)


def precision(scores: Tensor, truth: Tensor) -> float:
    """Compute the average precision."""
    hits = truth[scores.argsort(descending=True)].float()
    places = torch.arange(1, len(hits) + 1)
    return round(((hits.cumsum(0) / places) * hits).sum().item() / hits.sum().item(), 3)


def split_rotation(
    name: str, seed: int, data: tuple[Tensor, Tensor], options: argparse.Namespace
) -> dict:
    """Read the rotation from either half of the features, with a linear probe."""
    images = data[0][..., 4:20, :]
    torch.manual_seed(seed)
    figures = {}
    task = RotationDecoupling(ResidualEncoder(1, tuple(options.widths)))
    for stage in ("untrained", "trained"):
        if stage == "trained":
            pretrain(task, data[0][:-TESTED], seed, options.pretraining_steps, CUBE)
        numbers = torch.arange(10).expand(len(images), 10)
        with torch.no_grad():
            copies = turn_copies(images, numbers, task.turns).flatten(0, 1)
            rows = task.features(task.encoder.embed(copies)).view(len(images), 10, -1)
        for half, part in (("a", rows[..., : task.split]), ("b", rows[..., task.split :])):
            figures[f"{stage}_half_{half}"] = probe(part, numbers, seed)
    return figures


def probe(rows: Tensor, numbers: Tensor, seed: int) -> float:
    """Train a linear classifier on the training cases and score it on the others."""
    torch.manual_seed(seed)
    rows = (rows - rows[:-TESTED].mean((0, 1))) / (rows[:-TESTED].std((0, 1)) + 1e-6)
    layer = nn.Linear(rows.shape[-1], 10)
    optimizer = torch.optim.AdamW(layer.parameters(), 1e-2, weight_decay=1e-2)
    for _ in range(200):
        optimizer.zero_grad()
        answers = layer(rows[:-TESTED]).flatten(0, 1)
        functional.cross_entropy(answers, numbers[:-TESTED].flatten()).backward()
        optimizer.step()
    right = layer(rows[-TESTED:]).argmax(-1) == numbers[-TESTED:]
    return round(right.float().mean().item(), 3)


EXPERIMENTS = {"anomaly": find_anomalies, "rotation_split": split_rotation}


def read_runs(path: Path) -> list[dict]:
    """Read the finished runs."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def table(runs: list[dict]) -> str:
    """Lay out the Dice of each arm with the paired differences to scratch and to the control."""
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
    others = [{k: v for k, v in run.items() if k != "dice"} for run in runs if "dice" not in run]
    return "\n".join([*lines, *(json.dumps(run) for run in others)])


def difference(own: dict[int, np.ndarray], other: dict[int, np.ndarray]) -> str:
    """Write the mean paired difference, its interval, and whether it shows anything."""
    seeds = sorted(set(own) & set(other))
    if not seeds or own is other:
        return ""
    paired = np.array([own[seed] - other[seed] for seed in seeds])
    low, high = interval(paired)
    is_shown = len(seeds) >= 4 and (low > 0 or high < 0)
    said = "" if is_shown else ", not shown"
    return f"{paired.mean():+.3f} [{low:+.3f}, {high:+.3f}]{said}"


if __name__ == "__main__":
    main()
