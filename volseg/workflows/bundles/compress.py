"""Compress a bundle: the same network in factors, with weights that come near the trained ones."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from volseg.bundle import Bundle, dump
from volseg.data.cases import Case
from volseg.engines.card import card_of_config
from volseg.errors import BundleError, DataError, WeightsError
from volseg.evaluation.report import ALL_CLASSES
from volseg.networks.card import Card
from volseg.networks.classifier import Classifier
from volseg.networks.config import build
from volseg.networks.factorized.cp import CP
from volseg.networks.factorized.method import Factorization
from volseg.networks.factorized.tensor_train import TensorTrain
from volseg.networks.factorized.tucker import Tucker
from volseg.networks.narrow import count_parameters, narrow
from volseg.networks.opening import read_card
from volseg.networks.segmenter import Segmenter
from volseg.networks.storage import write_atomically
from volseg.networks.tensorized import Decomposition, decompose
from volseg.networks.weights import (
    load_segmenter,
    save_state_dict,
    save_weights,
    segmenter_parts,
)
from volseg.workflows.bundles.measuring import Measured, score_cases, time_patch, unseen_cases

FIGURES, PAGE = "compression.json", "compression.html"

BUILDERS: Mapping[str, tuple[str, type[Factorization]]] = {
    "cp": ("volseg.networks.tensorized.cp", CP),
    "tucker": ("volseg.networks.tensorized.tucker", Tucker),
    "tt": ("volseg.networks.tensorized.tensor_train", TensorTrain),
}
"""Builder and method of each name that the command line takes."""


@dataclass(frozen=True)
class CompressedBundle:
    """A bundle that was compressed.

    Args:
        source: Folder of the bundle that it was made of.
        bundle: The compressed bundle.
        method: ``cp``, ``tucker`` or ``tt``.
        budget: Largest number of parameters that was asked for, as a fraction.
        decomposition: What became of each layer.
        narrow: Config of a narrow dense network of equal size; `None`: none is known.
        narrow_parameters: Its parameters.
        dense: What was measured of the network before.
        compressed: The same of the compressed one.
        cases: Names of the cases on which Dice was measured.
    """

    source: Path
    bundle: Bundle
    method: str
    budget: float
    decomposition: Decomposition
    narrow: Mapping[str, Any] | None
    narrow_parameters: int
    dense: Measured
    compressed: Measured
    cases: Sequence[str] = ()

    @property
    def mean_error(self) -> float:
        """Mean distance of a factorised kernel from the trained one, as a fraction of its norm."""
        return float(np.mean(list(self.decomposition.errors.values())))

    def to_json(self) -> dict[str, Any]:
        """Give everything as plain values."""
        plan = self.decomposition.plan
        return {
            "source": str(self.source),
            "bundle": str(self.bundle.root),
            "method": self.method,
            "budget": self.budget,
            "parameters_before": plan.before,
            "parameters_after": plan.after,
            "mean_error": self.mean_error,
            "layers": {
                name: {"ranks": list(ranks), "error": self.decomposition.errors[name]}
                for name, ranks in plan.ranks.items()
            },
            "whole": dict(plan.whole),
            "narrow": None if self.narrow is None else dict(self.narrow),
            "narrow_parameters": self.narrow_parameters,
            "measured": {"dense": self.dense.to_json(), "compressed": self.compressed.to_json()},
            "cases": list(self.cases),
        }

    def __str__(self) -> str:
        """Say what was done, and what to do next."""
        root = self.bundle.root
        return (
            f"wrote {root} and {Path('docs') / PAGE} in it\n{self.said()}\n{self.measured()}\n"
            "it segments as it is, and better after a short fine-tune:\n"
            f"  volseg finetune --bundle {root} --encoder {root}/models/model.safetensors"
            " --schedule warmup --data DATA --output RUN\n"
            f"hold it against a narrow dense network of equal size:\n  {self.narrow_command()}"
        )

    def said(self) -> str:
        """Give the figures in words."""
        plan = self.decomposition.plan
        return (
            f"{self.method}: {plan.after} of {plan.before} parameters"
            f" ({plan.after / plan.before:.1%}); {len(plan.ranks)} layers in factors, whose kernels"
            f" are off by {self.mean_error:.0%} of their norm on average, {len(plan.whole)} whole"
        )

    def measured(self) -> str:
        """Give speed and Dice in words."""
        said = f"a patch takes {self.compressed.seconds:.3g} CPU seconds,"
        said += f" of the dense network {self.dense.seconds:.3g}"
        if not self.cases:
            return f"{said}; Dice was not measured, give labelled cases with --data"
        new, old = (each.dice[ALL_CLASSES].text() for each in (self.compressed, self.dense))
        return f"{said}; Dice {new}, of the dense network {old}, {len(self.cases)} cases"

    def narrow_command(self) -> str:
        """Give the command that trains the narrow network, or say why there is none."""
        if self.narrow is None:
            return "(none is known: the encoder's config does not state its widths)"
        value = json.dumps(self.narrow)
        return (
            f"volseg finetune --bundle {self.source} --set network_def='{value}' --data DATA"
            f" --output NARROW   # {self.narrow_parameters} parameters"
        )


def compress_bundle(
    bundle: str | Path | Bundle,
    output: str | Path,
    method: str = "tucker",
    budget: float = 0.3,
    *,
    data: str | Path | None = None,
    most: int | None = None,
    overwrite: bool = False,
) -> CompressedBundle:
    """Decompose a bundle's trained network, and write a bundle with the compressed one.

    Args:
        bundle: A bundle with weights that segments or classifies.
        output: Folder of the new bundle.
        method: ``cp``, ``tucker`` or ``tt``.
        budget: Largest number of parameters, as a fraction of the network's.
        data: Labelled cases on which both networks are scored, those that the bundle's split has
            for validation if it is of these data; `None`: Dice is not measured.
        most: How many of them at most; `None`: all.
        overwrite: Whether to replace a bundle that is there.

    Returns:
        What was done.

    Raises:
        BundleError: If the method is unknown, or the bundle's network cannot be compressed.
        DataError: If the output is there already.
    """
    if method not in BUILDERS:
        raise BundleError(f"method is {method!r}; use one of {', '.join(BUILDERS)}")
    found, folder = Bundle.find(bundle), Path(output)
    if folder.resolve() == found.root or (folder.exists() and not overwrite):
        raise DataError(f"{folder} is there already; choose another folder, or add --overwrite")
    dense = _dense_config(found)
    network = _trained_network(found)
    cases = _cases(found, network, data, most)
    card = _card(found)
    scores = score_cases(found, cases) if cases else {}
    before = Measured(count_parameters(network), time_patch(network, card), scores)
    builder, kind = BUILDERS[method]
    made = decompose(network, kind(), budget)
    config = {"_target_": builder, "network": dense, "budget": budget}
    card = dataclasses.replace(card, network=config)
    target = found.copy_to(folder, {"network_def": config})
    save_weights(folder / "models" / "model.safetensors", segmenter_parts(network), card)
    save_state_dict(folder / "models" / "model.pt", network)
    scores = score_cases(target, cases) if cases else {}
    after = Measured(made.plan.after, time_patch(network, card), scores)
    names = [case.name for case in cases]
    twin = _narrow(dense, made.plan.after)
    result = CompressedBundle(found.root, target, method, budget, made, *twin, before, after, names)
    _describe(result)
    return result


def _cases(
    bundle: Bundle, network: nn.Module, data: str | Path | None, most: int | None
) -> list[Case]:
    """Find the cases to be scored, before anything is written."""
    if data is None:
        return []
    if not isinstance(network, Segmenter):
        raise BundleError(
            f"bundle {bundle.name} has a {type(network).__name__}, which has no Dice; leave out"
            " the data"
        )
    return unseen_cases(bundle, data, most)


def _dense_config(bundle: Bundle) -> Mapping[str, Any]:
    """Read what network a bundle has, and refuse one that is compressed."""
    config = bundle.raw_config("train").get("network_def")
    if not isinstance(config, Mapping):
        raise BundleError(f"bundle {bundle.name} has no network_def that could be compressed")
    if str(config.get("_target_")).startswith("volseg.networks.tensorized."):
        raise BundleError(
            f"bundle {bundle.name} is compressed already; compress the bundle it was made of"
        )
    return config


def _trained_network(bundle: Bundle) -> Segmenter | Classifier:
    """Build a bundle's dense network with its weights."""
    weights = bundle.weights()
    network = bundle.config("inference").get_parsed_content("network_def")
    if not isinstance(network, Segmenter | Classifier):
        raise BundleError(
            f"bundle {bundle.name} has a {type(network).__name__}; only volseg's Segmenter and"
            " Classifier can be compressed"
        )
    load_segmenter(network, weights)
    return network


def _card(bundle: Bundle) -> Card:
    """Take over the card of the dense weights, or what the configuration says."""
    path = bundle.weights()
    if path.suffix == ".safetensors":
        return read_card(path)
    facts = card_of_config(bundle.root / "configs" / "train.json")
    return Card(**{**facts, "channels": tuple(facts["channels"])})


def _narrow(dense: Mapping[str, Any], most: int) -> tuple[dict[str, Any] | None, int]:
    """Find the narrow dense network, if there is one, and count its parameters."""
    try:
        twin = narrow(dense, most)
    except WeightsError:
        return None, 0
    with torch.device("meta"):
        return twin, count_parameters(build(twin))


def _describe(result: CompressedBundle) -> None:
    """Say in the bundle's README and metadata what was done to it."""
    root = result.bundle.root
    note = (
        f"## Compression\n\nMade by `volseg bundle compress` from the bundle"
        f" `{result.source.name}`: {result.said()}. What stands below, its figures too, is of the"
        " dense network it was made of. The layers and their errors are in"
        f" `docs/{FIGURES}`, with charts in `docs/{PAGE}`.\n\n"
        "Of equal size, to be trained beside it:\n\n"
        f"```console\n{_portable(result)}\n```\n\n"
    )
    path = root / "docs" / "README.md"
    title, _, rest = path.read_text(encoding="utf-8").partition("\n\n")
    write_atomically(path, f"{title}\n\n{note}{rest}".encode())
    plain = {**result.to_json(), "source": result.source.name, "bundle": root.name}
    text = json.dumps(plain, indent=2, ensure_ascii=False) + "\n"
    write_atomically(root / "docs" / FIGURES, text.encode())
    _write_page(result, plain)
    metadata = result.bundle.metadata
    metadata["description"] = f"{metadata.get('description', '')} Compressed: {result.said()}."
    write_atomically(root / "configs" / "metadata.json", dump(metadata).encode())


def _portable(result: CompressedBundle) -> str:
    """Give the narrow network's command without a path of this machine."""
    return result.narrow_command().replace(str(result.source), result.source.name)


def _write_page(result: CompressedBundle, figures: Mapping[str, Any]) -> None:
    from volseg.workflows.bundles.compress_report import write_report

    write_report(result.bundle.root / "docs" / PAGE, figures)
