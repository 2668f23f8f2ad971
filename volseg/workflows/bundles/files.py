"""Are a bundle's files there, of a bearable size, and free of what is nobody's business?"""

import re
from collections.abc import Iterator
from pathlib import Path

from volseg.bundle import FILES
from volseg.workflows.bundles.finding import Contents, Finding, warning

REQUIRED = ("LICENSE", "configs/metadata.json", "configs/inference.json", "docs/README.md")
"""What no bundle does without; the others of `volseg.bundle.FILES` are good to have."""

LARGE = 25 * 2**20
"""Bytes beyond which MONAI's model zoo wants a file listed in ``large_files.yml``."""

TEXTS = ("", ".cfg", ".conf", ".csv", ".json", ".md", ".py", ".txt", ".yaml", ".yml")
"""Endings of files that are read for secrets."""

LEFTOVERS = ("__pycache__", ".cache", ".git", ".ipynb_checkpoints", ".DS_Store", "resume.pt")
"""Names of what should not be given away."""

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
    for name in FILES:
        if not (bundle.root / name).is_file():
            yield Finding(name, "is missing", is_error=name in REQUIRED)
    for path in sorted(bundle.root.rglob("*")):
        name = path.relative_to(bundle.root).as_posix()
        if path.is_symlink():
            yield Finding(name, f"is a link to {path.readlink()}; put the file itself there")
        elif path.name in LEFTOVERS:
            yield warning(name, "is a leftover; remove it (it is not packed)")
        elif path.is_file():
            yield from _judge_file(bundle.root, path, name)


def _judge_file(root: Path, path: Path, name: str) -> Iterator[Finding]:
    size = path.stat().st_size
    if size > LARGE and not (root / "large_files.yml").is_file():
        is_model = name.startswith("models/")
        advice = "volseg bundle pack lists it in large_files.yml" if is_model else "remove it"
        text = f"has {size / 2**20:.0f} MiB, over the model zoo's 25; {advice}"
        yield Finding(name, text, is_error=not is_model)
    elif path.suffix in TEXTS and size <= LARGE:
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            return
        yield from judge_text(name, text)


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
