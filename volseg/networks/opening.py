"""Open a weights file, volseg's or another project's."""

from pathlib import Path

from volseg.errors import WeightsError
from volseg.networks.card import Card
from volseg.networks.foreign.layout import NO_FACTS, Facts
from volseg.networks.foreign.opening import open_foreign
from volseg.networks.source import Source
from volseg.networks.storage import read_metadata, read_tensors, strip_wrappers

CARD_KEY = "volseg_card"


def read_card(path: Path | str) -> Card:
    """Read the card of a weights file; no tensor is loaded.

    Args:
        path: The file.

    Returns:
        The card.

    Raises:
        WeightsError: If the file is no complete safetensors file, or has no card.
    """
    entries, _ = read_metadata(Path(path))
    if CARD_KEY not in entries:
        raise WeightsError(f"{path} has no volseg card; save it with volseg's save_weights")
    try:
        return Card.from_json(entries[CARD_KEY])
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from error


def has_card(path: Path) -> bool:
    """Tell whether a file is volseg's; one that is damaged is refused as a `WeightsError`."""
    return path.suffix == ".safetensors" and CARD_KEY in read_metadata(path)[0]


def refuse_facts(source: Path | None, facts: Facts) -> None:
    """Refuse facts where nothing asks for them: whoever states them means another file.

    Args:
        source: A file with a card, or `None`.
        facts: What the user states.

    Raises:
        WeightsError: If there are any.
    """
    if facts != NO_FACTS:
        what = "there are no weights" if source is None else f"{source} has a card"
        raise WeightsError(f"{what}, so no facts need be stated; leave {facts.stated} out")


def open_source(path: Path, facts: Facts = NO_FACTS) -> Source:
    """Read a weights file, volseg's or another project's.

    A file that is damaged or of no known layout is refused as a `WeightsError`.

    Args:
        path: The file.
        facts: What a file of another project does not say of itself.

    Returns:
        What it offers.
    """
    if not has_card(path):
        return open_foreign(path, facts)
    refuse_facts(path, facts)
    card = read_card(path)
    tensors, notes = strip_wrappers(read_tensors(path))
    return Source(card, tensors, notes=notes)
