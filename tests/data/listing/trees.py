"""Trees of empty files: listing reads no image."""

import json

from volseg.data.listing.find import find_scans


def touch(folder, *names):
    """Make empty files; give the folder."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def describe(folder, **content):
    """Write a dataset.json; give the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "dataset.json").write_text(json.dumps(content))
    return folder


def listed(given, channels=(), **options):
    """Give, for each case, its name, its files by channel and its reason."""
    inputs = given if isinstance(given, list) else [given]
    return [
        (
            case.name,
            {channel: source.files[0].name for channel, source in case.sources.items()},
            case.reason,
        )
        for case in find_scans(inputs, channels, **options)
    ]


def names(given, channels=(), **options):
    """Give the names of the cases, all of which can be segmented."""
    cases = listed(given, channels, **options)
    assert [reason for _, _, reason in cases if reason is not None] == []
    return [name for name, _, _ in cases]
