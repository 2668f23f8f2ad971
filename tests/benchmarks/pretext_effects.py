r"""What each pretext task does for few labels, in an experiment that a laptop can do.

Hippocampus volumes at half resolution, 16 x 24 x 16 voxels, and small encoders: a residual network
of three levels (``cnn``), a transformer (``vit``) and one of shifted windows (``swin``). Every arm
pretrains on the same unlabelled cases for the same steps, and hands over its encoder, and its
decoder if it trained one of the same kind. Then the same labelled cases, drawn by the seed, teach
it for the same steps as an arm from scratch, and the last weights are scored on cases of other
people. The autoencoder is the control: what it gains comes from pretraining as such. ``longer`` is
the scratch arm with the steps of both stages. A task that does not take an encoder says so in the
table. Finished runs are kept in the output file and skipped.

    python tests/benchmarks/pretext_effects.py --data Task04_Hippocampus --output effects.jsonl \
        --tasks scratch autoencoder pseudo_mask --encoders cnn swin --labelled 4 16 --seeds 0 1 2 3

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
from collections.abc import Callable, Sequence
from copy import deepcopy
from itertools import product
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import default_collate

from tests.benchmarks.label_efficiency import interval
from volseg.errors import VolsegError
from volseg.networks.decoder import ConvolutionalDecoder
from volseg.networks.decoder_unetr import UnetrDecoder
from volseg.networks.encoder import Encoder
from volseg.networks.residual import ResidualEncoder
from volseg.networks.segmenter import Segmenter
from volseg.networks.swin import SwinEncoder
from volseg.networks.vit import ViTEncoder
from volseg.pretext.autoencoder import Autoencoder
from volseg.pretext.collapse import cosine_of_copies, share_within
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


def vit(mask_mode: str = "drop") -> ViTEncoder:
    """Build a small transformer for these crops."""
    return ViTEncoder(1, SIZE, 4, 48, 4, 4, mask_mode)


def cnn() -> ResidualEncoder:
    """Build a residual network of three levels."""
    return ResidualEncoder(1, (8, 16, 32))


def swin() -> SwinEncoder:
    """Build a small transformer of shifted windows."""
    return SwinEncoder(1, width=12, depths=(2, 2), heads=(2, 4), window=4)


ENCODERS: dict[str, Callable[[], Encoder]] = {"cnn": cnn, "vit": vit, "swin": swin}


def encoder_for(kind: str, name: str) -> Encoder:
    """Build the encoder that a task learns with: hidden tokens stay where they are distilled."""
    return vit("replace") if (kind, name) == ("vit", "self_distillation") else ENCODERS[kind]()


def combine(encoder: Encoder) -> Combined:
    """Combine the two tasks whose targets are computed."""
    kind = decoder_of(encoder)
    masks = PseudoMaskSegmentation(encoder, decoder=kind)
    return Combined(
        encoder, {"masks": masks, "trees": ComponentTreeRegression(encoder, decoder=kind)}
    )


def cross(encoder: Encoder) -> CrossArchitecture:
    """Learn together with a network of the other kind."""
    return CrossArchitecture(encoder, cnn() if isinstance(encoder, ViTEncoder) else vit())


def masked(encoder: Encoder) -> MaskedReconstruction:
    """Predict hidden voxels: as MAE with a transformer, else with the decoder that is kept."""
    decoder = None if isinstance(encoder, ViTEncoder) else ConvolutionalDecoder
    return MaskedReconstruction(encoder, 4, 0.6, decoder)


def decoder_of(encoder: Encoder) -> Callable:
    """Choose the decoder that goes with an encoder."""
    return UnetrDecoder if isinstance(encoder, ViTEncoder) else ConvolutionalDecoder


TASKS: dict[str, Callable[[Encoder], PretextTask]] = {
    "autoencoder": lambda e: Autoencoder(e, decoder_of(e)),
    "masked": masked,
    "restoration": lambda e: Restoration(e, decoder_of(e)),
    "volume_fusion": lambda e: VolumeFusion(e, decoder=decoder_of(e)),
    "pseudo_mask": lambda e: PseudoMaskSegmentation(e, decoder=decoder_of(e)),
    "pseudo_mask_2": lambda e: PseudoMaskSegmentation(e, 2, decoder_of(e)),
    "pseudo_mask_encoder": lambda e: PseudoMaskSegmentation(e, decoder=decoder_of(e)),
    "max_tree": lambda e: ComponentTreeRegression(e, decoder=decoder_of(e)),
    "combined": combine,
    "self_distillation": lambda e: SelfDistillation(e, 4, 0.6, prototypes=64, momentum=0.97),
    "contrastive": Contrastive,
    "cross_architecture": cross,
    "rotation": RotationDecoupling,
}
ENCODER_ALONE = ("pseudo_mask_encoder",)
"""Arms that leave the decoder that they trained behind: what does it add to hand it over?"""


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
        if name in EXPERIMENTS:
            runs = [EXPERIMENTS[name](kind, seed, data, options)]
        else:
            runs = transfer(name, kind, seed, data, options, missing)
        seconds = round(time.process_time() - started, 1)
        for budget, figures in zip(missing, runs, strict=True):
            run = {"task": name, "encoder": kind, "seed": seed, "labelled": budget, **figures}
            with options.output.open("a", encoding="utf-8") as file:
                file.write(json.dumps(run) + "\n")
            said = {key: value for key, value in run.items() if key != "dice"}
            print({**said, "cpu_seconds": seconds}, file=sys.stderr, flush=True)
    print(table(read_runs(options.output)))


def identify(run: dict) -> tuple:
    """Tell which run it is."""
    return tuple(run[key] for key in ("task", "encoder", "seed", "labelled"))


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--tasks", nargs="+", default=["scratch", "longer", *TASKS])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3])
    parser.add_argument("--encoders", nargs="+", choices=ENCODERS, default=["cnn"])
    parser.add_argument("--labelled", type=int, nargs="+", default=[4])
    parser.add_argument("--pretraining-steps", type=int, default=400)
    parser.add_argument("--steps", type=int, default=200)
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
    name: str,
    kind: str,
    seed: int,
    data: tuple[Tensor, Tensor],
    options: argparse.Namespace,
    budgets: Sequence[int],
) -> list[dict]:
    """Pretrain once, then fine-tune on so many cases each, and score."""
    images, labels = data
    torch.manual_seed(seed)
    encoder = encoder_for(kind, name)
    network = Segmenter(encoder, 3, decoder_of(encoder), num_heads=1)
    steps = options.steps
    if name in TASKS:
        size = CUBE if name == "rotation" else SIZE
        try:
            task = TASKS[name](network.encoder)
            kept = pretrain(task, images[:-TESTED], seed, options.pretraining_steps, size).trained()
        except VolsegError as error:
            return [{"refused": str(error)} for _ in budgets]
        is_handed = "decoder" in kept and name not in ENCODER_ALONE
        if is_handed and is_alike(kept["decoder"], network.decoder):
            network.decoder.load_state_dict(kept["decoder"].state_dict())
    elif name == "longer":
        steps += 2 * options.pretraining_steps  # batches of pretraining are twice as large
    order = np.random.default_rng(100 + seed).permutation(len(images) - TESTED)
    runs = []
    for budget in budgets:
        few, pupil = torch.from_numpy(order[:budget].copy()), deepcopy(network)
        finetune(pupil, images[few], labels[few], seed, steps)
        runs.append({"dice": score(pupil, images[-TESTED:], labels[-TESTED:])})
    return runs


def is_alike(one: nn.Module, other: nn.Module) -> bool:
    """Tell whether the weights of one module fit the other."""
    shapes = [{k: v.shape for k, v in each.state_dict().items()} for each in (one, other)]
    return shapes[0] == shapes[1]


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
    kind: str, seed: int, data: tuple[Tensor, Tensor], options: argparse.Namespace
) -> dict:
    """Compare pixels with features, and one kind of partner with the other, on inserted balls."""
    images = data[0]
    balls, truth = insert_balls(images[-TESTED:], seed)
    figures = {}
    for title, partner in PARTNERS.items():
        torch.manual_seed(seed)
        task = Autoencoder(ENCODERS[kind](), partner=partner)
        pretrain(task, images[:-TESTED], seed, options.pretraining_steps, SIZE)
        found, normal = task.eval().anomaly(balls), task.anomaly(images[-TESTED:])
        figures[f"{title}_voxel_ap"] = precision(found.flatten(), truth.flatten())
        tops = [top(maps) for maps in (normal, found)]
        wins = (tops[1][:, None] > tops[0]).float().mean()
        figures[f"{title}_case_auroc"] = round(wins.item(), 3)
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
    kind: str, seed: int, data: tuple[Tensor, Tensor], options: argparse.Namespace
) -> dict:
    """Read the rotation from either half of the features, and see how much it moves the half.

    A linear probe of standardised features finds any trace of the rotation, however small; how
    alike the copies of a volume are, and their share of the variance, tell how large it is.
    """
    images = data[0][..., 4:20, :]
    torch.manual_seed(seed)
    figures = {}
    task = RotationDecoupling(ENCODERS[kind]())
    for stage in ("untrained", "trained"):
        if stage == "trained":
            pretrain(task, data[0][:-TESTED], seed, options.pretraining_steps, CUBE)
        numbers = torch.arange(10).expand(len(images), 10)
        with torch.no_grad():
            copies = turn_copies(images, numbers, task.turns).flatten(0, 1)
            rows = task.features(task.encoder.embed(copies)).view(len(images), 10, -1)
        for half, part in (("a", rows[..., : task.split]), ("b", rows[..., task.split :])):
            figures[f"{stage}_half_{half}"] = probe(part, numbers, seed)
            alike, share = cosine_of_copies(part[-TESTED:]), share_within(part[-TESTED:])
            figures[f"{stage}_cosine_{half}"] = round(alike.item(), 3)
            figures[f"{stage}_share_{half}"] = round(share.item(), 3)
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
    lines = []
    heads = sorted({(run["encoder"], run["labelled"]) for run in runs if run["labelled"]})
    for kind, budget in heads:
        lines += ["", f"{kind}, {budget} labelled cases", ""]
        own = [run for run in runs if (run["encoder"], run["labelled"]) == (kind, budget)]
        lines += rows(own)
    others = [run for run in runs if run["labelled"] is None]
    return "\n".join([*lines, *(json.dumps(run) for run in others)])


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
    is_shown = len(seeds) >= 4 and (low > 0 or high < 0)
    said = "" if is_shown else ", not shown"
    return f"{paired.mean():+.3f} [{low:+.3f}, {high:+.3f}]{said}"


if __name__ == "__main__":
    main()
