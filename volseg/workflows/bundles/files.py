"""Are a bundle's files there, of a bearable size, and free of what is nobody's business?"""

import re
from collections.abc import Iterator
from pathlib import Path, PurePath

from volseg.bundle import FILES
from volseg.workflows.bundles.finding import Contents, Finding, warning

REQUIRED = ("LICENSE", "configs/metadata.json", "configs/inference.json", "docs/README.md")
"""What no bundle does without; the others of `volseg.bundle.FILES` are good to have."""

LARGE = 25 * 2**20
"""Bytes beyond which MONAI's model zoo wants a file listed in ``large_files.yml``."""

FOLDERS = ("configs", "docs", "models", "scripts")
"""What a bundle consists of, beside the files of `TOP`."""

TOP = ("LICENSE", "large_files.yml")
"""Files at the top of a bundle; ``README.md`` and ``.gitattributes`` are made by packing."""

MADE = ("README.md", ".gitattributes")

LEFTOVERS = (
    "__pycache__", ".cache", ".git", ".ipynb_checkpoints", ".DS_Store", ".env", "resume.pt",
)  # fmt: skip
"""Names of what should not be given away."""

PICKLES = (".bin", ".ckpt", ".joblib", ".npy", ".npz", ".pickle", ".pkl", ".pth")
"""Endings of files that may hold a program."""

PICKLE = re.compile(rb"\x80[\x02-\x05]")
"""How a pickle begins, whatever it is called."""

SECRETS = {
    "a private key": re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----"),
    "an access key of AWS": re.compile(r"\bA(?:KIA|SIA)[0-9A-Z]{16}\b"),
    "a token of Hugging Face": re.compile(r"\bhf_[A-Za-z0-9]{20,}\b"),
    "a token of GitHub": re.compile(r"\b(?:gh[pousr]_[A-Za-z0-9]{30,}|github_pat_\w{30,})\b"),
    "a secret key": re.compile(r"\bsk-[A-Za-z0-9_-]{20,}\b"),
    "a password": re.compile(
        r"(?i)[\"']?\b(?:password|passwd|secret|token|api_?key)[\"']?\s*[:=]\s*[\"'][^\"'\s@$]{8,}"
    ),
    "a password in an address": re.compile(r"\b[a-z]+://[^\s/:@]+:[^\s/:@]+@"),
}
"""What is never given away; the text itself is not shown."""

HOME = re.compile(r"(?:/home/|/Users/|/root/|[A-Za-z]:\\+Users\\+)[^\s\"'`)]*")
"""A path below somebody's home, which names the person."""

ABSOLUTE = re.compile(r"(?<!\+ )[\"'](/(?:[\w.-]+/)+[\w.-]*|[A-Za-z]:\\+\w[^\"']*)[\"']")
"""A path between quotation marks from the root of a disk, not one that is added to another."""


def judge_files(bundle: Contents) -> Iterator[Finding]:
    """Judge what files there are, and what stands in the texts.

    Args:
        bundle: The bundle.

    Yields:
        What is wrong.
    """
    yield from _judge_presence(bundle.root)
    for path in sorted(bundle.root.rglob("*")):
        inner = path.relative_to(bundle.root)
        if path.is_symlink():
            target = path.readlink()
            yield Finding(inner.as_posix(), f"is a link to {target}; put the file itself there")
        elif path.name in LEFTOVERS:
            yield warning(inner.as_posix(), "is a leftover; remove it (it is not packed)")
        elif path.is_file() and not _is_leftover(inner):
            yield from _judge_file(bundle.root, inner)


def _judge_presence(root: Path) -> Iterator[Finding]:
    """Say what is missing, and what is there and does not belong."""
    for name in FILES:
        if not (root / name).is_file():
            yield Finding(name, "is missing", is_error=name in REQUIRED)
        elif name in REQUIRED and not (root / name).read_bytes().strip():
            yield Finding(name, "is empty")
    for path in sorted(root.iterdir()):
        inner = PurePath(path.name)
        if not _belongs(inner) and not _is_leftover(inner):
            yield warning(path.name, "is no part of a bundle; it is not packed")


def is_packed(path: PurePath) -> bool:
    """Tell whether a file is given away with its bundle.

    Args:
        path: The file, from the bundle's folder.

    Returns:
        Whether it belongs to a bundle, and is no leftover.

    Examples:
        >>> [is_packed(PurePath(name)) for name in ("docs/README.md", "run.json", "docs/.git/HEAD")]
        [True, False, False]
    """
    return _belongs(path) and path.parts[0] not in MADE and not _is_leftover(path)


def _belongs(path: PurePath) -> bool:
    first = path.parts[0]
    return first in FOLDERS or str(path) in (*TOP, *MADE)


def _is_leftover(path: PurePath) -> bool:
    return any(part in LEFTOVERS for part in path.parts)


def _judge_file(root: Path, inner: PurePath) -> Iterator[Finding]:
    """Judge the size and the content of a file."""
    path, name = root / inner, inner.as_posix()
    size = path.stat().st_size
    is_model, belongs = name.startswith("models/"), _belongs(inner)
    if size > LARGE:
        if belongs and not (root / "large_files.yml").is_file():
            advice = "volseg bundle pack lists it in large_files.yml" if is_model else "remove it"
            text = f"has {size / 2**20:.0f} MiB, over the model zoo's 25; {advice}"
            yield Finding(name, text, is_error=not is_model)
        return
    content = path.read_bytes()
    if not is_model and (path.suffix in PICKLES or PICKLE.match(content)):
        yield Finding(name, "may hold a program; remove it", is_error=belongs)
    elif path.suffix == ".py":
        yield warning(name, "is code; it runs if a configuration names it")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        return
    for finding in judge_text(name, text):
        if belongs or "looks like" in finding.message:  # a path in what stays here harms nobody
            yield finding


def judge_text(name: str, text: str) -> Iterator[Finding]:
    """Look for secrets and absolute paths in a text.

    Args:
        name: What the text is called.
        text: The text.

    Yields:
        What was found, with its line; secrets are not repeated.
    """
    for number, line in enumerate(text.splitlines(), 1):
        place = f"{name}:{number}"
        for what, pattern in SECRETS.items():
            if pattern.search(line):
                yield Finding(place, f"looks like {what}; remove it, and make it void")
        if found := HOME.search(line):
            yield Finding(place, f"{found[0]} is somebody's own path; write a relative one")
        elif path := ABSOLUTE.search(line):
            yield warning(place, f"{path[1]} is an absolute path; nobody else has it")
