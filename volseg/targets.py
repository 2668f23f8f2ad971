"""What a configuration names of volseg must be there; a misspelt path is told its nearest."""

import ast
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from pydoc import ErrorDuringImport, locate
from typing import Any

from volseg.errors import BundleError
from volseg.overrides import flatten

ROOT = Path(__file__).parent


def require_targets(path: Path, config: Mapping[str, Any]) -> None:
    """Refuse a configuration whose ``_target_`` names what volseg does not have.

    What it names of other packages is left to MONAI.

    Args:
        path: Its file.
        config: What stands in it, unresolved.

    Raises:
        BundleError: If a target that begins with ``volseg.`` is not there.
    """
    for key, value in flatten(config):
        place, _, last = key.rpartition("::")
        is_own = last == "_target_" and isinstance(value, str) and value.startswith("volseg.")
        if is_own and not _is_there(value):
            best = get_close_matches(value, public_names(), n=1, cutoff=0.0)[0]
            raise BundleError(
                f"{path}: {place or 'the configuration'} names {value!r}, which volseg does not"
                f" have; the nearest is {best!r}"
            )


def public_names() -> Iterator[str]:
    """List the dotted paths of volseg's classes and functions, without importing them.

    Yields:
        A path, such as ``volseg.pretext.masked.MaskedReconstruction``.
    """
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT.parent).with_suffix("").parts
        module = ".".join(part for part in parts if part != "__init__")
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name[0] != "_":
                yield f"{module}.{node.name}"


def _is_there(path: str) -> bool:
    try:
        return locate(path) is not None
    except ErrorDuringImport:  # it is there, and MONAI says what is wrong with it
        return True
