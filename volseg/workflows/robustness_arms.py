"""The arms of a comparison: bundles, or folders of bundles that were made in one way."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from volseg.bundle import Bundle, is_bundle
from volseg.errors import BundleError


@dataclass(frozen=True)
class Arm:
    """Networks that were made in one way.

    Args:
        name: What it is called.
        bundles: Its runs.
    """

    name: str
    bundles: Sequence[Bundle]


def find_arms(
    bundle: str | Path, other: str | Path | None = None, *, is_trusted: bool = False
) -> list[Arm]:
    """Find the arms, which must segment the same classes, and give them names of their own.

    Args:
        bundle: A segmentation bundle, or a folder of them: the runs of one arm.
        other: A second arm.
        is_trusted: Whether code of the bundles may be run.

    Returns:
        One arm or two.

    Raises:
        BundleError: If a folder holds no bundle, or classes differ.
    """
    arms = [_arm(each, is_trusted=is_trusted) for each in (bundle, other) if each is not None]
    if len(arms) > 1 and arms[0].name == arms[1].name:
        arms = [replace(arm, name=f"{arm.name} ({n})") for n, arm in enumerate(arms, 1)]
    bundles = [each for arm in arms for each in arm.bundles]
    for each in bundles[1:]:
        if each.classes() != bundles[0].classes():
            raise BundleError(
                f"{each.root} segments {list(each.classes().values())} and {bundles[0].root}"
                f" {list(bundles[0].classes().values())}; compare networks of the same classes"
            )
    return arms


def _arm(name: str | Path, *, is_trusted: bool) -> Arm:
    """Find the runs of an arm: a bundle, or the bundles in a folder."""
    folder = Path(name)
    if folder.is_dir() and not is_bundle(folder):
        runs = sorted(each for each in folder.iterdir() if is_bundle(each))
        if not runs:
            raise BundleError(f"{folder} is no bundle and holds none; give a bundle or its runs")
        return Arm(folder.name, [Bundle.find(each, is_trusted=is_trusted) for each in runs])
    found = Bundle.find(name, is_trusted=is_trusted)
    return Arm(found.name, [found])
