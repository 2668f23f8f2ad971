"""Sequences of MRI and how files and channels spell them."""

import re

SPELLINGS = {
    "t1": ("t1", "t1w", "t1n"),
    "t1c": (
        *("t1c", "t1ce", "t1cw", "t1gd", "t1gad", "t1post", "t1contrast", "t1wce", "t1wgd"),
        *("t1-c", "t1-ce", "t1-gd", "t1-gad", "t1-contrast", "t1-post-contrast"),
        *("t1w-ce", "t1w-gd", "t1w-gad", "t1w-contrast", "ce-t1", "ce-t1w"),
    ),
    "t2": ("t2", "t2w"),
    "flair": ("flair", "t2f", "t2flair", "t2-flair", "t2w-flair"),
    "pd": ("pd", "pdw"),
    "t2star": ("t2star", "t2starw", "t2s"),
    "swi": ("swi",),
    "dwi": ("dwi",),
    "adc": ("adc",),
}
"""How each sequence is spelled, with ``-`` between words. ``T1 post`` in two words is not among
them: after surgery it may as well mean that."""

LONGEST = 3
"""Words of the longest spelling."""

LABEL_WORDS = frozenset(
    ("seg", "dseg", "probseg", "segmentation", "label", "labels", "mask", "brainmask", "roi", "gt")
)
"""Words in the names of files that are results, not scans."""

MODALITIES = {"mr": "mr", "mri": "mr", "ct": "ct", "pet": "pet", "pt": "pet"}
"""Channels that are a modality rather than a sequence."""

_KNOWN = {spelling: name for name, all_ in SPELLINGS.items() for spelling in all_}

_CONTRAST = re.compile(r"(?:^|_)ce-[^_]+", re.IGNORECASE)
"""A contrast agent in a name after the rules of BIDS."""


def canonical(channel: str) -> str:
    """Give one name to all spellings of a channel.

    Args:
        channel: A channel's name.

    Returns:
        The sequence, or else the name in small letters.

    Examples:
        >>> canonical("T1Gd"), canonical("T2 FLAIR"), canonical("CT")
        ('t1c', 'flair', 'ct')
    """
    return _KNOWN.get("-".join(_words(channel)), channel.strip().casefold())


def is_sequence(channel: str) -> bool:
    """Tell whether a channel's name says which sequence it wants.

    Args:
        channel: A channel's name.

    Returns:
        Whether it is a spelling of a sequence; ``MRI`` and ``CT`` are none.
    """
    return canonical(channel) in SPELLINGS


def modality_of(channel: str) -> str:
    """Tell the modality of a channel.

    Args:
        channel: A channel's name.

    Returns:
        ``mr``, ``ct`` or ``pet``; empty if its name does not tell.
    """
    name = canonical(channel).removeprefix("ce-")
    return "mr" if name in SPELLINGS else MODALITIES.get(name, "")


def split_sequence(leaf: str) -> tuple[str, str | None]:
    """Read the sequence at the end of a file's name.

    Args:
        leaf: The file's name without ending.

    Returns:
        What stands before the sequence, and the sequence; all of the name and `None` if it ends in
        none. A contrast agent other than in T1 makes a sequence of its own.

    Examples:
        >>> split_sequence("BraTS-GLI-00005-100-t1n")
        ('BraTS-GLI-00005-100', 't1')
        >>> split_sequence("sub-01_ce-gadolinium_T1w")
        ('sub-01', 't1c')
    """
    words = list(re.finditer(r"[^\W_]+", leaf))
    for count in range(min(LONGEST, len(words)), 0, -1):
        last = words[-count:]
        sequence = _KNOWN.get("-".join(word.group().casefold() for word in last))
        if sequence is None or last[-1].end() != len(leaf):
            continue
        prefix = leaf[: last[0].start()]
        if _CONTRAST.search(prefix):
            prefix = _CONTRAST.sub("", prefix)
            sequence = {"t1": "t1c", "t1c": "t1c"}.get(sequence, f"ce-{sequence}")
        return prefix.rstrip("_-. "), sequence
    return leaf, None


def is_label(leaf: str) -> bool:
    """Tell whether a file's name says that it holds labels.

    Args:
        leaf: The file's name without ending.

    Returns:
        Whether one of its words says so.

    Examples:
        >>> is_label("BraTS20_Training_001_seg"), is_label("segment_3")
        (True, False)
    """
    return not LABEL_WORDS.isdisjoint(_words(leaf))


def _words(text: str) -> list[str]:
    return [word.casefold() for word in re.findall(r"[^\W_]+", text)]
