"""The record of a tumour, as it stands in the metadata of images and in files."""

import json
from collections.abc import Mapping
from typing import Any

from volseg.errors import DataError
from volseg.transforms.anatomy.maps import Side
from volseg.transforms.tumour.tumour import Tumour

RECORD = "simulated_tumour"
"""Key of the metadata under which a tumour is recorded."""


def make_record(tumour: Tumour, volume_ml: float) -> dict[str, Any]:
    """Describe a tumour by plain values whose keys are the same for every tumour.

    What was drawn is one text, so that records of different cases form a batch.

    Args:
        tumour: What was drawn.
        volume_ml: Volume of the label without oedema, in mL.

    Returns:
        The record.
    """
    return {
        "is_ok": tumour.is_ok,
        "kind": tumour.kind,
        "side": Side(tumour.side if tumour.solids else 0).name.lower(),
        "volume_ml": round(volume_ml, 4),
        "tumour": json.dumps(tumour.to_json()),
    }


def read_record(params: Mapping[str, Any]) -> Tumour:
    """Read back what was drawn.

    Args:
        params: What `make_record` gave, also after a way through a JSON file; ``tumour`` may be
            text or plain values.

    Returns:
        The tumour.

    Raises:
        DataError: If it holds none.
    """
    drawn = params.get("tumour")
    if drawn is None:
        raise DataError(f"no record of a tumour: it has {sorted(params)} and lacks 'tumour'")
    return Tumour.from_json(json.loads(drawn) if isinstance(drawn, str) else drawn)
