"""What of a configuration may run code that is neither volseg's, MONAI's nor PyTorch's.

A MONAI configuration can name any function of any installed package (``_target_``) and hold any
Python expression (``$...``): to resolve one is to run a program. Here a configuration is read, and
nothing of it is run. What it names must be a builder on a short list, and its expressions must be
sums, choices and calls of a few harmless functions; all else is for its user to trust or not.
"""

import ast
import inspect
import logging
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from pydoc import ErrorDuringImport, locate
from typing import Any

from monai.bundle import ComponentLocator, ReferenceResolver

from volseg.errors import BundleError
from volseg.overrides import flatten

logger = logging.getLogger(__name__)

CLASSES = (
    "monai.data.", "monai.engines.", "monai.handlers.", "monai.inferers.", "monai.losses.",
    "monai.metrics.", "monai.networks.", "monai.optimizers.", "monai.transforms.", "torch.nn.",
    "torch.optim.",
)  # fmt: skip
"""Packages whose classes may be built."""

OWN = (
    "volseg.data.", "volseg.engines.", "volseg.inference.guarding.",
    "volseg.inference.plausibility.", "volseg.inference.sliding_window.", "volseg.losses.",
    "volseg.networks.", "volseg.pretext.", "volseg.transforms.",
)  # fmt: skip
"""Packages whose classes and functions may be used."""

FUNCTIONS = {"monai.utils.set_determinism", "monai.utils.misc.set_determinism", "torch.device"}
"""What else may be called by name."""

UNPICKLING = {"LMDBDataset", "Lambda", "Lambdad"}
"""Classes that unpickle what they find, or exist to call a function that is given to them."""

CALLS = {
    "bool", "dict", "float", "int", "len", "list", "max", "min", "range", "round", "sorted", "str",
    "sum", "tuple", "torch.cuda.is_available", "torch.device",
}  # fmt: skip
"""What an expression may call."""

METHODS = {"cpu", "eval", "items", "keys", "parameters", "run", "to", "values"}
"""What an expression may call on what it refers to."""

NODES = (
    ast.Expression, ast.Constant, ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare, ast.IfExp,
    ast.List, ast.Tuple, ast.Dict, ast.Subscript, ast.Load, ast.operator, ast.unaryop, ast.boolop,
    ast.cmpop, ast.keyword,
)  # fmt: skip
"""What an expression may consist of, beside names, attributes and calls."""

REFERENCES = "__local_refs"
"""What MONAI makes of ``@id`` before it evaluates an expression."""


def foreign_code(config: Mapping[str, Any]) -> list[str]:
    """List what would run code that is not known to be harmless; nothing is run.

    Args:
        config: A configuration as it stands in its file.

    Returns:
        One line a place: its key, and what stands there.

    Examples:
        >>> foreign_code({"run": "$@evaluator.run()", "size": "$2 * @n", "n": 8})
        []
        >>> foreign_code({"a": {"_target_": "os.system", "command": "true"}})
        ["a names 'os.system'"]
        >>> foreign_code({"b": "$__import__('os').system('true')"})
        ["b is $__import__('os').system('true')"]
    """
    return [line for key, value in flatten(config) for line in _judge(key, value)]


def require_harmless(path: Path, config: Mapping[str, Any], *, is_trusted: bool) -> None:
    """Refuse a configuration that would run unknown code, unless it may; then say so.

    Args:
        path: Its file.
        config: What stands in it.
        is_trusted: Whether its code may be run.

    Raises:
        BundleError: If it would run code that may not be run.
    """
    code = foreign_code(config)
    if not code:
        return
    said = f"{code[0]} and {len(code) - 1} more" if len(code) > 1 else code[0]
    if not is_trusted:
        raise BundleError(
            f"{path} would run code that is not volseg's, MONAI's or PyTorch's: {said}; read it,"
            " and add --trust if you trust it"
        )
    logger.warning("%s is trusted, and runs code: %s", path, said)


def _judge(key: str, value: Any) -> Iterator[str]:
    last = key.rpartition("::")[2]
    if last.startswith("$"):
        yield f"{key} is an expression as a key"
    if last == "_mode_" and value not in ("default", "callable"):
        yield f"{key} is {value!r}"
    if last == "_target_" and not (isinstance(value, str) and _is_builder(value)):
        yield f"{key.rpartition('::')[0] or key} names {value!r}"
    elif isinstance(value, str) and value.startswith("$") and not _is_harmless(value):
        yield f"{key} is {_short(value)}"
    elif isinstance(value, str) and value.startswith("%") and _names_file(value):
        yield f"{key} is copied from the file {value}"


def _short(value: str) -> str:
    text = " ".join(value.split())
    return text if len(text) <= 100 else f"{text[:97]}..."


def _names_file(value: str) -> bool:
    return any(ending in value.lower() for ending in (".json", ".yaml", ".yml"))


@cache
def _is_builder(path: str) -> bool:
    """Tell whether a ``_target_`` is on the list, by what it is and not by how it is called."""
    module, _, name = path.rpartition(".")
    if not module:
        homes = _locator().get_component_module_name(name)
        given = [homes] if isinstance(homes, str) else homes or []
        return bool(given) and all(_is_builder(f"{home}.{name}") for home in given)
    if path in FUNCTIONS:
        return True
    if not path.startswith((*CLASSES, *OWN)) or name.startswith("_") or name in UNPICKLING:
        return False
    try:
        target = locate(path)
    except ErrorDuringImport:
        return False
    home = f"{getattr(target, '__module__', '')}."
    if inspect.isclass(target):
        return home.startswith((*CLASSES, *OWN)) and target.__name__ not in UNPICKLING
    return inspect.isfunction(target) and home.startswith(OWN)


@cache
def _locator() -> ComponentLocator:
    return ComponentLocator()


def _is_harmless(value: str) -> bool:
    """Tell whether an expression, as MONAI would evaluate it, does no more than to compute."""
    text = ReferenceResolver.normalize_id(value)
    references = ReferenceResolver.match_refs_pattern(text)
    text = ReferenceResolver.update_refs_pattern(text, references)
    try:
        tree = ast.parse(text[1:].strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError):
        return False
    return _is_calculation(tree)


def _is_calculation(node: ast.AST) -> bool:
    if isinstance(node, ast.Name):
        return node.id == REFERENCES
    if isinstance(node, ast.Call):
        inner = [*node.args, *(keyword.value for keyword in node.keywords)]
        return _may_be_called(node.func) and all(map(_is_calculation, inner))
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow):
        return False  # 9**9**9 would take for ever
    return isinstance(node, NODES) and all(map(_is_calculation, ast.iter_child_nodes(node)))


def _may_be_called(function: ast.expr) -> bool:
    if ast.unparse(function) in CALLS:
        return True
    if not isinstance(function, ast.Attribute):
        return False
    return function.attr in METHODS and _is_calculation(function.value)
