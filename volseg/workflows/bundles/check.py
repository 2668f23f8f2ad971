"""Say in words what is wrong with a bundle: all of it, not only the first thing."""

import json
from pathlib import Path
from typing import Any

from volseg.bundle import Bundle
from volseg.workflows.bundles.configs import judge_configs
from volseg.workflows.bundles.files import judge_files
from volseg.workflows.bundles.finding import CheckReport, Contents, Finding
from volseg.workflows.bundles.metadata import judge_metadata
from volseg.workflows.bundles.weights import judge_weights

KINDS = ("metadata", "train", "inference")


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
    for kind in KINDS:
        path = found.root / "configs" / f"{kind}.json"
        if not path.is_file():
            continue
        try:
            value = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            findings.append(Finding(f"configs/{kind}.json", f"cannot be read as JSON: {error}"))
            continue
        if isinstance(value, dict):
            configs[kind] = value
        else:
            text = f"holds a {type(value).__name__}; it must be a JSON object"
            findings.append(Finding(f"configs/{kind}.json", text))
    contents = Contents(found.root, configs, found.is_trusted)
    for judge in (judge_files, judge_metadata, judge_configs, judge_weights):
        findings += judge(contents)
    unique = dict.fromkeys(findings)
    return CheckReport(found.root, tuple(sorted(unique, key=lambda finding: not finding.is_error)))


def _find(name: str | Path) -> Bundle:
    """Find a bundle, or take a folder as one so that it can be said what it lacks."""
    return Bundle(Path(name).resolve()) if Path(name).is_dir() else Bundle.find(name)
