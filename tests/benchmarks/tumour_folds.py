r"""Cross-validation of a tumour bundle: from scratch, and from a pretrained encoder.

Case number k of the sorted names validates in fold k modulo the number of folds. The encoder of a
fold is pretrained by masked-volume prediction on the training images of that fold, or given with
``--encoder``; one that has seen validation images is refused. Both arms have the same schedule,
steps and seeds. The last weights are scored, case by case, on each case's own grid, through the
same code as ``volseg segment``; nothing is selected. Finished runs are kept and skipped when the
command is run again, so that it may be done in parts.

    python -m tests.benchmarks.tumour_folds --data Dataset901_SarcomaMR --output results
    python -m tests.benchmarks.tumour_folds --data Dataset902_GliomaBraTS2013 --output results \
        --bundle brain_tumor_segmentation --preset brats2013 --folds 3 \
        --set 'spacing=[2,2,2]' --set 'patch_size=[64,64,64]' --set max_epochs=20

Tumours that were simulated are judged in the same way: the third arm is the network without one
labelled case, and ``pretrained`` goes on from it.

    python -m tests.benchmarks.tumour_data --output heads
    volseg finetune --bundle brain_tumor_segmentation --data heads/heads.csv \
        --split heads/split.json --preset simulated --output simulated
    python -m tests.benchmarks.tumour_folds --data Dataset902_GliomaBraTS2013 --output results \
        --bundle brain_tumor_segmentation --preset brats2013 --folds 3 \
        --encoder simulated/models/model.safetensors --arms scratch pretrained alone

Masses that ``tests.benchmarks.mass_data`` simulated beside real tumours are a fourth arm,
``simulated``: from scratch, with the copies of the training cases among them.

``folds.json`` and ``folds.md`` in the output folder hold the Dice of each case and its spread.
"""

import argparse
import json
import platform
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.benchmarks.tumour_tables import ALONE, ARMS, summarise, table
from volseg import __version__
from volseg.bundle import Bundle
from volseg.cli.options import parse_override
from volseg.data.cases import Case, find_cases
from volseg.data.reading import source_of
from volseg.data.splits import write_split
from volseg.evaluation.metrics import dice
from volseg.evaluation.pairs import read_labels
from volseg.evaluation.regions import Regions
from volseg.inference.predictor import Predictor
from volseg.presets import preset_overrides
from volseg.workflows.finetune import finetune
from volseg.workflows.pretrain import pretrain
from volseg.workflows.training import TrainingOptions

SIMULATED = "simulated"
"""From scratch, with copies of the training cases in which one more tumour was simulated."""

SHARED = ("channels", "spacing", "patch_size", "normalizer")
"""What the pretraining of a fold takes from the bundle."""


@dataclass(frozen=True)
class Study:
    """What is the same for every run."""

    options: argparse.Namespace
    bundle: Bundle
    values: dict[str, Any]
    config: dict[str, Any]
    cases: list[Case]

    @classmethod
    def of(cls, options: argparse.Namespace) -> "Study":
        """Find bundle and labelled cases."""
        bundle = Bundle.find(options.bundle)
        presets = preset_overrides(bundle.root, options.preset)
        values = {**presets, **dict(options.set)}
        config = bundle.raw_config("train", values)
        is_optional = config.get("optional_channels") is True
        found = find_cases(options.data, None, config["channels"], optional_channels=is_optional)
        cases = [case for case in found if case.label is not None]
        return cls(options, bundle, values, config, cases)

    def fold(self, number: int) -> dict[str, list[Case]]:
        """Divide the cases for a fold."""
        validation = self.cases[number :: self.options.folds]
        training = [case for case in self.cases if case not in validation]
        return {"training": training, "validation": validation}

    def copies(self, cases: list[Case]) -> list[Case]:
        """List the simulated copies of cases."""
        found = find_cases(self.options.simulated, None, self.config["channels"])
        names = {case.name for case in cases}
        return [case for case in found if case.group in names and case.name not in names]


def main(arguments: list[str] | None = None) -> None:
    """Do the runs that are missing, then write the table."""
    options = parse(arguments)
    torch.set_num_threads(options.threads)
    study, runs = Study.of(options), []
    for number in range(options.folds):
        for seed in options.seeds:
            for arm in options.arms:
                runs.append(run(study, number, seed, arm))
                write(study, runs)
    print((options.output / "folds.md").read_text())


def add_study(parser: argparse.ArgumentParser) -> None:
    """Add what says which study it is: bundle, cases, folds and seeds."""
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--bundle", default="soft_tissue_sarcoma_segmentation")
    parser.add_argument("--preset", action="append", default=[])
    parser.add_argument("--set", action="append", type=parse_override, default=[])
    parser.add_argument("--folds", type=int, default=4)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    add_study(parser)
    parser.add_argument("--pretrain-set", action="append", type=parse_override, default=[])
    parser.add_argument("--encoder", type=Path, help="of all folds; it must have seen none of them")
    parser.add_argument("--simulated", type=Path, help="cases.csv of mass_data")
    parser.add_argument("--arms", nargs="+", choices=(*ARMS, ALONE, SIMULATED), default=ARMS)
    args = parser.parse_args(arguments)
    if ALONE in args.arms and args.encoder is None:
        parser.error(f"the arm {ALONE!r} scores what --encoder gives, models/model.safetensors")
    if SIMULATED in args.arms and args.simulated is None:
        parser.error(f"the arm {SIMULATED!r} needs --simulated, from tests.benchmarks.mass_data")
    return args


def run(study: Study, number: int, seed: int, arm: str) -> dict[str, Any]:
    """Train one arm of one fold and score it, unless that was done already."""
    folder = study.options.output / f"fold{number}-seed{seed}"
    done = folder / f"{arm}.json"
    if done.is_file():
        return json.loads(done.read_text())
    parts, split = study.fold(number), folder / "split.json"
    data = study.options.simulated if arm == SIMULATED else study.options.data
    if arm == SIMULATED:
        split = folder / "simulated.json"
        parts["training"] += study.copies(parts["training"])
    write_split(split, parts)
    options = TrainingOptions(study.options.device, seed, overwrite=True, progress=False)
    started, used = time.perf_counter(), time.process_time()
    encoder = (
        encoder_of(study, folder, split, options) if arm not in {"scratch", SIMULATED} else None
    )
    values = {"val_interval": study.config["train"]["trainer"]["max_epochs"], **study.values}
    trained = encoder.parents[1] if arm == ALONE else folder / arm
    if arm != ALONE:
        finetune(
            data,
            trained,
            study.bundle.root,
            encoder=encoder,
            overrides=values,
            split=split,
            options=options,
        )
    result = {
        "fold": number,
        "seed": seed,
        "arm": arm,
        "dice": score(study, trained, parts["validation"]),
        "seconds": round(time.perf_counter() - started),
        "cpu_seconds": round(time.process_time() - used),
    }
    done.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result), file=sys.stderr)
    return result


def encoder_of(study: Study, folder: Path, split: Path, options: TrainingOptions) -> Path:
    """Pretrain an encoder on the training images of a fold."""
    if study.options.encoder is not None:
        return study.options.encoder
    values = {key: study.config[key] for key in SHARED}
    values["encoder"] = study.config["network_def"]["encoder"]
    output = folder / "pretraining"
    given = {**values, **dict(study.options.pretrain_set)}
    pretrain(study.options.data, output, overrides=given, split=split, options=options)
    return output / "models" / "encoder.safetensors"


def score(study: Study, trained: Path, cases: list[Case]) -> dict[str, dict[str, float | None]]:
    """Give the Dice of each class and region of each case, on its own grid."""
    predictor = Predictor.from_bundle(Bundle(trained), study.options.device)
    label_map = study.config.get("label_map", {})
    regions = Regions(
        study.config.get("regions", {}),
        {int(old): new for old, new in label_map.items()},
    )
    values = {name: [value] for value, name in predictor.classes.items() if value}
    scores = {}
    for case in cases:
        names = case.channels or ("",) * len(case.images)
        sources = [
            replace(source_of(path), channel=name)
            for path, name in zip(case.images, names, strict=True)
        ]
        found = predictor.predict(sources).labels
        truth = regions.read(read_labels(case.label)[0])
        scores[case.name] = {
            name: plain(dice(mask(found, own), mask(truth, own)))
            for name, own in {**values, **regions.values}.items()
        }
    return scores


def mask(labels: np.ndarray, values: list[int]) -> torch.Tensor:
    """Mark the voxels of some label values."""
    return torch.from_numpy(np.isin(labels, values))


def plain(value: float) -> float | None:
    """Give a number that JSON has; a class that neither map has is not scored."""
    return None if np.isnan(value) else round(value, 4)


def write(study: Study, runs: list[dict[str, Any]]) -> None:
    """Write what is known so far, as JSON and as a table."""
    output = study.options.output
    summary = summarise(runs)
    content = {
        "data": study.options.data.name,
        "bundle": study.bundle.name,
        "overrides": study.values,
        "pretraining": dict(study.options.pretrain_set),
        "cases": len(study.cases),
        "folds": study.options.folds,
        "volseg": __version__,
        "torch": torch.__version__,
        "machine": platform.processor() or platform.machine(),
        "summary": {
            name: {arm: vars(interval) for arm, interval in arms.items()}
            for name, arms in summary.items()
        },
        "runs": runs,
    }
    (output / "folds.json").write_text(json.dumps(content, indent=1) + "\n")
    (output / "folds.md").write_text(table(runs, summary))


if __name__ == "__main__":
    main()
