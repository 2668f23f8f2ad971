"""Say in words what is wrong with a bundle: all of it, not only the first thing."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from volseg.bundle import Bundle
from volseg.workflows.bundles.configs import judge_configs
from volseg.workflows.bundles.files import judge_files
from volseg.workflows.bundles.finding import CheckReport, Contents, Finding
from volseg.workflows.bundles.large_files import judge_large_files
from volseg.workflows.bundles.metadata import judge_metadata
from volseg.workflows.bundles.weights import judge_weights

KINDS = ("metadata", "train", "inference")

JUDGES = (judge_files, judge_metadata, judge_configs, judge_large_files, judge_weights)


def check_bundle(bundle: str | Path | Bundle) -> CheckReport:
    """Look at a bundle's files, metadata, configurations and weights.

    Nothing of it is run, unless it is a bundle that is trusted: then its network is built even if
    that takes code of its own.

    Args:
        bundle: Its folder, the name of one that comes with volseg, or a bundle that was found.

    Returns:
        Every finding, errors first.
    """
    found = bundle if isinstance(bundle, Bundle) else _find(bundle)
    configs: dict[str, Any] = {}
    findings: list[Finding] = []
    for path in sorted((found.root / "configs").glob("*")):
        if path.suffix not in (".json", ".yaml", ".yml") or not path.is_file():
            continue
        value, problems = _read(path)
        findings += [Finding(f"configs/{path.name}", problem) for problem in problems]
        if value is not None:
            configs[path.name] = value
    own = {kind: configs.pop(f"{kind}.json") for kind in KINDS if f"{kind}.json" in configs}
    contents = Contents(found.root, own, found.is_trusted, configs)
    for judge in JUDGES:
        findings += judge(contents)
    unique = dict.fromkeys(findings)
    return CheckReport(found.root, tuple(sorted(unique, key=lambda finding: not finding.is_error)))


def _read(path: Path) -> tuple[Mapping[str, Any] | None, list[str]]:
    """Read a configuration, and say what is wrong with it as a text."""
    repeated: list[str] = []

    def make(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
        counts = Counter(key for key, _ in pairs)
        repeated.extend(key for key, count in counts.items() if count > 1)
        return dict(pairs)

    kind = "JSON" if path.suffix == ".json" else "YAML"
    try:
        text = path.read_text(encoding="utf-8")
        is_json = kind == "JSON"
        value = json.loads(text, object_pairs_hook=make) if is_json else yaml.safe_load(text)
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        return None, [f"cannot be read as {kind}: {' '.join(str(error).split())}"]
    problems = [f"holds {key!r} twice; only one of them counts" for key in repeated]
    if isinstance(value, dict):
        return value, problems
    is_needed = path.stem in KINDS and kind == "JSON"
    text = f"holds a {type(value).__name__}; it must be a {kind} object"
    return None, [*problems, *([text] if is_needed else [])]


def _find(name: str | Path) -> Bundle:
    """Find a bundle, or take a folder as one so that it can be said what it lacks."""
    return Bundle(Path(name).resolve()) if Path(name).is_dir() else Bundle.find(name)
