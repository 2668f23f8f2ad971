"""What became of the images of a batch."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

STATUSES = ("done", "skipped", "failed", "not run")

LEFT_OUT = "left out"
"""Status of an image that is no case."""

FINISHED = ("done", "skipped")
"""Statuses of an image that has its mask."""


@dataclass(frozen=True)
class CaseResult:
    """What became of one image.

    Args:
        name: Name of the case.
        source: The image.
        target: The mask; there only if the case is done.
        status: ``done``, ``skipped`` (done by an earlier run, and still valid), ``failed`` or
            ``not run``.
        reason: Why it failed or was not run.
        warnings: What is unusual about the image, or about what was found in it.
        volumes_ml: Volume of each class in mL.
        seconds: Time that it took.
        findings: What the bundle's guard has measured, whose ``summary`` is a line of the report,
            and the ``channels`` that were used, where some may be missing.
        flags: What a person should look at first, as of the report.
        input_hash: SHA-256 of the image's files.
        run_hash: Hash of the bundle and the options.
        output_hash: SHA-256 of the mask's file.
        map_hashes: SHA-256 of each map's file, by path.
    """

    name: str
    source: str
    target: str
    status: str
    reason: str | None = None
    warnings: Sequence[str] = ()
    volumes_ml: Mapping[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    findings: Mapping[str, Any] = field(default_factory=dict)
    flags: Sequence[str] = ()
    input_hash: str = ""
    run_hash: str = ""
    output_hash: str = ""
    map_hashes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Summary:
    """What became of all images.

    Args:
        cases: One result an image.
        left_out: Images that were no cases, with the reason.
    """

    cases: Sequence[CaseResult]
    left_out: Sequence[CaseResult] = ()

    @property
    def is_complete(self) -> bool:
        """Whether every image has its mask."""
        return all(case.status in FINISHED for case in self.cases)

    def count(self, status: str) -> int:
        """Count the cases of one status.

        Args:
            status: One of `STATUSES`.

        Returns:
            Number of cases.
        """
        return sum(case.status == status for case in self.cases)

    def to_json(self) -> dict[str, Any]:
        """Give counts and cases as JSON-able values.

        Returns:
            Number of cases of each status, and the cases.
        """
        counts = {status: self.count(status) for status in STATUSES}
        left_out = [{"source": case.source, "reason": case.reason} for case in self.left_out]
        cases = [asdict(case) for case in self.cases]
        return {**counts, LEFT_OUT: len(left_out), "cases": cases, "images left out": left_out}

    def __str__(self) -> str:
        """Give the counts, a line for each case without a mask, each finding and each warning."""
        counts = [(status, self.count(status)) for status in STATUSES]
        shown = [(status, count) for status, count in counts if count or status != "skipped"]
        shown += [(LEFT_OUT, len(self.left_out))] if self.left_out else []
        lines = [", ".join(f"{count} {status}" for status, count in shown)]
        for case in self.cases:
            if case.reason is not None:
                lines.append(f"{case.status}: {case.source}: {case.reason}")
            if "summary" in case.findings:
                lines.append(f"found: {case.source}: {case.findings['summary']}")
            lines += [f"warning: {case.source}: {warning}" for warning in case.warnings]
        return "\n".join(map(one_line, lines))


def one_line(text: str) -> str:
    r"""Write a line that stays one, whatever names of files are in it.

    Args:
        text: The line.

    Returns:
        The line; what a terminal would obey or cannot show stands there as an escape.

    Examples:
        >>> print(one_line("new\nline, Zoë, \x1b[2J"))
        new\nline, Zoë, \x1b[2J
    """
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in text
    )
