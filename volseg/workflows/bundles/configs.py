"""Are a bundle's configurations complete, of one mind, and free of foreign code?"""

import re
from collections.abc import Iterator, Mapping
from configparser import Error, RawConfigParser
from pathlib import Path
from typing import Any

from monai.bundle import ReferenceResolver
from monai.bundle.properties import InferProperties, MetaProperties, TrainProperties
from monai.utils import BundleProperty, BundlePropertyConfig

from volseg.bundle import IDS, dump
from volseg.facts import contradictions
from volseg.overrides import flatten
from volseg.trust import foreign_code
from volseg.workflows.bundles.finding import Contents, Finding, warning

MOST_LINES = 60
"""A configuration states facts; one that is longer spells out a pipeline."""

PROPERTIES: Mapping[str, Any] = {
    "train": TrainProperties,
    "inference": InferProperties,
    "metadata": MetaProperties,
}
"""What MONAI's workflows look up, by configuration."""

TRAPS = {
    r"@_meta_": "MONAI Label reads no metadata with a configuration; state the value itself",
    r"@device\.type": "MONAI Label gives the device as text, which has no type; use"
    " torch.cuda.is_available()",
}  # fmt: skip
"""What works with MONAI alone and fails in MONAI Label."""

PLAIN = re.compile(r"[({](sys\.std(out|err)|[\w\s,'\":./-])*[)}]")

HARMLESS_LOG = {
    "class": re.compile(r"(logging\.)?(handlers\.)?\w+"),
    "args": PLAIN,
    "kwargs": PLAIN,
}
"""What ``logging.conf`` may hold; Python imports classes and evaluates arguments."""


def judge_configs(bundle: Contents) -> Iterator[Finding]:
    """Judge ``train.json`` and ``inference.json``, and whether all files agree.

    Args:
        bundle: The bundle.

    Yields:
        What is wrong.
    """
    for kind, properties in PROPERTIES.items():
        if kind in bundle.configs:
            yield from _judge_ids(kind, bundle.configs[kind], properties)
    for kind in ("train", "inference"):
        if kind in bundle.configs:
            yield from _judge_config(bundle, kind, bundle.configs[kind])
    for problem in contradictions(bundle.configs):
        yield Finding("configs", problem)
    for kind, config in bundle.others.items():
        for line in foreign_code(config):
            yield warning(f"configs/{kind}", f"runs code when it is used: {line}")
    yield from _judge_log(bundle.root / "configs" / "logging.conf")


def _judge_ids(
    kind: str, config: Mapping[str, Any], properties: Mapping[str, Mapping[str, Any]]
) -> Iterator[Finding]:
    """Look for the ids that MONAI and volseg need."""
    present, file = dict(flatten(config)), f"configs/{kind}.json"
    required = set()
    for name, entry in properties.items():
        key = str(entry[BundlePropertyConfig.ID]).removeprefix("_meta_::")
        if entry[BundleProperty.REQUIRED]:
            required.add(key)
            if key not in present:
                yield Finding(
                    file, f"has no {key}, which MONAI needs: {entry[BundleProperty.DESC]}"
                )
        else:
            yield from _judge_reference(file, name, entry, present)
    is_ours = any(str(value).startswith("volseg.") for value in present.values())
    for key in IDS.get(kind, ()):
        if key not in present and key not in required:
            yield Finding(file, f"has no {key}, which volseg looks up", is_error=is_ours)


def _judge_reference(
    file: str, name: str, entry: Mapping[str, Any], present: Mapping[str, Any]
) -> Iterator[Finding]:
    """See that an optional property is given as the text that MONAI looks for."""
    key, place = str(entry[BundlePropertyConfig.ID]), entry.get(BundlePropertyConfig.REF_ID)
    if place is None or place not in present or name in ("evaluator", "val_interval"):
        return
    value = present[place]
    if value is None or (isinstance(value, str) and value.startswith("$")):
        return
    if value != f"@{key}":
        shown = repr(value) if isinstance(value, str) else f"a {type(value).__name__}"
        yield Finding(file, f"{place} is {shown}; MONAI's check of bundles wants '@{key}' there")


def _judge_config(bundle: Contents, kind: str, config: Mapping[str, Any]) -> Iterator[Finding]:
    file = f"configs/{kind}.json"
    text = (bundle.root / file).read_text(encoding="utf-8")
    num_lines = len(text.splitlines())
    if num_lines > MOST_LINES and text != dump(config):  # volseg itself gives each value a line
        yield warning(file, f"has {num_lines} lines; over {MOST_LINES} it spells out a pipeline")
    for line in foreign_code(config):
        yield warning(file, f"runs code when it is used: {line}")
    present = dict(flatten(config))
    for key, value in present.items():
        if isinstance(value, str):
            yield from _judge_value(file, key, value, present)
    for pattern, advice in TRAPS.items():
        if bundle.segments and re.search(pattern, text):
            yield Finding(file, f"holds {pattern.replace(chr(92), '')}: {advice}")


def _judge_value(file: str, key: str, value: str, present: Mapping[str, Any]) -> Iterator[Finding]:
    """Look at one text for what leads nowhere, or is a trap."""
    for target in _references(value):
        if target not in present and not target.startswith(("_meta_", "::")):
            yield Finding(file, f"{key} refers to {target}, which is not there")
    if value.startswith("%"):
        yield warning(file, f"{key} copies {value}; a copy of transforms cannot be inverted")
    elif key.endswith("_target_") and value.rpartition(".")[2] == "Spacingd":
        text = "MONAI 1.6's Spacingd fails in MONAI Label; use volseg.data.spacing.IsolatedSpacingd"
        yield warning(file, f"{key} is {value}: {text}")


def _references(value: str) -> list[str]:
    """Name what a text refers to, as MONAI would read it."""
    if not value.startswith(("@", "$")):
        return []
    text = ReferenceResolver.normalize_id(value)
    found = ReferenceResolver.match_refs_pattern(text)
    return sorted(name for name in found if value[0] == "$" or f"@{name}" == text)


def _judge_log(path: Path) -> Iterator[Finding]:
    """Look for expressions, which Python's logging evaluates."""
    if not path.is_file():
        return
    parser = RawConfigParser()
    try:
        parser.read_string(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, Error) as error:
        said = " ".join(str(error).split())
        yield Finding("configs/logging.conf", f"cannot be read: {said}")
        return
    for section in parser.sections():
        for key, value in parser.items(section):
            if key in HARMLESS_LOG and not HARMLESS_LOG[key].fullmatch(value):
                text = f"runs code when it is used: {section}::{key} is {value}"
                yield warning("configs/logging.conf", text)
