"""Are a bundle's weights plain tensors, and do they belong to its network and its card?"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser
from torch import Tensor, nn

from volseg.bundle import WEIGHTS, Bundle
from volseg.errors import BundleError, VolsegError, find_cause
from volseg.networks.card import Card
from volseg.networks.encoder import Encoder
from volseg.networks.opening import read_card
from volseg.networks.storage import read_metadata, read_state_dict, read_tensors
from volseg.networks.weights import Whole, load_encoder, load_segmenter
from volseg.trust import foreign_code
from volseg.workflows.bundles.files import PICKLES, judge_text
from volseg.workflows.bundles.finding import Contents, Finding, warning

FACTS = ("channels", "spacing", "patch_size", "normalizer")
"""What a card and a configuration both state."""


def judge_weights(bundle: Contents) -> Iterator[Finding]:
    """Judge what lies in ``models/``; nothing is unpickled.

    Args:
        bundle: The bundle.

    Yields:
        What is wrong.
    """
    folder = bundle.root / "models"
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    if not any((folder / name).is_file() for name in WEIGHTS):
        listed = (bundle.root / "large_files.yml").is_file()
        text = "holds no weights, only large_files.yml does" if listed else "holds no weights"
        yield warning("models", f"{text}; nothing can be segmented before it is trained")
    sound = True
    for path in files:
        for finding in _judge_file(path, path.relative_to(bundle.root).as_posix()):
            sound = sound and not finding.is_error
            yield finding
    if sound and files:
        yield from _judge_network(bundle)
        yield from _judge_twins(folder / "model.safetensors", folder / "model.pt")


def _judge_file(path: Path, name: str) -> Iterator[Finding]:
    if path.suffix == ".ts":
        yield warning(name, "is TorchScript, a program; volseg does not use it")
    elif path.suffix in PICKLES:
        yield Finding(name, "may hold a program; save a plain state dict as *.pt, or *.safetensors")
    elif path.name == "resume.pt":
        yield Finding(name, "is the state of a training, which MONAI Label would offer; remove it")
    elif path.suffix in (".pt", ".safetensors"):
        try:
            yield from _judge_tensors(path, name)
        except VolsegError as error:
            yield Finding(name, _without(str(error), path))


def _judge_tensors(path: Path, name: str) -> Iterator[Finding]:
    """Read all tensors, and what is written beside them."""
    tensors = read_state_dict(path) if path.suffix == ".pt" else read_tensors(path)
    lost = [key for key, tensor in tensors.items() if not torch.isfinite(tensor).all()]
    if lost:
        yield Finding(name, f"{lost[0]} is not finite (of {len(lost)} tensors); train it anew")
    if path.suffix == ".safetensors":
        for key, text in read_metadata(path)[0].items():
            yield from judge_text(f"{name} {key}", text)


def _judge_network(bundle: Contents) -> Iterator[Finding]:
    """Load the weights into the network, if it may be built."""
    config = bundle.configs.get("inference", {})
    try:
        path = Bundle(bundle.root).weights()
    except BundleError:
        return
    if not bundle.is_trusted and (code := foreign_code(config)):
        yield warning(
            f"models/{path.name}",
            f"was not compared with the network, since that would run code ({code[0]}); look at the"
            " code, and add --trust",
        )
        return
    try:
        network = _build(
            bundle.root, config, "encoder" if "encoder" in path.name else "network_def"
        )
        _load(network, path)
        card = read_card(path) if path.suffix == ".safetensors" else None
    except VolsegError as error:
        yield Finding(f"models/{path.name}", _without(str(error), path))
        return
    for problem in [] if card is None else _disagreements(card, config):
        yield Finding(f"models/{path.name}", problem)


def _build(root: Path, config: Mapping[str, Any], key: str) -> nn.Module:
    parser = ConfigParser({**config, "bundle_root": str(root)})
    if key not in parser:
        raise BundleError(f"inference.json has no {key}")
    try:
        network = parser.get_parsed_content(key)
    except Exception as error:  # whatever a constructor raises
        cause = find_cause(error)
        raise BundleError(f"{key} cannot be built: {' '.join(str(cause).split())}") from error
    if not isinstance(network, nn.Module):
        raise BundleError(f"{key} is a {type(network).__name__} and no network")
    return network


def _load(network: nn.Module, path: Path) -> None:
    if isinstance(network, Encoder):
        load_encoder(network, path)
    elif isinstance(network, Whole):
        load_segmenter(network, path)
    else:
        _compare(network.state_dict(), read_state_dict(path))


def _compare(own: Mapping[str, Tensor], stored: Mapping[str, Tensor]) -> None:
    """Refuse tensors that are not the network's."""
    lacking, left = sorted(own.keys() - stored.keys()), sorted(stored.keys() - own.keys())
    if lacking or left:
        example = (lacking or left)[0]
        raise BundleError(
            f"the network has {len(lacking)} tensors that the file lacks, and the file has"
            f" {len(left)} that the network lacks, such as {example}"
        )
    for name, tensor in own.items():
        if tensor.shape != stored[name].shape:
            sizes = f"{tuple(stored[name].shape)} in the file and {tuple(tensor.shape)}"
            raise BundleError(f"{name} is {sizes} in the network")


def _disagreements(card: Card, config: Mapping[str, Any]) -> list[str]:
    """List the facts of which card and configuration say something else."""
    said = card.to_dict()
    problems = [
        f"{key} is {said[key]} on the card and {config[key]} in inference.json"
        for key in FACTS
        if key in config and said.get(key) not in (None, {}, config[key])
    ]
    network = config.get("network_def")
    if "_target_" in said["network"] and said["network"] != network:
        problems.append("the network on the card is not network_def of inference.json")
    return problems


def _judge_twins(with_card: Path, plain: Path) -> Iterator[Finding]:
    if not (with_card.is_file() and plain.is_file()):
        return
    tensors, others = read_tensors(with_card), read_state_dict(plain)
    is_equal = tensors.keys() == others.keys() and all(
        torch.equal(tensor, others[name]) for name, tensor in tensors.items()
    )
    if not is_equal:
        yield Finding("models", f"{with_card.name} and {plain.name} hold different weights")


def _without(text: str, path: Path) -> str:
    """Leave out the file's path, which stands before the message already."""
    return text.removeprefix(f"{path} ")
