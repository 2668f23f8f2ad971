"""Making cases of images, for the channels that a network takes.

A case that lacks a channel, or has two images for one, is listed with the reason: it must be
reported and must not end a run over a thousand others. What belongs to no case by its name (a
segmentation beside the scans, a map derived from them) is listed as left out.
"""

import logging
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from volseg.data.listing.scan_case import FoundImage, ScanCase
from volseg.data.listing.sequences import canonical, is_label, is_sequence, modality_of
from volseg.errors import DataError

logger = logging.getLogger(__name__)

Group = list[FoundImage]


def make_cases(
    images: Iterable[FoundImage], channels: Sequence[str] = (), *, optional_channels: bool = False
) -> list[ScanCase]:
    """Make cases of images.

    Args:
        images: The images.
        channels: What a network takes, in its order; empty: each image is a case, but where a
            data set says which channels make one.
        optional_channels: Whether a case may lack some of them.

    Returns:
        The cases, in the order of their first images; what is left out is marked.

    Raises:
        DataError: If two channels have one meaning.
    """
    keys = [canonical(channel) for channel in channels]
    if len(set(keys)) < len(keys):
        raise DataError(
            f"the channels {', '.join(channels)} do not tell images apart; give each another name"
        )
    roots: dict[Path, Group] = defaultdict(list)
    for image in images:
        roots[image.root].append(image)
    cases: list[ScanCase] = []
    for members in roots.values():
        if not channels:
            cases += _as_described(members)
        elif len(channels) == 1:
            cases += _for_one_channel(members, channels[0])
        else:
            cases += _for_channels(members, channels, optional_channels=optional_channels)
    return cases


def _as_described(images: Sequence[FoundImage]) -> list[ScanCase]:
    """Take the channels that a data set describes; any other image is a case of its own."""
    groups: dict[str, Group] = defaultdict(list)
    for image in images:
        is_joined = image.origin == "dataset" and image.channel is not None
        groups[image.case if is_joined else image.source.name].append(image)
    cases = []
    for name, members in groups.items():
        described = [image.channel for image in members if image.channel is not None]
        if members[0].origin == "dataset" and described:
            cases.append(_join(name, members, list(dict.fromkeys(described))))
        else:
            cases += [_alone(image) for image in members]
    return cases


def _for_one_channel(images: Sequence[FoundImage], wanted: str) -> list[ScanCase]:
    """Take every image, unless the names say which of them show what is wanted."""
    key = canonical(wanted)
    found = {canonical(image.channel) for image in images if image.channel is not None}
    if key not in found and not (is_sequence(wanted) and any(map(is_sequence, found))):
        return [_alone(image, _misfit(image, key)) for image in images]
    whole = {image.case for image in images if canonical(image.channel or "") == key}
    given = [image for image in images if image.is_given and image.case not in whole]
    for image in given:
        if image.channel is not None:
            logger.warning(
                "%s shows %s by its name, and %s is wanted", image.path, image.channel, wanted
            )
    others = [image for image in images if not image.is_given or image.case in whole]
    return [*map(_alone, given), *_for_channels(others, [wanted])]


def _misfit(image: FoundImage, key: str) -> str | None:
    """Say that an image is of another kind, where a data set's description shows it."""
    if image.origin == "name" or image.channel is None:
        return None
    shown, needed = modality_of(image.channel), modality_of(key)
    is_fit = "" in (shown, needed) or shown == needed
    return None if is_fit else f"shows {image.channel}, and {key} is wanted"


def _for_channels(
    images: Sequence[FoundImage], channels: Sequence[str], *, optional_channels: bool = False
) -> list[ScanCase]:
    groups: dict[str, Group] = defaultdict(list)
    unknown = []
    for image in images:
        if image.channel is None:
            unknown.append(image)
        else:
            groups[image.case].append(image)
    cases, whole = [], []
    for name, members in groups.items():
        made = _cases_of(name, members, channels, optional_channels=optional_channels)
        cases += made
        whole += [image for image in members if all(case.reason is None for case in made)]
    return [*cases, *_stray(unknown, whole, channels)]


def _cases_of(
    name: str, members: Group, channels: Sequence[str], *, optional_channels: bool
) -> list[ScanCase]:
    """Make one case, or for one channel a case of each file that shows it."""
    key = canonical(channels[0])
    fitting = [image for image in members if canonical(image.channel or "") == key]
    if len(channels) > 1 or not fitting or fitting[0].origin == "dataset":
        return [_join(name, members, channels, optional_channels=optional_channels)]
    return [_alone(image, channel=channels[0]) for image in fitting]


def _join(
    name: str,
    members: Sequence[FoundImage],
    channels: Sequence[str],
    *,
    optional_channels: bool = False,
) -> ScanCase:
    """Make a case of the images for some channels, or say what is wrong with it."""
    shown: dict[str, Group] = defaultdict(list)
    for image in {image.identity: image for image in members}.values():
        shown[canonical(image.channel or "")].append(image)
    fitting = {channel: shown.get(canonical(channel), []) for channel in channels}
    if optional_channels and any(fitting.values()):
        fitting = {channel: found for channel, found in fitting.items() if found}
    reason = _judge(fitting, members)
    if reason is None:
        return ScanCase(name, {channel: found[0].source for channel, found in fitting.items()})
    has = {channel: found[0].source for channel, found in fitting.items() if found}
    others = {image.channel or "": image.source for image in reversed(members)}
    known = {canonical(channel) for channel in has}
    rest = {name: source for name, source in others.items() if canonical(name) not in known}
    return ScanCase(name, {**has, **rest}, reason)


def _judge(fitting: dict[str, Group], members: Sequence[FoundImage]) -> str | None:
    for channel, found in fitting.items():
        if len(found) > 1:
            both = " and ".join(str(image.path) for image in found[:2])
            return f"{both} both show {channel}; keep one, or say which with a channel map"
    if lacking := [channel for channel, found in fitting.items() if not found]:
        has = ", ".join(sorted({image.channel or image.path.name for image in members}))
        return f"lacks {', '.join(lacking)}; it has {has}"
    used = [found[0] for found in fitting.values()]
    bad = next((image for image in used if image.reason is not None), None)
    if bad is None or len(fitting) == 1:
        return None if bad is None else bad.reason
    return f"{bad.path}: {bad.reason}"


def _alone(image: FoundImage, reason: str | None = None, channel: str = "") -> ScanCase:
    return ScanCase(image.source.name, {channel: image.source}, image.reason or reason)


def _stray(images: Group, whole: Group, channels: Sequence[str]) -> list[ScanCase]:
    """List images of which nobody says what they show; leave out what belongs to whole cases."""
    cases, left_out = [], []
    beginnings: dict[PurePosixPath, set[str]] = defaultdict(set)
    for image in whole:
        beginnings[_folder(image)].add(_beginning(image))
    lone = {folder for folder, known in beginnings.items() if len(known) == 1}
    for image in images:
        folder, leaf = _folder(image), _leaf(image)
        is_owned = any(_begins(leaf, beginning) for beginning in beginnings.get(folder, ()))
        is_below = not lone.isdisjoint(folder.parents)
        if image.reason is None and (is_label(leaf) or is_owned or is_below):
            left_out.append(image)
        else:
            reason = f"its name does not say which of {', '.join(channels)} it shows"
            cases.append(_alone(image, f"{reason}; rename it or give a channel map"))
    reason = f"shows none of {', '.join(channels)}, and lies beside a case that has them"
    return [*cases, *(replace(_alone(each, reason), is_left_out=True) for each in left_out)]


def _beginning(image: FoundImage) -> str:
    """Give what the files of a case begin with; nothing if the case is a folder."""
    case = image.case.rpartition("/")[2]
    return case if _leaf(image).startswith(case) else ""


def _begins(leaf: str, beginning: str) -> bool:
    """Tell whether a name begins with another; ``p10`` does not begin with ``p1``."""
    rest = leaf.removeprefix(beginning)
    return not beginning or (rest != leaf and not rest[:1].isalnum())


def _folder(image: FoundImage) -> PurePosixPath:
    return PurePosixPath(f"/{image.source.name}").parent


def _leaf(image: FoundImage) -> str:
    return image.source.name.rpartition("/")[2]
