"""Options that several subcommands have, and how results are printed."""

import argparse
import json
from math import isfinite
from pathlib import Path
from typing import Any


def add_bundle(parser: argparse.ArgumentParser, default: str | None = None) -> None:
    """Add ``--bundle``.

    Args:
        parser: The subcommand's parser.
        default: The bundle to use; `None` requires one.
    """
    said = "" if default is None else f" (default: {default})"
    parser.add_argument(
        "--bundle",
        metavar="NAME",
        default=default,
        required=default is None,
        help=f"name of a bundle that comes with volseg, or a bundle's folder{said}",
    )


def add_output(parser: argparse.ArgumentParser, default: Path | None = None) -> None:
    """Add ``--output`` and ``--overwrite``.

    Args:
        parser: The subcommand's parser.
        default: The folder to use; `None` requires one.
    """
    parser.add_argument(
        "--output",
        metavar="DIR",
        type=Path,
        default=default,
        required=default is None,
        help="folder for everything that is written"
        + ("" if default is None else f" (default: {default})"),
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace what an earlier run has written there"
    )


def add_device(parser: argparse.ArgumentParser, *, are_several: bool = False) -> None:
    """Add ``--device``.

    Args:
        parser: The subcommand's parser.
        are_several: Whether the subcommand takes several devices at once.
    """
    said = "; several, as cuda:0,cuda:1, have a process each" if are_several else ""
    parser.add_argument(
        "--device",
        default="auto",
        help=f"auto, cpu, cuda, cuda:N or mps (default: auto){said}",
    )


def add_trust(parser: argparse.ArgumentParser) -> None:
    """Add ``--trust``.

    Args:
        parser: The subcommand's parser.
    """
    parser.add_argument(
        "--trust",
        action="store_true",
        help="run code that the bundle holds or names beyond volseg's, MONAI's and PyTorch's"
        " builders; without it such a bundle is refused",
    )


def add_overrides(parser: argparse.ArgumentParser) -> None:
    """Add ``--set``.

    Args:
        parser: The subcommand's parser.
    """
    parser.add_argument(
        "--set",
        metavar="KEY=VALUE",
        dest="overrides",
        type=parse_override,
        action="append",
        default=[],
        help="change a value of the bundle's configuration; may be given again."
        " VALUE is read as JSON if it is JSON",
    )


def add_facts(parser: argparse.ArgumentParser) -> None:
    """Add ``--fact``.

    Args:
        parser: The subcommand's parser.
    """
    parser.add_argument(
        "--fact",
        metavar="KEY=VALUE",
        dest="facts",
        type=parse_override,
        action="append",
        default=[],
        help="what weights of another project do not say of themselves: octants, heads, size,"
        " channels, downsampling or prefix; may be given again. 'volseg inspect FILE' tells which",
    )


def add_common(parser: argparse.ArgumentParser) -> None:
    """Add ``--json``, ``--quiet`` and ``--debug``.

    Args:
        parser: The subcommand's parser.
    """
    parser.add_argument(
        "--json", action="store_true", help="print one JSON document instead of text"
    )
    parser.add_argument("--quiet", action="store_true", help="no progress, no notes, only warnings")
    parser.add_argument(
        "--debug", action="store_true", help="show where in the code an error was raised"
    )


def parse_override(text: str) -> tuple[str, Any]:
    """Split ``KEY=VALUE``.

    Args:
        text: What was given.

    Returns:
        Key and value; a value that is not JSON is text.

    Raises:
        argparse.ArgumentTypeError: If there is no key or no equals sign.

    Examples:
        >>> parse_override("patch_size=[32, 32, 32]"), parse_override("device=cpu")
        (('patch_size', [32, 32, 32]), ('device', 'cpu'))
    """
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE")
    try:
        return key.strip(), json.loads(value)
    except ValueError:
        return key.strip(), value


def parse_names(text: str) -> tuple[str, ...]:
    """Split names at commas.

    Args:
        text: What was given.

    Returns:
        The names, without spaces around them.
    """
    return tuple(name.strip() for name in text.split(",") if name.strip())


def parse_numbers(text: str, count: int) -> tuple[float, ...]:
    """Split numbers at commas.

    Args:
        text: What was given.
        count: How many there must be.

    Returns:
        The numbers.

    Raises:
        argparse.ArgumentTypeError: If there are others.

    Examples:
        >>> parse_numbers("1,1,2.5", 3)
        (1.0, 1.0, 2.5)
    """
    try:
        numbers = tuple(float(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if len(numbers) != count or not all(map(isfinite, numbers)):
        raise argparse.ArgumentTypeError(f"{text!r} is not {count} numbers with commas in between")
    return numbers


def parse_size(text: str) -> tuple[int, ...]:
    """Read voxels along each axis.

    Args:
        text: What was given.

    Returns:
        Three whole numbers.

    Raises:
        argparse.ArgumentTypeError: If it is anything else.
    """
    numbers = parse_numbers(text, 3)
    if any(number < 1 or number != int(number) for number in numbers):
        raise argparse.ArgumentTypeError(f"{text!r} is not three numbers of voxels")
    return tuple(int(number) for number in numbers)


def report(
    args: argparse.Namespace, result: Any, text: str | None = None, *, is_good: bool = True
) -> int:
    """Print a result, as text or as JSON.

    Args:
        args: The arguments, with ``json``.
        result: Has ``to_json()``.
        text: What to print otherwise; `None` prints what the result says of itself.
        is_good: Whether everything that was asked for was done.

    Returns:
        The exit status.
    """
    if args.json:
        document = json.dumps(result.to_json(), indent=2, ensure_ascii=False)
        print(document.encode(errors="backslashreplace").decode())  # names may be no text
    else:
        print(result if text is None else text)
    return 0 if is_good else 1
